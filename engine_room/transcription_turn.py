"""What the transcription engine is asked, and uploads in JSON; the answers are `transcription_format`'s."""

import base64
import binascii
from dataclasses import dataclass

from engine_room import schemas
from engine_room.errors import InvalidAudio


@dataclass(frozen=True, slots=True)
class TranscriptionTurn:
    """One request: an uploaded file, and the language spoken (ISO 639-1, or empty to detect it)."""

    data: bytes
    language: str
    prompt: str
    temperature: float
    words: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A transcription request, read from whichever form it came in."""

    fields: schemas.TranscriptionRequest
    data: bytes


def upload_in_json(body: bytes) -> Upload:
    """An upload as base64, bare or as a data URL. Raises InvalidAudio, pydantic's ValidationError."""
    request = schemas.JsonTranscriptionRequest.model_validate_json(body)
    encoded = "".join(request.input_audio.data.rpartition(",")[2].split())
    try:
        return Upload(request, base64.b64decode(encoded, validate=True))
    except binascii.Error as error:
        raise InvalidAudio(f"input_audio.data is not base64: {error}.") from error
