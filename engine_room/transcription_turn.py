"""What the transcription engine is asked; it answers with what `transcription_format` renders."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TranscriptionTurn:
    """One request: an uploaded file, and the language spoken (ISO 639-1, or empty to detect it)."""

    data: bytes
    language: str
    prompt: str
    temperature: float
    words: bool
