"""What the transcription engine is asked; it answers with what `transcription_format` renders."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class SpeechFilter:
    """What counts as speech: probabilities over `threshold`; a pause ends it after `silence_ms`, and so
    much before and after it is kept."""

    threshold: float = 0.5
    padding_ms: int = 400
    silence_ms: int = 2000


@dataclass(frozen=True, slots=True)
class TranscriptionTurn:
    """One request: an uploaded file, the model's folder, and the language spoken, in any spelling, or empty
    to detect it; `languages` then are those it may be."""

    data: bytes
    folder: Path
    language: str = ""
    languages: tuple[str, ...] = ()
    task: Task = "transcribe"  # or into English
    prompt: str = ""
    hotwords: str = ""
    temperature: float = 0.0
    words: bool = False
    speech_filter: SpeechFilter = field(default_factory=SpeechFilter)
