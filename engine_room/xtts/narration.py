"""A narration: one request under way, its pieces of text, and their sound on its way to the client."""

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine_room.encoding import Encoder, Sound, encode, with_true_sizes
from engine_room.jobs import Job
from engine_room.xtts.gpt import Conditioning, Floats
from engine_room.xtts.text import Piece
from engine_room.xtts.turn import XttsTurn
from engine_room.xtts.utterance import Utterance
from engine_room.xtts.vocoder import VocoderStream

# A piece begins and ends in silence or nearly so; a ramp of this length keeps what is left from clicking.
RAMP_S = 0.005


@dataclass(slots=True)
class Speaking:
    """The piece that is being spoken."""

    piece: Piece
    utterance: Utterance
    vocoder: VocoderStream
    num_latents: int = 0  # vocoded so far


class Narration:
    """Belongs to the engine's thread, but for `pieces`, which its preparation has made."""

    def __init__(
        self,
        job: Job[XttsTurn],
        pieces: Iterator[Piece],
        language: str,
        conditioning: Conditioning,
        rate_hz: int,
    ) -> None:
        self.job = job
        self.language = language
        self.conditioning = conditioning
        # The same for narrations in the same voice.
        self.voice_key = hashlib.sha256(conditioning.latents.tobytes()).digest()
        self.speaking: Speaking | None = None
        turn = job.turn
        self.seed = turn.seed if turn.seed >= 0 else secrets.randbits(32)
        self._pieces = pieces
        self._next = next(pieces, None)
        self._num_begun = 0
        self._rate_hz = rate_hz
        self._encoder = Encoder(turn.format_name, rate_hz) if turn.stream else None
        self._sounds: list[Floats] = []
        self._blocks: list[bytes] = []

    @property
    def has_more(self) -> bool:
        """True while there is a piece that has not been begun."""
        return self._next is not None

    def next_piece(self) -> tuple[Piece, int]:
        """The piece to begin now, and the seed for it."""
        piece = self._next
        assert piece
        self._next = next(self._pieces, None)
        self._num_begun += 1
        return piece, self.seed + self._num_begun

    def hear(self, sound: Floats, is_first: bool, is_last: bool) -> None:
        """Part of the piece being spoken, float32, -1…1."""
        assert self.speaking
        if is_first or is_last:
            sound = ramped(sound, self._rate_hz, is_first, is_last)
        self._add(sound)
        if is_last and self.has_more:
            num_silent = round(self.speaking.piece.pause_s / self.job.turn.speed * self._rate_hz)
            self._add(np.zeros(num_silent, np.float32))

    def _add(self, sound: Floats) -> None:
        if self._encoder is None:
            self._sounds.append(sound)
        elif len(sound) and (block := self._encoder.add(sound)):
            self._deliver(block)

    def _deliver(self, block: bytes) -> None:
        self._blocks.append(block)
        self.job.deliver(block)

    def finish(self) -> bytes:
        """Send what is left; the whole file, as it is to be kept."""
        if self._encoder is None:
            sound = Sound(np.concatenate(self._sounds), self._rate_hz)
            self._deliver(encode(sound, self.job.turn.format_name))
        elif block := self._encoder.finish():
            self._deliver(block)
        return with_true_sizes(self.job.turn.format_name, b"".join(self._blocks))


def ramped(sound: Floats, rate_hz: int, at_start: bool, at_end: bool) -> Floats:
    """The sound, its beginning or end drawn in from silence."""
    num_samples = min(round(RAMP_S * rate_hz), len(sound))
    ramp = np.linspace(0, 1, num_samples, dtype=np.float32)
    sound = sound.copy()
    if at_start:
        sound[:num_samples] *= ramp
    if at_end:
        sound[len(sound) - num_samples :] *= ramp[::-1]
    return sound
