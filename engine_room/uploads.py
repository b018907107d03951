"""Uploaded sound, read from whichever form it came in: multipart, or base64 in JSON."""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from engine_room import schemas
from engine_room.errors import InvalidAudio, InvalidRequest


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


async def upload_of(request: Request) -> Upload:
    """Read multipart or JSON. Raises InvalidRequest, InvalidAudio, pydantic's ValidationError."""
    if request.headers["content-type"] == "application/json":  # the door says it of all but forms
        # Off the loop: parsing and decoding a large file takes a quarter of a second.
        return await asyncio.to_thread(upload_in_json, await request.body())
    form = await request.form()
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise InvalidRequest("file: an uploaded audio file is required.", param="file")
    # Arrays come under a plain or a bracketed name; an empty field is a field left out.
    fields: dict[str, Any] = {
        name.removesuffix("[]"): value for name, value in form.items() if value
    }
    if granularities := form.getlist("timestamp_granularities[]"):
        fields["timestamp_granularities"] = granularities
    return Upload(schemas.TranscriptionRequest.model_validate(fields), await file.read())
