"""The only importer of the light default voice: text and a character to sound.

hibari's network gives a spectrum and a pitch for every 12.5 ms; a character changes those before
they become a waveform, so one model speaks as many people. Knows no voice by name and no format.
"""

import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hibari import Hibari, dsp
from hibari.g2p import G2P
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from engine_room.errors import Unavailable
from engine_room.packages import FETCH
from engine_room.standard_voices import Character

Floats = NDArray[np.float32]

NUM_BINS = dsp.N_FFT // 2 + 1
BIN_HZ = dsp.SR / dsp.N_FFT
# The bundled voice's median pitch, the centre its intonation is scaled around.
CENTRE_PITCH_HZ = 190.0
# Below this hibari's synthesis takes a frame for unvoiced.
MIN_PITCH_HZ = 40.0
# The network speaks at these paces; beyond them its frames are resampled. Asked for more, it drops
# sounds and rounds durations to whole frames (at 1.5: 6 words in 38 misheard; resampled: none).
MIN_NETWORK_SPEED, MAX_NETWORK_SPEED = 0.5, 1.0
# hibari's own limit for one run of the network.
MAX_PHONEMES = 400
# hibari's reader of unknown words sees 24 letters and drops the rest, its merging of a "word" with
# signs in it takes cubic time (86 s for 1,000 characters), and numbers end at 10^36.
MAX_WORD_LETTERS, MAX_WORD_CHARACTERS, MAX_NUMBER_DIGITS = 24, 40, 15

LONG_WORD = re.compile(rf"[^\W\d_]{{{MAX_WORD_LETTERS}}}(?=[^\W\d_])")
LONG_RUN = re.compile(rf"\S{{{MAX_WORD_CHARACTERS}}}(?=\S)")
LONG_NUMBER = re.compile(rf"\d(?:,?\d){{{MAX_NUMBER_DIGITS},}}")
# hibari reads "[text](/phonemes/)" as a command; without brackets it is text.
BRACKETS = str.maketrans("[]", "  ")


@dataclass(frozen=True, slots=True)
class Frames:
    """What the network says, a column each 12.5 ms.

    Log magnitudes, float32 (601, frames), a row each 20 Hz, of the pulses (voice), of noise, and of
    a rest with a phase of its own; the phases in radians; the pitch, float32 (frames,), 0 unvoiced.
    """

    pulses: Floats
    pulse_phase: Floats
    noise: Floats
    rest: Floats
    rest_phase: Floats
    pitch_hz: Floats


class LightVoice:
    """The bundled voice, or that of another `model`, loaded once. Any thread may have it speak; while a piece
    is read, another one's reading waits."""

    sample_rate_hz = 24_000

    def __init__(
        self, threads: int = 1, model: Path | None = None, is_british: bool = False
    ) -> None:
        try:
            self._hibari = Hibari(threads=threads, model=str(model) if model else None)
        except Exception as error:  # onnxruntime's have no class in common
            if model is None:
                raise
            raise Unavailable(
                f"The voice's model {model} cannot be loaded: {error}.",
                f"Remove {model.parent}, and run: {FETCH} {model.parent.name}",
            ) from error
        # The bundled voice's network was never trained on the British symbols, and Whisper mishears a
        # fifth of the words when it is given them.
        self._g2p = G2P(british=is_british)
        self._reading = threading.Lock()

    def speak(
        self, piece: str, character: Character, speed: float = 1.0, seed: int | None = None
    ) -> Floats:
        """`piece` as sound: float32, (samples,), within -1…1; no samples if nothing is readable.

        `speed` is 0.25…4 and keeps the pitch. The same `seed` gives the same samples.
        """
        rng = np.random.default_rng(seed)
        with (
            self._reading
        ):  # hibari's reader is not known to be thread-safe, and takes a tenth of the time
            runs = list(self._phonemes(piece))
        parts = [self._run(phonemes, character, speed, rng) for phonemes in runs]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _phonemes(self, piece: str) -> Iterator[str]:
        """Phonemes for one run of the network each, at most `MAX_PHONEMES`, one letter at least."""
        for sentence in Hibari.split_sentences(plain(piece)):
            for phonemes in cut(self._g2p(sentence)):
                if any(c.isalpha() and c in self._hibari.vocab for c in phonemes):
                    yield phonemes

    def _run(
        self, phonemes: str, character: Character, speed: float, rng: np.random.Generator
    ) -> Floats:
        speed *= character.pace_ratio
        network_speed = min(max(speed, MIN_NETWORK_SPEED), MAX_NETWORK_SPEED)
        inputs = {
            "ids": np.asarray([self._hibari.ids(phonemes)], np.int64),
            "speed": np.asarray([network_speed], np.float32),
        }
        frames = Frames(*(output[0] for output in self._hibari.sess.run(None, inputs)))
        frames = mended(frames)
        frames = in_character(frames, character)
        frames = resampled(frames, network_speed / speed)
        samples = dsp.synth(
            frames.pulses,
            np.arctanh(np.clip(frames.pulse_phase / np.pi, -0.9999, 0.9999)),
            frames.noise,
            frames.rest,
            frames.rest_phase,
            frames.pitch_hz,
            rng,
        )
        return limited(trimmed(samples * 10 ** (character.gain_db / 20), speed))


def plain(piece: str) -> str:
    """`piece` with nothing in it that hibari takes for a command or chokes on; still text."""
    text = unicodedata.normalize("NFC", piece).translate(BRACKETS)
    text = "".join(map(_plain_character, text))
    text = LONG_NUMBER.sub(lambda m: " ".join(m.group().replace(",", "")), text)
    return LONG_RUN.sub(r"\g<0> ", LONG_WORD.sub(r"\g<0> ", text))


def _plain_character(c: str) -> str:
    if unicodedata.category(c) == "Cc":
        return " "
    # hibari's number reader takes "٣" but fails on "①" and "²".
    if c.isdigit() and not c.isascii():
        return str(unicodedata.digit(c)) if c.isdecimal() else f" {unicodedata.digit(c)}"
    return c


def cut(phonemes: str) -> Iterator[str]:
    """Phonemes in runs of at most `MAX_PHONEMES`, cut after a clause, else a word, else anywhere."""
    while len(phonemes) > MAX_PHONEMES:
        head = phonemes[:MAX_PHONEMES]
        clause_end = max(head.rfind(mark) for mark in (", ", "; ", ": ", "— "))
        end = clause_end + 2 if clause_end > 0 else head.rfind(" ") + 1 or MAX_PHONEMES
        yield phonemes[:end]
        phonemes = phonemes[end:]
    yield phonemes


def mended(frames: Frames) -> Frames:
    """Frames whose spectrum can be moved along frequency and away from its own pitch.

    Some rows of the network's int8 output are dead (a factor of 1,000 too low, always the same
    ones) and phases vary from row to row; both are harmless only where harmonics lie as in
    training. Medians and smoothing over rows: a speech-quality model (DistillMOS) gives a pitch of
    0.55 with formants of 0.85 2.9 without, 4.2 with it.
    """
    envelope = gaussian_filter1d(_median_of_five(frames.pulses), 2.0, axis=0)
    phase = np.pi * np.tanh(frames.pulse_phase)
    weight = np.exp(0.5 * np.minimum(frames.pulses, 7.0))
    sine = gaussian_filter1d(weight * np.sin(phase), 1.5, axis=0)
    cosine = gaussian_filter1d(weight * np.cos(phase), 1.5, axis=0)
    pitch_hz = np.where(frames.pitch_hz > MIN_PITCH_HZ, frames.pitch_hz, 0.0).astype(np.float32)
    return replace(frames, pulses=envelope, pulse_phase=np.arctan2(sine, cosine), pitch_hz=pitch_hz)


def in_character(frames: Frames, character: Character) -> Frames:
    """Frames with the character's pitch, intonation, formants, tilt, resonance and breath."""
    rows = _source_rows(character)
    colour = _colour(character)
    pulses = _interpolated(frames.pulses, rows) + colour
    noise = _interpolated(frames.noise, rows) + colour
    if character.breath_db is not None:
        noise = np.logaddexp(noise, pulses + _breath(character.breath_db))
    is_voiced = frames.pitch_hz > 0
    relative = np.where(is_voiced, frames.pitch_hz, CENTRE_PITCH_HZ) / CENTRE_PITCH_HZ
    pitch_hz = CENTRE_PITCH_HZ * character.pitch_ratio * relative**character.intonation_ratio
    return Frames(
        pulses=pulses,
        pulse_phase=_interpolated_phase(frames.pulse_phase, rows),
        noise=noise,
        rest=_interpolated(frames.rest, rows) + colour,
        rest_phase=frames.rest_phase[np.rint(rows).astype(np.intp)],
        pitch_hz=np.where(is_voiced, np.clip(pitch_hz, 45.0, 500.0), 0.0).astype(np.float32),
    )


def resampled(frames: Frames, duration_ratio: float) -> Frames:
    """Frames lasting `duration_ratio` times as long at the same pitch."""
    num_frames = frames.pitch_hz.shape[0]
    num_wanted = max(4, round(num_frames * duration_ratio))
    if num_wanted == num_frames:
        return frames
    at = np.linspace(0, num_frames - 1, num_wanted)
    nearest = np.rint(at).astype(np.intp)
    pitch_hz = np.interp(at, np.arange(num_frames), frames.pitch_hz).astype(np.float32)
    # Between a voiced and an unvoiced frame a pitch half way would be a chirp.
    between = (frames.pitch_hz[np.floor(at).astype(np.intp)] > 0) & (
        frames.pitch_hz[np.ceil(at).astype(np.intp)] > 0
    )
    return Frames(
        pulses=_interpolated(frames.pulses.T, at).T,
        pulse_phase=_interpolated_phase(frames.pulse_phase.T, at).T,
        noise=_interpolated(frames.noise.T, at).T,
        rest=_interpolated(frames.rest.T, at).T,
        rest_phase=frames.rest_phase[:, nearest],
        pitch_hz=np.where(between, pitch_hz, frames.pitch_hz[nearest]),
    )


def trimmed(samples: Floats, speed: float) -> Floats:
    """`samples` with at most 0.08 s of silence before and 0.16 s after (at speed 1), faded."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.max(np.abs(samples), initial=0.0))
    if not loud.size:
        return samples
    before, after = (int(dsp.SR * min(0.25, s / speed)) for s in (0.08, 0.16))
    kept: Floats = samples[max(0, loud[0] - before) : loud[-1] + after].copy()
    fade = np.linspace(0, 1, min(120, kept.size), dtype=np.float32)
    kept[: fade.size] *= fade
    kept[-fade.size :] *= fade[::-1]
    return kept


def limited(samples: Floats) -> Floats:
    """`samples` bent softly from 0.7 on so that none reaches 1."""
    size = np.abs(samples)
    bent = np.float32(0.7) + np.float32(0.29) * np.tanh((size - 0.7) / 0.29)
    within: Floats = np.where(size > 0.7, np.copysign(bent, samples), samples).astype(np.float32)
    return within


def _source_rows(character: Character) -> NDArray[np.float64]:
    """For every row of the new spectrum, the row (a fraction) of the old one it comes from."""
    return np.clip(np.arange(NUM_BINS) / character.formant_ratio, 0, NUM_BINS - 1)


def _colour(character: Character) -> Floats:
    """Log gain of tilt and resonance, float32 (601, 1)."""
    hz = np.maximum(np.arange(NUM_BINS) * BIN_HZ, 200.0)
    tilt_db = character.tilt_db_per_octave * np.log2(hz / 1000.0)
    octaves = np.log2(hz / character.resonance_hz)
    resonance_db = character.resonance_db * np.exp(-0.5 * (octaves / 0.35) ** 2)
    return _log_gain(tilt_db + resonance_db)


def _breath(level_db: float) -> Floats:
    """Log level of breath over the voice's spectrum, float32 (601, 1): little below 1.5 kHz."""
    hz = np.maximum(np.arange(NUM_BINS) * BIN_HZ, 1.0)
    return _log_gain(level_db - 10 * np.log10(1 + (1500.0 / hz) ** 2))


def _log_gain(db: NDArray[np.float64]) -> Floats:
    gain: Floats = (db * (np.log(10) / 20)).astype(np.float32)[:, None]
    return gain


def _median_of_five(values: Floats) -> Floats:
    """The median of each row with the two above and the two below it, at the edges with their mirror image:
    `scipy.ndimage.median_filter(values, size=(5, 1))`, ten times as fast."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="symmetric")
    a, b, middle, d, e = (padded[start : start + len(values)] for start in range(5))
    low = np.maximum(np.minimum(a, b), np.minimum(d, e))
    high = np.minimum(np.maximum(a, b), np.maximum(d, e))
    # Two of the four others are below both or above both: what is left is a median of three.
    median: Floats = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), middle))
    return median


def _interpolated(values: Floats, at: NDArray[np.float64]) -> Floats:
    """Rows of `values` at fractional positions."""
    below = np.floor(at).astype(np.intp)
    above = np.minimum(below + 1, len(values) - 1)
    weight = (at - below).astype(np.float32)[:, None]
    mixed: Floats = values[below] * (1 - weight) + values[above] * weight
    return mixed


def _interpolated_phase(phase: Floats, at: NDArray[np.float64]) -> Floats:
    """The same for angles, the short way round."""
    angles: Floats = np.arctan2(_interpolated(np.sin(phase), at), _interpolated(np.cos(phase), at))
    return angles
