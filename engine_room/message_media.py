"""What the messages of a chat carry beside text, made ready before the chat's engine has its turn: speech
written down, images of the web fetched."""

import asyncio
import base64
import hashlib

from starlette.requests import Request

from engine_room import streams
from engine_room.catalogue import ChatFile
from engine_room.chat.format import parts_of
from engine_room.engines import Engines
from engine_room.errors import FileTooLarge, InvalidAudio, InvalidRequest
from engine_room.schemas import TranscriptionRequest
from engine_room.schemas_chat import ChatRequest, ImageUrl, Part
from engine_room.transcribing import transcription_answer, transcription_turn
from engine_room.uploads import audio_in
from engine_room.web_images import fetched


async def fill_media(request: Request, held: Engines, body: ChatRequest, file: ChatFile) -> None:
    """Put text in place of speech in the request, and data URLs in place of others. Raises what the
    transcription of an upload raises, InvalidRequest, InvalidImage."""
    room = held.settings.max_upload_bytes
    for place, part in parts_of(body):
        if part.type == "input_audio":
            part.text = await _transcript(request, held, part, place)
            part.type = "text"
        elif part.type == "image_url" and file.mmproj and _is_of_the_web(part):
            data = await _image(held, _url(part), place, room)
            room -= len(data)
            part.image_url = ImageUrl(url=f"data:;base64,{base64.b64encode(data).decode()}")


async def _transcript(request: Request, held: Engines, part: Part, place: str) -> str:
    """What is said; what was asked before is remembered, for clients send a conversation whole each time."""
    if part.input_audio is None:
        raise InvalidRequest(f"{place}: input_audio is missing.", param=place)
    try:
        data = await asyncio.to_thread(audio_in, part.input_audio)
        return await _written_down(request, held, data, place)
    except InvalidAudio as error:
        raise InvalidAudio(f"{place}: {error.message}", place) from error


async def _written_down(request: Request, held: Engines, data: bytes, place: str) -> str:
    if len(data) > held.settings.max_upload_bytes:
        raise FileTooLarge(held.settings.max_upload_bytes, place)
    digest = hashlib.sha256(data).digest()
    if (known := held.transcripts.get(digest)) is not None:
        return known
    fields = TranscriptionRequest.model_validate({"response_format": "text"})
    turn = transcription_turn(data, fields, held.catalogue.whisper, "transcribe")
    stream = await streams.open_stream(request, held.transcription, turn)
    items = await stream.collect()
    text = str(transcription_answer(fields, "transcribe").whole(items, stream.result)).strip()
    held.transcripts.keep(digest, text)
    return text


def _url(part: Part) -> str:
    return part.image_url if isinstance(part.image_url, str) else part.image_url.url


def _is_of_the_web(part: Part) -> bool:
    return _url(part).lower().startswith(("http://", "https://"))


async def _image(held: Engines, url: str, place: str, max_bytes: int) -> bytes:
    if not held.settings.image_urls:
        raise InvalidRequest(
            f"{place}: this server fetches no images from the web (setting IMAGE_URLS); send the image "
            "itself as data:image/png;base64,…",
            param=place,
            code="unsupported_value",
        )
    return await asyncio.to_thread(fetched, url, place, max_bytes)
