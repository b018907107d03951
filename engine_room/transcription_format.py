"""Segments as json, text, srt, vtt, verbose_json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine_room.errors import UnsupportedValue

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its place in the sound, in seconds."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """An item of a transcription: a stretch of speech, its text beginning with the space it has; the
    fields are those of OpenAI's verbose_json, times in seconds."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: list[Word]


@dataclass(frozen=True, slots=True)
class Heard:
    """The result of a transcription, beside its segments."""

    language: str
    duration_s: float


def check_format(name: str) -> None:
    """Raise UnsupportedValue unless it is one of FORMATS."""
    if name not in FORMATS:
        raise UnsupportedValue("response_format", name, FORMATS)


def text_of(segments: Sequence[Segment]) -> str:
    """All that was said."""
    return "".join(segment.text for segment in segments).strip()


def render(
    name: str, segments: Sequence[Segment], heard: Heard, granularities: Sequence[str] = ()
) -> str | dict[str, Any]:
    """The body in one of FORMATS: an object for the JSON ones, else plain text."""
    if name == "text":
        return text_of(segments) + "\n"
    if name == "srt":
        return "".join(
            f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{s.text.strip()}\n\n"
            for number, s in enumerate(segments, start=1)
        )
    if name == "vtt":
        cues = (
            f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{s.text.strip()}\n\n"
            for s in segments
        )
        return "WEBVTT\n\n" + "".join(cues)
    usage = {"type": "duration", "seconds": round(heard.duration_s)}
    if name == "json":
        return {"text": text_of(segments), "usage": usage}
    return _verbose(segments, heard, granularities) | {"usage": usage}


def _verbose(
    segments: Sequence[Segment], heard: Heard, granularities: Sequence[str]
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": heard.language,
        "duration": heard.duration_s,
        "text": text_of(segments),
    }
    if "segment" in granularities or not granularities:
        fields = [asdict(segment) for segment in segments]
        for segment in fields:
            del segment["words"]
        body["segments"] = fields
    if "word" in granularities:
        body["words"] = [asdict(word) for segment in segments for word in segment.words]
    return body


def _clock(time_s: float, point: str) -> str:
    milliseconds = round(time_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
