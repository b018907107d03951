"""The vocoder as a stream: each latent is decoded once, with as much around it as the network sees.

XTTS makes a latent every 46.4 ms; its decoder stretches latents to frames of 256 samples and a HiFi-GAN
turns those into sound. A frame's sound depends on a few frames on each side only, so frames decoded in
windows with that context are the same as when all are decoded at once (measured: 5e-7), and a stream
costs the same per second from beginning to end. Knows no model library: the network is a function.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Context = tuple[bool, bool]
# Frames, float32 (frames, channels), the speaker's embedding, float32 (512,), and whether the first and the
# last CONTEXT_FRAMES are context, or the sentence begins and ends there; to samples of all frames but
# context, float32 (frames * SAMPLES_PER_FRAME,).
Network = Callable[[Floats, Floats, Context], Floats]
SAMPLES_PER_FRAME = 256
# How far the network sees on each side, in frames. From its end to its beginning, in steps: a kernel of 7
# sees 3; each of four stages sees 60 with its residual blocks' kernel of 11 and dilations 1, 3, 5, each
# followed by a 1; stretching layers make two steps, with kernels of 4, and eight, with kernels of 16, of
# one. So after the last stage 3 steps of context are needed, after those before it (3 + 60 + 2) // 2 = 32,
# (32 + 60 + 2) // 2 = 47, (47 + 60 + 11) // 8 = 14, and before the first (14 + 60 + 11) // 8 = 10 frames and
# 3 more for another kernel of 7.
CONTEXT_FRAMES = 13


@dataclass(frozen=True, slots=True)
class Stretch:
    """Linear interpolation along time as torch's `interpolate` does it, computed where it is wanted."""

    factor: float

    def num_all(self, num_inputs: int) -> int:
        """How many outputs there are for so many inputs."""
        return math.floor(num_inputs * self.factor)

    def num_sure(self, num_inputs: int) -> int:
        """How many of them do not change when more inputs come: those between two that are there."""
        num_between = math.ceil((num_inputs - 0.5) * self.factor - 0.5)
        return max(0, min(num_between, self.num_all(num_inputs)))

    def inputs_of(self, begin: int, end: int, num_inputs: int) -> tuple[int, int]:
        """Which inputs the outputs from `begin` to `end` are made of."""
        below, above, _ = self._sources(begin, end, num_inputs)
        return (int(below[0]), int(above[-1]) + 1) if end > begin else (0, 0)

    def outputs(self, inputs: Floats, offset: int, begin: int, end: int, num_inputs: int) -> Floats:
        """Outputs from `begin` to `end`; `inputs` are those from `offset` on."""
        below, above, weight = self._sources(begin, end, num_inputs)
        lower, upper = inputs[below - offset], inputs[above - offset]
        mixed: Floats = lower * (1 - weight) + upper * weight
        return mixed

    def _sources(
        self, begin: int, end: int, num_inputs: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
        # In float32, as torch has it: at frame 2,000 the rounding shows in the fourth digit of a weight.
        step = np.float32(1 / self.factor)
        at = (np.arange(begin, end, dtype=np.float32) + np.float32(0.5)) * step - np.float32(0.5)
        at = np.maximum(at, np.float32(0))
        below = np.minimum(at.astype(np.intp), num_inputs - 1)
        above = np.minimum(below + 1, num_inputs - 1)
        return below, above, (at - below.astype(np.float32))[:, None]


class VocoderStream:
    """Latents go in, and the work comes out that makes sound of them, as soon as that can no longer change.
    One sentence's.

    Not thread-safe, but the work may be done on any threads, several at once. `stretches` are the factors by
    which latents become frames, one after the other.
    """

    def __init__(self, network: Network, speaker: Floats, stretches: tuple[float, ...]) -> None:
        self._network = network
        self._speaker = speaker
        self._stretches = [Stretch(factor) for factor in stretches]
        self._latents: list[Floats] = []
        self._num_done = 0  # frames whose sound is under way or out

    def add(self, latents: Floats, is_last: bool = False) -> Callable[[], Floats]:
        """The work for the sound that is sure with these latents, float32 (latents, channels); for all that
        is left at the last. It gives float32 (samples,), that follow those of the work before."""
        self._latents.append(latents)
        known = np.concatenate(self._latents)
        self._latents = [known]
        sizes = self._sizes(len(known), is_last)
        num_sure = sizes[-1] if is_last else sizes[-1] - CONTEXT_FRAMES
        if self._num_done >= num_sure:
            return lambda: np.zeros(0, np.float32)
        has_before = self._num_done >= CONTEXT_FRAMES
        begin = self._num_done - CONTEXT_FRAMES if has_before else 0
        frames = self._frames(known, begin, sizes[-1] if is_last else num_sure + CONTEXT_FRAMES)
        # Where there is less than a whole context, its frames are decoded and left out.
        num_left_out = 0 if has_before else self._num_done
        self._num_done = num_sure

        def sound() -> Floats:
            samples = self._network(frames, self._speaker, (has_before, not is_last))
            return samples[num_left_out * SAMPLES_PER_FRAME :]

        return sound

    def _sizes(self, num_latents: int, is_last: bool) -> list[int]:
        """How many there are after each stretch, the latents first."""
        sizes = [num_latents]
        for stretch in self._stretches:
            count = stretch.num_all if is_last else stretch.num_sure
            sizes.append(count(sizes[-1]))
        return sizes

    def _frames(self, latents: Floats, begin: int, end: int) -> Floats:
        """Frames from `begin` to `end`, each stretch computed only where it is needed."""
        sizes = [len(latents)]
        for stretch in self._stretches[:-1]:
            sizes.append(stretch.num_all(sizes[-1]))
        ranges = [(begin, end)]
        for stretch, size in zip(reversed(self._stretches), reversed(sizes), strict=True):
            ranges.append(stretch.inputs_of(*ranges[-1], size))
        ranges.reverse()
        offset, values = ranges[0][0], latents[slice(*ranges[0])]
        for stretch, size, wanted in zip(self._stretches, sizes, ranges[1:], strict=True):
            values = stretch.outputs(values, offset, *wanted, size)
            offset = wanted[0]
        return values
