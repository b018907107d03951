"""What engines say, whole or streamed, as several routes answer it."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from engine_room import streams
from engine_room.chat.answer import ChatAnswer
from engine_room.chat.completion import CompletionAnswer
from engine_room.chat.turn import GenerationTurn
from engine_room.engines import Engines
from engine_room.errors import FileTooLarge
from engine_room.transcribing import is_streamed, transcription_answer, transcription_turn
from engine_room.transcription_format import TranscriptionFrames
from engine_room.transcription_turn import Task
from engine_room.uploads import Upload

AnyAnswer = ChatAnswer | CompletionAnswer


async def written(
    request: Request, held: Engines, turn: GenerationTurn, answer: AnyAnswer, as_stream: bool
) -> Response:
    """What the chat engine writes for a turn, whole or streamed."""
    if as_stream:
        patience_s = streams.FIRST_EVENT_PATIENCE_S
        stream = await streams.open_stream(request, held.chat, turn, patience_s)
        return streams.sse(stream, answer, held.settings.stop_timeout_s)
    stream = await streams.open_stream(request, held.chat, turn)
    items = await stream.collect()
    return JSONResponse(answer.whole(items, stream.result))


async def transcribed(request: Request, held: Engines, upload: Upload, task: Task) -> Response:
    """What is said in an upload, whole or streamed. Raises FileTooLarge, and what the engine raises before
    its first word."""
    if len(upload.data) > held.settings.max_upload_bytes:
        raise FileTooLarge(held.settings.max_upload_bytes)
    turn = transcription_turn(upload.data, upload.fields, held.catalogue.whisper, task)
    answer = transcription_answer(upload.fields, task)
    if is_streamed(upload.fields):
        patience_s = streams.FIRST_EVENT_PATIENCE_S
        stream = await streams.open_stream(request, held.transcription, turn, patience_s)
        return streams.sse(stream, TranscriptionFrames(answer), held.settings.stop_timeout_s)
    stream = await streams.open_stream(request, held.transcription, turn)
    body = answer.whole(await stream.collect(), stream.result)
    return PlainTextResponse(body) if isinstance(body, str) else JSONResponse(body)
