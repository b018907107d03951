"""The sound of one speech request as a file: its silences as they are to be, levelled, encoded, captioned.

Knows no engine. Not thread-safe: one thread at a time.
"""

import numpy as np

from engine_room.encoding import Samples, Sound, with_true_sizes
from engine_room.loudness import Leveller, lufs_of
from engine_room.speech_output import Output
from engine_room.spoken import SILENT, Caption, Spoken, SpokenBlock

END_S = 0.15  # what is kept of the silence that a voice ends with


class SpeechWriter:
    """Takes one voice's blocks after the other's. With `stream`, bytes come as there is sound; else `finish`
    gives them all, and each voice's loudness is measured over all it says."""

    def __init__(self, output: Output, rate_hz: int, stream: bool, target_lufs: float) -> None:
        self._output, self._rate_hz = output, rate_hz
        self._target_lufs = target_lufs
        self._encoder = output.encoder(rate_hz) if stream else None
        self._levellers: dict[str, Leveller] = {}  # of a stream's voices
        self._own_lufs: dict[str, float | None] = {}  # of voices
        self._voice = ""
        self._sounds: list[tuple[str, Samples]] = []  # of a whole file, with their voices
        self._blocks: list[bytes] = []  # that were made
        self._held = np.zeros(0, np.float32)  # silence that may be the end of a voice
        self._num_samples = 0
        self._num_tokens = (0, 0)
        self._caption = ("", 0)  # the text of the piece that is spoken, and where it begins

    def begin(self, voice: str, own_lufs: float | None) -> None:
        """This voice speaks from now on; `own_lufs` is how loud it is by itself, if that is known."""
        self._voice = voice
        self._own_lufs[voice] = own_lufs

    def add(self, block: SpokenBlock) -> tuple[bytes, Caption | None]:
        """The bytes that are ready, perhaps none, and the piece of text that is over now."""
        caption = self._next_caption(block.text) if block.text else None
        read, said = self._num_tokens
        self._num_tokens = (read + block.num_text_tokens, said + block.num_audio_tokens)
        samples = block.sound.samples
        loud = np.flatnonzero(np.abs(samples) > SILENT)
        end = int(loud[-1]) + 1 if len(loud) else 0
        data = b""
        if end:
            data = self._written(np.concatenate([self._held, samples[:end]]))
            self._held = self._held[:0]
        self._held = np.concatenate([self._held, samples[end:]])
        return data, caption

    def end(self, pause_s: float) -> tuple[bytes, Caption | None]:
        """A voice is over, and so much silence follows, or what is natural."""
        caption = self._next_caption("")
        num_silent = max(
            round(pause_s * self._rate_hz), min(len(self._held), round(END_S * self._rate_hz))
        )
        silence = np.zeros(num_silent, np.float32)
        kept = self._held[: round(END_S * self._rate_hz)][:num_silent]
        silence[: len(kept)] = kept
        self._held = self._held[:0]
        return self._written(silence), caption

    def finish(self) -> bytes:
        """The rest of the file, which is all of it if it is no stream."""
        if self._encoder:
            data = self._encoder.finish()
        else:
            data = self._output.encode(Sound(self._levelled(), self._rate_hz))
        self._blocks.append(data)
        return data

    @property
    def file(self) -> bytes:
        """The finished file, as it is to be kept."""
        return with_true_sizes(self._output.format_name, b"".join(self._blocks))

    @property
    def spoken(self) -> Spoken:
        """What is known of the finished file."""
        return Spoken(self._num_samples / self._rate_hz, *self._num_tokens)

    def _next_caption(self, text: str) -> Caption | None:
        """A piece of text begins; the one before it, if there was one, with its times."""
        before, start = self._caption
        self._caption = (text, self._num_samples + len(self._held))
        if not before:
            return None
        return Caption(before, start / self._rate_hz, self._num_samples / self._rate_hz)

    def _written(self, samples: Samples) -> bytes:
        self._num_samples += len(samples)
        if self._encoder is None:
            self._sounds.append((self._voice, samples))
            return b""
        if self._voice not in self._levellers:
            own_lufs = self._own_lufs.get(self._voice)
            self._levellers[self._voice] = self._leveller(own_lufs)
        data = self._encoder.add(self._levellers[self._voice].add(samples))
        self._blocks.append(data)
        return data

    def _leveller(self, own_lufs: float | None) -> Leveller:
        return Leveller(self._rate_hz, self._target_lufs, own_lufs)

    def _levelled(self) -> Samples:
        """All of a whole file, each voice brought to the loudness by what all of it has."""
        levellers = {voice: self._leveller(self._lufs_of(voice)) for voice, _ in self._sounds}
        levelled = [levellers[voice].add(samples) for voice, samples in self._sounds]
        return np.concatenate([np.zeros(0, np.float32), *levelled])

    def _lufs_of(self, voice: str) -> float | None:
        if (own_lufs := self._own_lufs.get(voice)) is not None:
            return own_lufs
        said = [samples for name, samples in self._sounds if name == voice]
        return lufs_of(np.concatenate(said), self._rate_hz)
