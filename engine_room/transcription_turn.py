"""What the transcription engine is asked; it answers with what `transcription_format` renders."""

from dataclasses import dataclass

from engine_room.encoding import Sound

RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class TranscriptionTurn:
    """One request: 16 kHz sound, and the language spoken (ISO 639-1, or empty to detect it)."""

    sound: Sound
    language: str
    prompt: str
    temperature: float
    words: bool
