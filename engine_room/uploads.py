"""Uploaded sound, read from whichever form it came in: multipart, or base64 in JSON; and new voices."""

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from engine_room import schemas
from engine_room.clips import MAX_CLIPS
from engine_room.clone_store import Clip, NewVoice
from engine_room.errors import CannotStore, FileTooLarge, InvalidAudio, InvalidRequest
from engine_room.schemas_voices import NewVoiceRequest
from engine_room.settings import Settings
from engine_room.xtts.languages import language_code

# OpenAI's name for the clips of a new voice, and those that people and other servers use.
CLIP_FIELDS = ("audio_sample", "audio_sample[]", "file", "file[]", "files", "files[]")
# Fields of a transcription request that are arrays, however they come.
LISTS = [
    name
    for name, field in schemas.TranscriptionRequest.model_fields.items()
    if field.default_factory is list
]


@dataclass(frozen=True, slots=True)
class Upload:
    """A transcription request, read from whichever form it came in."""

    fields: schemas.TranscriptionRequest
    data: bytes


def upload_in_json(body: bytes) -> Upload:
    """An upload as base64, bare or as a data URL. Raises InvalidAudio, pydantic's ValidationError."""
    request = schemas.JsonTranscriptionRequest.model_validate_json(body)
    return Upload(request, audio_in(request.input_audio))


def audio_in(audio: schemas.InputAudio) -> bytes:
    """The file in base64, bare or as a data URL. Raises InvalidAudio."""
    encoded = "".join(audio.data.rpartition(",")[2].split())
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:  # binascii's, or of what is no ASCII
        raise InvalidAudio(f"input_audio.data is not base64: {error}.") from error


async def upload_of(request: Request) -> Upload:
    """Read multipart or JSON. Raises InvalidRequest, InvalidAudio, pydantic's ValidationError."""
    if request.headers["content-type"] == "application/json":  # the door says it of all but forms
        # Off the loop: parsing and decoding a large file takes a quarter of a second.
        return await asyncio.to_thread(upload_in_json, await request.body())
    form = await request.form()
    file = form.get("file")
    if not isinstance(file, UploadFile):
        hint = "" if file is None else ": it came as text; give its part of the form a filename"
        raise InvalidRequest(f"file: an uploaded audio file is required{hint}.", param="file")
    fields = fields_in(form.multi_items())
    data = await file.read()
    await file.seek(0)  # who fetches a model first is read a second time
    return Upload(schemas.TranscriptionRequest.model_validate(fields), data)


def fields_in(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a form as JSON would have them: arrays come under a plain or a bracketed name, objects as
    `chunking_strategy[type]`; an empty field is a field left out."""
    fields: dict[str, Any] = {}
    for name, value in items:
        plain, bracket, inner = name.partition("[")
        if not value or isinstance(value, UploadFile):
            continue
        if inner.rstrip("]"):
            objects = fields.get(plain)
            fields[plain] = {
                **(objects if isinstance(objects, dict) else {}),
                inner.rstrip("]"): value,
            }
        elif bracket or plain in LISTS:
            # Whatever came before under this name stays, and is the request model's to refuse.
            known = fields.get(plain, [])
            fields[plain] = [*(known if isinstance(known, list) else [known]), value]
        else:
            fields[plain] = value
    return fields


async def new_voice_of(request: Request) -> NewVoice:
    """Read the form that makes a voice. Raises InvalidRequest, FileTooLarge, CannotStore, pydantic's
    ValidationError."""
    settings: Settings = request.app.state.engines.settings
    if not request.headers.get("content-type", "").startswith("multipart/"):
        raise InvalidRequest(
            "A voice is made of recordings: send a form (multipart/form-data) with the fields name and "
            "audio_sample, a file.",
            param="audio_sample",
        )
    try:
        form = await request.form()
    except OSError as error:  # large files are read by way of the folder for temporary files
        raise CannotStore(f"The upload could not be taken in: {error.strerror}.") from error
    files = [file for name in CLIP_FIELDS for file in form.getlist(name)]
    uploads = [file for file in files if isinstance(file, UploadFile)]
    if not uploads:
        raise InvalidRequest(
            "audio_sample: an uploaded recording is required.", param="audio_sample"
        )
    if len(uploads) > MAX_CLIPS:
        raise InvalidRequest(
            f"audio_sample: {len(uploads)} recordings were sent; at most {MAX_CLIPS} make a voice.",
            param="audio_sample",
        )
    fields = {name: value for name, value in form.items() if isinstance(value, str) and value}
    asked = NewVoiceRequest.model_validate({"name": "", **fields})
    language_code(asked.language)  # raises for one that it could not speak
    clips: list[Clip] = []
    for upload in uploads:
        if (upload.size or 0) > settings.max_upload_bytes:
            raise FileTooLarge(settings.max_upload_bytes, "audio_sample")
        clips.append(Clip(_file_name(upload), await upload.read()))
    return NewVoice(asked.name, tuple(clips), asked.language, asked.description, asked.consent)


def _file_name(upload: UploadFile) -> str:
    """The name a file had on the client, without the folders some send."""
    name = (upload.filename or "").replace("\\", "/").rpartition("/")[2]
    return name.encode("utf-8", "replace").decode()[:100] or "audio_sample"
