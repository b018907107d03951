"""How loud speech is, and speech made as loud as it is to be.

Loudness is that of ITU-R BS.1770 (LUFS): blocks of 0.4 s, weighted as ears are, pauses left out. What is sent
while it is made is levelled by what was heard of it so far, with a gain that moves slowly.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FRAME_S = 0.1
FRAMES_IN_BLOCK = 4
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, 10.0
# What a stream is taken for until more is known of it, and how many frames that outweighs.
ASSUMED_LUFS, ASSUMED_FRAMES = -22.0, 5
MAX_GAIN_DB = 12.0
MAX_STEP_DB = 0.5  # a frame: 5 dB a second are not heard as a change of the voice
MAX_FRAMES = 300  # after half a minute the voice is known
KNEE, CEILING = np.float32(0.7), np.float32(0.99)
# The two filters of BS.1770: gain in dB, Q, frequency in Hz, kind.
WEIGHTING = ((4.0, 2**-0.5, 1500.0, "high_shelf"), (0.0, 0.5, 38.0, "high_pass"))


class Loudness:
    """The loudness of sound that comes block by block. Not thread-safe."""

    def __init__(self, rate_hz: int) -> None:
        from pyloudnorm.iirfilter import IIRfilter  # late: it imports scipy.signal
        from scipy.signal import lfilter

        self._filters = [IIRfilter(gain, q, hz, rate_hz, kind) for gain, q, hz, kind in WEIGHTING]
        self._lfilter = lfilter
        self._states = [np.zeros(2) for _ in WEIGHTING]
        self.frame_samples = round(FRAME_S * rate_hz)
        self._rest = np.zeros(0)
        self._powers: list[float] = []  # of each frame

    def add(self, samples: Floats) -> None:
        """Hear more: float32, (samples,)."""
        weighted = samples.astype(np.float64)
        for number, each in enumerate(self._filters):
            weighted, self._states[number] = self._lfilter(
                each.b, each.a, weighted, zi=self._states[number]
            )
        weighted = np.concatenate([self._rest, weighted])
        num_whole = len(weighted) // self.frame_samples * self.frame_samples
        frames = weighted[:num_whole].reshape(-1, self.frame_samples)
        self._powers += (frames**2).mean(1).tolist()
        self._rest = weighted[num_whole:]

    @property
    def num_frames(self) -> int:
        """Frames of FRAME_S that were heard."""
        return len(self._powers)

    @property
    def lufs(self) -> float | None:
        """The loudness of all that was heard; None while it is silence, or less than a frame."""
        powers = np.array(self._powers)
        if not len(powers):
            return None
        width = min(FRAMES_IN_BLOCK, len(powers))
        blocks = np.convolve(powers, np.ones(width) / width, "valid")
        blocks = blocks[blocks > _power(ABSOLUTE_GATE_LUFS)]
        if not len(blocks):
            return None
        blocks = blocks[blocks >= blocks.mean() * 10 ** (-RELATIVE_GATE_LU / 10)]
        return float(10 * np.log10(blocks.mean()) - 0.691)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def lufs_of(samples: Floats, rate_hz: int) -> float | None:
    """The loudness of a whole sound; None when it is silence, or shorter than a frame."""
    loudness = Loudness(rate_hz)
    loudness.add(samples)
    return loudness.lufs


class Leveller:
    """Brings one voice to a loudness, block by block, however it is cut into blocks.

    With `own_lufs`, how loud the voice is by itself, the gain stays as it is. Not thread-safe.
    """

    def __init__(self, rate_hz: int, target_lufs: float, own_lufs: float | None = None) -> None:
        self._target_lufs = target_lufs
        self._heard = Loudness(rate_hz) if own_lufs is None else None
        self._gain_db = self._last_db = _gain_db(target_lufs, own_lufs or ASSUMED_LUFS)
        self._position = 0  # in the frame

    def add(self, samples: Floats) -> Floats:
        """The samples, levelled, none beyond CEILING."""
        if self._heard is None:
            return (
                limited(samples * np.float32(10 ** (self._gain_db / 20)))
                if self._gain_db
                else samples
            )
        size = self._heard.frame_samples
        levelled = np.empty_like(samples)
        start = 0
        while start < len(samples):
            end = min(len(samples), start + size - self._position)
            part = samples[start:end]
            share = (np.arange(len(part)) + self._position) / size
            gain_db = self._last_db + (self._gain_db - self._last_db) * share
            levelled[start:end] = part * 10 ** (gain_db / 20)
            self._heard.add(part)
            self._position += len(part)
            if self._position == size:
                self._next_frame(self._heard)
            start = end
        return limited(levelled)

    def _next_frame(self, heard: Loudness) -> None:
        self._position = 0
        self._last_db = self._gain_db
        if heard.num_frames <= MAX_FRAMES and (lufs := heard.lufs) is not None:
            weight = heard.num_frames / (heard.num_frames + ASSUMED_FRAMES)
            wanted = _gain_db(self._target_lufs, ASSUMED_LUFS + (lufs - ASSUMED_LUFS) * weight)
            step = np.clip(wanted - self._gain_db, -MAX_STEP_DB, MAX_STEP_DB)
            self._gain_db += float(step)


def _gain_db(target_lufs: float, own_lufs: float) -> float:
    return float(np.clip(target_lufs - own_lufs, -MAX_GAIN_DB, MAX_GAIN_DB))


def limited(samples: Floats) -> Floats:
    """Samples bent softly from KNEE on, so that none reaches 1."""
    size = np.abs(samples)
    if size.max(initial=0) <= KNEE:
        return samples
    room = CEILING - KNEE
    bent = KNEE + room * np.tanh((size - KNEE) / room)
    within: Floats = np.where(size > KNEE, np.copysign(bent, samples), samples).astype(np.float32)
    return within
