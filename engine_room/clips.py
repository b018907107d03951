"""A clip: what a recording is worth as a voice, and the recording made ready for cloning.

Levels are in dB relative to full scale. Measuring is numpy's work, trimming and loudness pydub's. Knows no
voices and no folder but the one a clip lies in.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine_room.decoding import decode
from engine_room.encoding import Samples, Sound, segment_of
from engine_room.errors import InvalidAudio, quoted

CLIP_RATE_HZ = 24_000
CLEAN_SUFFIX = ".clean.wav"
# A voice is learnt from half a minute; what comes after some minutes only costs memory.
MAX_CLIP_S = 300
MIN_SPEECH_S = 3
BEST_SPEECH_S = (6, 30)
# As many clips make a voice, and so much of each, as the library has it.
MAX_CLIPS = 50
REFERENCE_S = 30
# A clip of several: shorter is a word, and says little of a voice.
MIN_CLIP_SPEECH_S = 1
FRAME_S = 0.03
SILENT_DB = -60.0
# Frames this far below the loudest ones are pauses; so far apart are vowels and the softest consonants.
PAUSE_DB = 25
# Pauses in quiet rooms are 30 dB and more below the speech; in a street or beside a fan, under 15.
NOISE_DB = 15
LEVEL_SPREAD_DB = 9
TARGET_DB = -20.0
PEAK_DB = -1.0
# Kept around the speech: consonants at its ends are softer than what is trimmed by.
MARGIN_MS = 200
Levels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a clip. With a `problem` it is no voice, a `warning` is heard in what the voice
    says, `advice` would make it better."""

    code: str
    kind: Literal["problem", "warning", "advice"]
    message: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What there is to say of a clip; `level_db` is how loud its speech is."""

    duration_s: float
    speech_s: float
    level_db: float
    found: tuple[Finding, ...]


def decoded(path: Path, name: str = "", param: str = "audio_sample") -> Sound:
    """The first minutes (MAX_CLIP_S and a second, so that a longer one shows) of a file that holds sound
    in any format, as recorded. Raises InvalidAudio, also when the file cannot be read; it names the file,
    by `name` if it is given, and what of the request led to it, by `param`."""
    shown = quoted(name or path.name)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InvalidAudio("The file is empty.")
            file.seek(0)
            return decode(file, CLIP_RATE_HZ, first_s=MAX_CLIP_S + 1)
    except OSError as error:
        raise InvalidAudio(f"{shown} cannot be read: {error.strerror}.", param) from error
    except InvalidAudio as error:
        raise InvalidAudio(f"{shown}: {error.message}", param) from error


def clean_path(path: Path) -> Path:
    """Where a clip made ready lies, if it is kept: beside the recording."""
    return path.with_name(path.name + CLEAN_SUFFIX)


def mark_kept(path: Path) -> None:
    """Give the clip made ready its recording's time of change, by which the two are known to belong
    together: a recording put in its place may be older. Raises OSError."""
    changed_ns = path.stat().st_mtime_ns
    os.utime(clean_path(path), ns=(changed_ns, changed_ns))


def prepared(path: Path) -> Sound:
    """The clip of this file made ready, as `cleaned` makes it: 24,000 Hz. The kept `.clean.wav` is used if
    it was made of this recording. Raises InvalidAudio, which names the file."""
    clean = clean_path(path)
    try:
        state = clean.lstat()  # neither a link nor a pipe, which would be waited for
        is_file = stat.S_ISREG(state.st_mode)
        is_kept = is_file and state.st_mtime_ns == path.stat().st_mtime_ns
    except OSError:
        is_kept = False
    if is_kept:
        return decoded(clean, param="voice")
    sound = decoded(path, param="voice")
    try:
        return cleaned(sound)
    except InvalidAudio as error:
        raise InvalidAudio(f"{quoted(path.name)}: {error.message}", "voice") from error


def references(paths: Sequence[Path]) -> list[Sound]:
    """What a voice with these clips is learnt from: the beginning of each, made ready. Raises InvalidAudio
    when one cannot be read, or all together are too short for any voice."""
    sounds: list[Sound] = []
    for path in paths:
        sound = prepared(path)
        samples = sound.samples[: REFERENCE_S * sound.rate_hz].copy()
        sounds.append(Sound(samples, sound.rate_hz))
    duration_s = sum(sound.duration_s for sound in sounds)
    if duration_s < MIN_CLIP_SPEECH_S:
        name = quoted(paths[0].name)
        raise InvalidAudio(
            f"{name}: there are only {duration_s:.1f} s of speech; a voice needs {MIN_SPEECH_S}.",
            "voice",
        )
    return sounds


def cleaned(sound: Sound) -> Sound:
    """The sound without silence at its ends, its first MAX_CLIP_S at most, at an even loudness: the mean
    of the standard voices, or as loud as it gets without clipping. Raises InvalidAudio on silence."""
    samples = sound.samples[: MAX_CLIP_S * sound.rate_hz]
    samples = samples - np.float32(samples.mean(dtype=np.float64))
    peak = float(np.abs(samples).max())
    if peak < 10 ** (SILENT_DB / 20):
        raise InvalidAudio("There is only silence in the clip.", "audio_sample")
    # Made loud before it becomes 16 bits, so that a faint recording loses nothing.
    segment = _trimmed(
        segment_of(Sound((samples * (0.9 / peak)).astype(np.float32), sound.rate_hz))
    )
    gain_db = min(TARGET_DB - segment.dBFS, PEAK_DB - segment.max_dBFS)
    louder = np.array(segment.apply_gain(gain_db).get_array_of_samples(), np.float32)
    return Sound(louder / np.float32(32_768), sound.rate_hz)


def _trimmed(segment: Any) -> Any:
    """A pydub segment without silence at its ends; all of it when it is even throughout."""
    from pydub.silence import detect_leading_silence

    threshold_db = segment.dBFS - 20
    start = detect_leading_silence(segment, threshold_db)
    end = len(segment) - detect_leading_silence(segment.reverse(), threshold_db)
    return segment[max(0, start - MARGIN_MS) : end + MARGIN_MS] if start < end else segment


def checked(sound: Sound) -> Findings:
    """What a recording is worth, as it was recorded. Never raises; half a second for minutes of sound."""
    samples = sound.samples
    duration_s = round(sound.duration_s, 2)
    offset = float(samples.mean(dtype=np.float64)) if len(samples) else 0.0
    levels = _levels(samples - np.float32(offset), sound.rate_hz)
    if not len(levels) or levels.max() < SILENT_DB:
        return Findings(duration_s, 0, SILENT_DB, (_silence(offset),))
    is_speech = _is_speech(levels)
    speech_s = round(min(float(is_speech.sum()) * FRAME_S, sound.duration_s), 2)
    loud = levels[levels > _loud_db(levels) - PAUSE_DB]
    found = [*_length(duration_s), *_clipping(samples), *_noise(levels), *_unevenness(levels)]
    return Findings(duration_s, speech_s, round(_mean_db(loud), 1), tuple(found))


def _levels(samples: Samples, rate_hz: int) -> Levels:
    """The level of each whole frame of 30 ms in dB, -120 at least."""
    size = int(FRAME_S * rate_hz)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size
    return np.asarray(10 * np.log10(power + 1e-12))


def _mean_db(levels: Levels) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels / 10))))


def _loud_db(levels: Levels) -> float:
    """The level of the vowels, however much silence there is beside them."""
    return float(np.percentile(levels[levels > levels.max() - 40], 90))


def _is_speech(levels: Levels) -> NDArray[np.bool_]:
    """Which frames are loud, or in a pause of less than 0.3 s between such: how people count speech."""
    is_loud = levels > max(_loud_db(levels) - PAUSE_DB, SILENT_DB)
    return np.convolve(is_loud, np.ones(11), "same")[: len(levels)] > 0


def _silence(offset: float) -> Finding:
    if abs(offset) > 0.001:
        message = (
            "There is no sound in it, only a constant voltage (DC): is the microphone plugged in?"
        )
        return Finding("silent", "problem", message)
    message = "There is only silence in it: record again, nearer to the microphone."
    return Finding("silent", "problem", message)


def _length(duration_s: float) -> list[Finding]:
    if duration_s <= MAX_CLIP_S:
        return []
    minutes = MAX_CLIP_S // 60
    message = f"It is longer than {minutes} minutes; only the first {minutes} minutes are used."
    return [Finding("long", "advice", message)]


def _clipping(samples: Samples) -> list[Finding]:
    """Flat tops: three samples or more in a row at the end of the range."""
    is_at_end = np.abs(samples) > 0.985
    num_flat = np.count_nonzero(is_at_end[2:] & is_at_end[1:-1] & is_at_end[:-2])
    if num_flat < 2e-5 * len(samples) or num_flat < 5:
        return []
    message = (
        "It is too loud in places and clips there, which sounds harsh: record at a lower level."
    )
    return [Finding("clipping", "warning", message)]


def _noise(levels: Levels) -> list[Finding]:
    difference_db = _loud_db(levels) - np.percentile(levels, 10)
    if difference_db >= NOISE_DB:
        return []
    message = (
        f"There is noise or music behind the voice: the quietest tenth is only {difference_db:.0f} dB below "
        "the loudest. Record in a quiet room."
    )
    return [Finding("noise", "warning", message)]


def _unevenness(levels: Levels) -> list[Finding]:
    """Parts of three seconds that differ much in loudness, those without speech left out."""
    size = round(3 / FRAME_S)
    parts = [np.percentile(levels[at : at + size], 90) for at in range(0, len(levels), size)]
    spoken = [float(part) for part in parts if part > _loud_db(levels) - PAUSE_DB]
    if max(spoken) - min(spoken) < LEVEL_SPREAD_DB:
        return []
    return [_levels_differ("It is much louder in some parts than in others", spoken)]


def _levels_differ(where: str, levels_db: Sequence[float]) -> Finding:
    spread_db = max(levels_db) - min(levels_db)
    return Finding(
        "levels",
        "warning",
        f"{where} ({spread_db:.0f} dB): do several people speak, or from several distances? "
        "One voice at one distance is learnt best.",
    )


def of_voice(clips: Sequence[Findings]) -> tuple[Finding, ...]:
    """What there is to say of a voice with these clips, beside what each clip has itself."""
    speech_s = sum(clip.speech_s for clip in clips)
    least, most = BEST_SPEECH_S
    said = f"{speech_s:.1f} s of speech"
    found: list[Finding] = []
    if any(finding.kind == "problem" for clip in clips for finding in clip.found):
        pass  # the clip says it
    elif speech_s < MIN_SPEECH_S:
        message = (
            f"There are only {said}; a voice needs {MIN_SPEECH_S}, best are {least} to {most}."
        )
        found.append(Finding("too_short", "problem", message))
    elif speech_s < least:
        message = f"There are {said}; the voice is better with {least} to {most}."
        found.append(Finding("short", "advice", message))
    elif speech_s > most:
        message = f"There are {said}; more than {most} add little."
        found.append(Finding("more_than_needed", "advice", message))
    levels_db = [clip.level_db for clip in clips if clip.speech_s]
    if len(levels_db) > 1 and max(levels_db) - min(levels_db) >= LEVEL_SPREAD_DB:
        found.append(_levels_differ("Some clips are much louder than others", levels_db))
    return tuple(found)


def is_voice(clips: Sequence[Findings]) -> bool:
    """Whether something can be spoken in a voice with these clips, however badly."""
    speech_s = sum(clip.speech_s for clip in clips)
    return speech_s >= MIN_CLIP_SPEECH_S and all(clip.speech_s for clip in clips)


def check_sounding(name: str, clip: Findings) -> None:
    """Refuse a clip that no voice can be heard in. Raises InvalidAudio with the clip's name."""
    for finding in clip.found:
        if finding.kind == "problem":
            raise InvalidAudio(f"{quoted(name)}: {finding.message}", "audio_sample")


def check_usable(names: Sequence[str], clips: Sequence[Findings]) -> None:
    """Refuse what cannot become a voice. Raises InvalidAudio."""
    for name, clip in zip(names, clips, strict=True):
        check_sounding(name, clip)
        if len(clips) > 1 and clip.speech_s < MIN_CLIP_SPEECH_S:
            message = (
                f"{quoted(name)}: there are only {clip.speech_s:.1f} s of speech; a clip needs"
            )
            raise InvalidAudio(f"{message} {MIN_CLIP_SPEECH_S} at least.", "audio_sample")
    for finding in of_voice(clips):
        if finding.kind == "problem":
            raise InvalidAudio(finding.message, "audio_sample")


def checked_file(path: Path) -> Findings:
    """What the clip in a file is worth; remembered until the file changes. Raises InvalidAudio."""
    try:
        state = path.stat()
    except OSError as error:
        message = f"{quoted(path.name)} cannot be read: {error.strerror}."
        raise InvalidAudio(message, "audio_sample") from error
    return _checked_file(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1000)
def _checked_file(path: Path, mtime_ns: int, num_bytes: int) -> Findings:
    return checked(decoded(path))
