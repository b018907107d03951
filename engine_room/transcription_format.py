"""Segments as json, text, srt, vtt, verbose_json, and as a stream of events."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine_room.transcription_languages import NAMES
from engine_room.transcription_turn import Task

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


@dataclass(frozen=True, slots=True)
class Word:
    """One word with the space before it, its place in the sound, in seconds, and how sure it is."""

    word: str
    start: float
    end: float
    probability: float


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
    """The result of a transcription, beside its segments; no language when nothing was said and none was
    told."""

    language: str
    duration_s: float


def text_of(segments: Sequence[Segment]) -> str:
    """All that was said."""
    return "".join(segment.text for segment in segments).strip()


@dataclass(frozen=True, slots=True)
class TranscriptionAnswer:
    """How a transcription is told: whole, in one of FORMATS, or streamed as OpenAI's events."""

    format_name: str = "json"
    granularities: Sequence[str] = ()
    logprobs: bool = False
    task: Task = "transcribe"

    def whole(self, segments: Sequence[Segment], heard: Heard) -> str | dict[str, Any]:
        """The body: an object for the JSON formats, else plain text."""
        if self.format_name == "text":
            return text_of(segments) + "\n"
        if self.format_name == "srt":
            return "".join(
                f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{s.text.strip()}\n\n"
                for number, s in enumerate(segments, start=1)
            )
        if self.format_name == "vtt":
            cues = (
                f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{s.text.strip()}\n\n"
                for s in segments
            )
            return "WEBVTT\n\n" + "".join(cues)
        if self.format_name == "verbose_json":
            return self._verbose(segments, heard)
        return {"text": text_of(segments)} | self.ending(segments, heard)

    def _verbose(self, segments: Sequence[Segment], heard: Heard) -> dict[str, Any]:
        body: dict[str, Any] = {
            "task": self.task,
            "language": NAMES.get(heard.language, heard.language),
            "duration": heard.duration_s,
            "text": text_of(segments),
        }
        if "segment" in self.granularities or not self.granularities:
            fields = [asdict(segment) for segment in segments]
            for segment in fields:
                del segment["words"]
            body["segments"] = fields
        if "word" in self.granularities:
            body["words"] = _words(segments)
        return body | {"usage": _usage(heard)}

    def ending(self, segments: Sequence[Segment], heard: Heard) -> dict[str, Any]:
        """What follows the text, in JSON and at the end of a stream."""
        logprobs = {"logprobs": _logprobs(segments)} if self.logprobs else {}
        languages = [{"code": heard.language}] if heard.language else []
        return logprobs | {"languages": languages, "usage": _usage(heard)}


class TranscriptionFrames:
    """The events of a streamed transcription; a `streams.Frames`."""

    def __init__(self, answer: TranscriptionAnswer) -> None:
        self._answer = answer
        self._segments: list[Segment] = []

    def opening(self) -> Iterable[object]:
        """Nothing before the first text."""
        return ()

    def item(self, item: Segment) -> Iterable[object]:
        """A segment's text; that of all follow each other without a gap."""
        text = item.text if self._segments else item.text.lstrip()
        logprobs = {"logprobs": _logprobs([item])} if self._answer.logprobs else {}
        self._segments.append(item)
        yield {"type": "transcript.text.delta", "delta": text} | logprobs
        if self._answer.granularities:
            yield self._segment(item)

    def _segment(self, item: Segment) -> dict[str, Any]:
        """OpenAI's event of a segment, which it sends of several speakers; ours has the words, too."""
        event: dict[str, Any] = {
            "type": "transcript.text.segment",
            "id": f"seg_{len(self._segments) - 1}",
            "start": item.start,
            "end": item.end,
            "text": item.text,
        }
        return event | ({"words": _words([item])} if "word" in self._answer.granularities else {})

    def closing(self, result: Heard) -> Iterable[object]:
        """All of the text once more."""
        done = {"type": "transcript.text.done", "text": text_of(self._segments)}
        yield done | self._answer.ending(self._segments, result)


def _words(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    return [
        {"word": word.word.strip(), "start": word.start, "end": word.end}
        for segment in segments
        for word in segment.words
    ]


def _usage(heard: Heard) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(heard.duration_s)}


def _logprobs(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Whisper tells how sure it is by the word, so a word is what is called a token here."""
    return [
        {
            "token": word.word,
            "logprob": math.log(max(word.probability, 1e-9)),
            "bytes": list(word.word.encode()),
        }
        for segment in segments
        for word in segment.words
    ]


def _clock(time_s: float, point: str) -> str:
    milliseconds = round(time_s * 1000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
