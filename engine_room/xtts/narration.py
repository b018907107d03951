"""A narration: one request under way, its sentences, and their sound on its way to the client."""

import hashlib
import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np

from engine_room.encoding import Sound
from engine_room.jobs import Job
from engine_room.spoken import SpokenBlock
from engine_room.xtts.gpt import MAX_BATCH_POSITIONS, Conditioning, Floats
from engine_room.xtts.guard import Fault, length_fault
from engine_room.xtts.pace import TOKEN_S, Expected
from engine_room.xtts.turn import XttsTurn
from engine_room.xtts.utterance import Utterance
from engine_room.xtts.vocoder import VocoderStream

# Latents that are vocoded together: the first of a stream early, later ones more and more, for then they
# cost less; a share of what the listener has had, who runs out of sound meanwhile otherwise.
FIRST_LATENTS, MIN_LATENTS, MAX_LATENTS = 10, 8, 48
SHARE_OF_HEARD = 0.3
# A sentence begins and ends in silence or nearly so; a ramp of this length keeps what is left from clicking.
RAMP_S = 0.005
RETRY_SEED = 1_000_003  # added to a sentence's seed when it is said again


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of the text, and as the GPT gets it: its tokens, how many audio tokens it may take, how long
    that should be, whether it has no pause in it, and the silence after it."""

    text: str
    tokens: list[int]
    max_audio_tokens: int
    expected: Expected
    is_one_breath: bool
    pause_s: float


@dataclass(slots=True)
class Speaking:
    """The sentence that is being spoken."""

    sentence: Sentence
    seed: int
    utterance: Utterance
    vocoder: VocoderStream
    num_enough: float = FIRST_LATENTS  # latents that are to be made sound together
    num_latents: int = 0  # that are sound
    sounds: list[Floats] = field(default_factory=list)
    num_sent: int = 0  # samples that were sent on the way
    sounding: deque[Future[Floats]] = field(default_factory=deque)  # sound that is being made
    is_last: bool = False  # the latest of it
    is_retry: bool = False

    @property
    def fault(self) -> Fault | None:
        """What its length says is wrong with it, once it is over."""
        seconds = self.num_latents * TOKEN_S
        return length_fault(seconds, self.sentence.expected, self.utterance.has_ended)

    @property
    def can_be_said_again(self) -> bool:
        """True while nobody has heard any of it, and another seed may make a difference."""
        return not (self.is_retry or self.num_sent or self.utterance.takes_likeliest)


def enough_after(num_latents: int) -> float:
    """How many latents a stream's next sound is made of, after so many."""
    return min(max(MIN_LATENTS, SHARE_OF_HEARD * num_latents), MAX_LATENTS)


class Narration:
    """Made by the preparer, from then on the engine's thread's."""

    def __init__(
        self,
        job: Job[XttsTurn],
        sentences: Sequence[Sentence],
        conditioning: Conditioning,
        rate_hz: int,
    ) -> None:
        self.job = job
        self.conditioning = conditioning
        # The same for narrations in the same voice.
        self.voice_key = hashlib.sha256(conditioning.latents.tobytes()).digest()
        self.speaking: Speaking | None = None
        self.seed = job.turn.seed if job.turn.seed >= 0 else secrets.randbits(32)
        self._sentences = deque(sentences)
        self._num_begun = 0
        self._retry_seed: int | None = None
        self._rate_hz = rate_hz

    @property
    def is_seeded(self) -> bool:
        """True when the same request is to sound the same again."""
        return self.job.turn.seed >= 0

    @property
    def is_speaking(self) -> bool:
        """True while the GPT has more of a sentence to say."""
        return self.speaking is not None and not self.speaking.utterance.is_over

    @property
    def can_go_on(self) -> bool:
        """False while it only waits for sound that is being made."""
        if self.speaking is None or self.is_speaking:
            return True
        return not self.speaking.sounding or self.speaking.sounding[0].done()

    @property
    def has_more(self) -> bool:
        """True while there is a sentence that has not been begun."""
        return bool(self._sentences)

    @property
    def num_positions(self) -> int:
        """What its sentence may take of the GPT's memory."""
        return self.speaking.utterance.num_positions if self.speaking and self.is_speaking else 0

    def next_sentence(self) -> tuple[Sentence, int, bool]:
        """The sentence to begin now, the seed for it, and whether it is said again."""
        self.job.has_begun = True
        retry_seed, self._retry_seed = self._retry_seed, None
        if retry_seed is not None:
            return self._sentences.popleft(), retry_seed, True
        self._num_begun += 1
        return self._sentences.popleft(), self.seed + self._num_begun, False

    def say_again(self) -> None:
        """Forget how the sentence was said: it is the next one once more."""
        assert self.speaking
        self._sentences.appendleft(self.speaking.sentence)
        self._retry_seed = self.speaking.seed + RETRY_SEED
        self.speaking = None

    def hear(self, sound: Floats) -> None:
        """Part of the sentence being spoken, float32, -1…1, but not its end; a stream sends it on."""
        speaking = self.speaking
        assert speaking
        if not speaking.sounds:
            sound = ramped(sound, self._rate_hz)
        speaking.sounds.append(sound)
        if self.job.turn.stream and len(sound):
            self._send(speaking, sound)

    def end_sentence(self, sound: Floats) -> None:
        """All of the sentence, as it is to be, at least what was sent; then the pause after it."""
        speaking = self.speaking
        assert speaking
        rest = sound[speaking.num_sent :]
        if not speaking.sounds:
            rest = ramped(rest, self._rate_hz)
        rest = ramped(rest[::-1], self._rate_hz)[::-1]
        if self.has_more:
            turn = self.job.turn
            pause_s = speaking.sentence.pause_s * turn.pause_ratio / turn.speed
            rest = np.concatenate([rest, np.zeros(round(pause_s * self._rate_hz), np.float32)])
        self._send(speaking, rest, speaking.num_latents)
        self.speaking = None

    def _send(self, speaking: Speaking, sound: Floats, num_audio_tokens: int = 0) -> None:
        """The text and its tokens go with the sentence's first sound, the audio tokens with its last."""
        block = SpokenBlock(Sound(sound, self._rate_hz), num_audio_tokens=num_audio_tokens)
        if not speaking.num_sent:
            sentence = speaking.sentence
            block = replace(block, text=sentence.text, num_text_tokens=len(sentence.tokens))
        speaking.num_sent += len(sound)
        self.job.deliver(block)


def ramped(sound: Floats, rate_hz: int) -> Floats:
    """The sound, its beginning drawn in from silence."""
    num_samples = min(round(RAMP_S * rate_hz), len(sound))
    sound = sound.copy()
    sound[:num_samples] *= np.linspace(0, 1, num_samples, dtype=np.float32)
    return sound


def batches(narrations: Iterable[Narration]) -> list[list[tuple[Narration, Speaking]]]:
    """Those who speak, and of those who begin as many as have room, in one batch; those with a seed in
    one each, for the last bits of a hidden state depend on what else is in the batch."""
    speaking = [(n, n.speaking) for n in narrations if n.speaking and n.is_speaking]
    speaking.sort(key=lambda each: each[1].utterance.num_pending)
    alone = [[each] for each in speaking if each[0].is_seeded]
    together: list[tuple[Narration, Speaking]] = []
    room = MAX_BATCH_POSITIONS
    for each in speaking:
        if not each[0].is_seeded:
            room -= each[1].utterance.num_pending
            if room >= 0:  # as it is for the first, for a prompt is shorter than a batch
                together.append(each)
    return [*alone, together] if together else alone
