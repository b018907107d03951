"""The OpenAI-compatible server: every route, and the engines behind them.

    POST /v1/audio/speech               text to speech
    GET  /v1/audio/speech/kept          the speech that is kept in `audio/`
    GET  /v1/audio/speech/kept/{kept_id}    … one file of it
    POST /v1/audio/transcriptions       speech to text
    POST /v1/audio/translations         speech of any language to English text
    GET  /v1/audio/voices               the voices
    POST /v1/audio/voices               a new voice, cloned from recordings
    GET  /v1/audio/voices/{voice_id}/preview    a cloned voice's clip, to listen to
    GET  /v1/audio/voices/{voice_id}    one voice, and what its clips are worth
    DELETE /v1/audio/voices/{voice_id}  a cloned voice deleted
    GET  /v1/audio/models               the speech models
    POST /v1/chat/completions           chat, whole or streamed
    POST /v1/completions                raw prompts continued, whole or streamed
    POST /v1/tokenize                   text or messages to tokens
    POST /v1/detokenize                 tokens to text
    POST /v1/embeddings                 vectors of texts, by an embedding model in models/
    GET  /v1/models                     the chat models; every model with ?type=all
    POST /v1/models/load                a model had in memory before it is asked for
    POST /v1/models/unload              a model's memory freed
    POST /v1/models/download            a model fetched from the hub, with its progress
    GET  /v1/models/offers              the models that can be fetched, and those that are here
    GET  /v1/models/downloads           the downloads
    DELETE /v1/models/downloads/{download_id}   a download stopped
    GET  /v1/models/{model_id}          one model, by any name that answers
    DELETE /v1/models/{model_id}        a model's files deleted
    GET  /speakers                      SillyTavern's XTTS provider: the voices
    GET  /speakers_list                 … their ids
    GET  /languages                     … their languages
    POST /set_tts_settings              … its settings
    POST /tts_to_audio/                 … its speech
    GET  /tts_stream/                   … its speech, streamed
    GET  /health                        how each part is
    GET  /metrics                       how much it did and how long it took, for Prometheus
    GET  /errors                        the last failures
    GET  /docs, /openapi.json           this API, to read and to try
    GET  /, /page/…                     the page

Each `/v1` route answers without the `/v1` too. Limits (all settings): uploads of 25 MB, speech of
20,000 characters, 256 waiting requests per engine. Start it with `python openai_api.py`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from engine_room import (
    commands,
    schemas,
    schemas_chat,
    schemas_completion,
    schemas_models,
    schemas_voices,
    sillytavern,
    streams,
)
from engine_room.app import bare_app
from engine_room.chat import completion
from engine_room.chat import format as chat_format
from engine_room.chat.answer import ChatAnswer
from engine_room.chat.turn import DetokenizeTurn
from engine_room.clone_store import NewVoice
from engine_room.downloads import DownloadFrames, DownloadTurn
from engine_room.embedding_format import embeddings_body, embeddings_turn
from engine_room.engines import Engines, make_engines
from engine_room.fetch_on_use import FetchOnUse
from engine_room.health import health_of
from engine_room.message_media import fill_media
from engine_room.metrics import CONTENT_TYPE
from engine_room.offered import offer_list
from engine_room.replies import transcribed, written
from engine_room.schemas_embeddings import EmbeddingList, EmbeddingsRequest
from engine_room.schemas_speech import KeptSpeechList
from engine_room.server import listen_or_exit, serve, settings_of_command_line
from engine_room.settings import Settings
from engine_room.speaking import is_sse
from engine_room.speech_format import SpeechFrames, captioned
from engine_room.speech_output import ANSWER_TYPES
from engine_room.uploads import Upload, new_voice_of, upload_of


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the engines with the server, close them with it."""
    engines: Engines = app.state.engines
    engines.open()
    yield
    await asyncio.to_thread(engines.close)


def engines_of(request: Request) -> Engines:
    """The engines of the app that got this request."""
    engines: Engines = request.app.state.engines
    return engines


Held = Annotated[Engines, Depends(engines_of)]
ChatBody = schemas_chat.ChatCompletion | schemas_chat.ChatCompletionChunk
TextBody = schemas_completion.TextCompletion
# Where the official client is asked for a stream, it says so.
STREAM_READER = "x-stainless-raw-response"
SPEECH: dict[int | str, Any] = {200: {"content": {each: {} for each in ANSWER_TYPES}}}
WAV: dict[int | str, Any] = {200: {"content": {"audio/wav": {}}}}
STREAMED: dict[int | str, Any] = {200: {"content": {"text/event-stream": {}}}}
ERRORS: dict[int | str, Any] = {key: {"model": schemas.ErrorBody} for key in ("4XX", "5XX")}
v1 = APIRouter(responses=ERRORS, route_class=FetchOnUse)
silly = APIRouter(tags=["sillytavern"], responses=ERRORS)
ours = APIRouter(tags=["server"])
# ------------------------------------------------------------------ audio


@v1.post("/audio/speech", tags=["audio"], response_class=Response, responses=SPEECH)
async def create_speech(request: Request, held: Held, body: schemas.SpeechRequest) -> Response:
    """Speak a text: a whole file, or with `stream` while it is being made."""
    # Off the loop: among ten thousand voices one is found in 50 ms.
    is_read_as_stream = request.headers.get(STREAM_READER) == "stream"
    turn = await asyncio.to_thread(held.planner.turn, body, is_read_as_stream)
    patience_s = streams.FIRST_EVENT_PATIENCE_S if is_sse(body) else None
    stream = await streams.open_stream(request, held.synthesizer, turn, patience_s)
    if is_sse(body):
        return streams.sse(stream, SpeechFrames(), held.settings.stop_timeout_s)
    headers = {"X-Cache": "MISS" if turn.kept is None else "HIT"}
    if turn.stream and not body.timestamps:
        return streams.audio(stream, turn.output.media_type, headers)
    items = await stream.collect()
    if body.timestamps:
        return JSONResponse(captioned(items, stream.result, body.response_format))
    return Response(b"".join(items), media_type=turn.output.media_type, headers=headers)


@v1.get("/audio/speech/kept", tags=["audio"])
def list_kept_speech(held: Held) -> KeptSpeechList:
    """The newest speech, as it is kept in `audio/`."""
    return KeptSpeechList(data=held.recordings.all())


@v1.get("/audio/speech/kept/{kept_id}", tags=["audio"], response_class=Response, responses=SPEECH)
def get_kept_speech(held: Held, kept_id: str) -> Response:
    """A file of kept speech."""
    file = held.recordings.read(kept_id)
    return Response(file.data, media_type=file.media_type)


Recording = Annotated[Upload, Depends(upload_of)]
TRANSCRIPTION = schemas.transcription_route()


@v1.post("/audio/transcriptions", **TRANSCRIPTION)
async def create_transcription(request: Request, held: Held, upload: Recording) -> Response:
    """Write down what is said in an audio file of any common format."""
    return await transcribed(request, held, upload, "transcribe")


@v1.post("/audio/translations", **TRANSCRIPTION)
async def create_translation(request: Request, held: Held, upload: Recording) -> Response:
    """Write down in English what is said in any language."""
    return await transcribed(request, held, upload, "translate")


@v1.get("/audio/voices/", include_in_schema=False)
@v1.get("/audio/voices", tags=["audio"], response_model=schemas.VoiceList)
def list_voices(held: Held) -> Response:
    """The voices: the clips in `voice_clones/`, and the standard ones."""
    return Response(held.voices.listed_json(), media_type="application/json")


@v1.post("/audio/voices/", include_in_schema=False)
@v1.post("/audio/voices", tags=["audio"], openapi_extra=schemas_voices.new_voice_body())
async def create_voice(
    held: Held, voice: Annotated[NewVoice, Depends(new_voice_of)]
) -> schemas_voices.VoiceDetails:
    """Clone a voice from one recording or several: checked, made ready, kept in `voice_clones/`."""
    kept = await asyncio.to_thread(held.voices.add, voice)
    details = await asyncio.to_thread(held.voices.details, kept.id, held.speech.status)
    return details.model_copy(update={"type": "audio_sample"})


@v1.get(
    "/audio/voices/{voice_id:path}/preview", tags=["audio"], response_class=Response, responses=WAV
)
def preview_voice(held: Held, voice_id: str) -> Response:
    """The beginning of a cloned voice's clips, made ready as the engine hears them."""
    return Response(held.voices.preview(voice_id), media_type="audio/wav")


@v1.get("/audio/voices/{voice_id:path}", tags=["audio"])
def get_voice(
    held: Held, voice_id: Annotated[str, Path(examples=["nova"])]
) -> schemas_voices.VoiceDetails:
    """One voice: its clips and what they are worth, and whether it can speak."""
    return held.voices.details(voice_id, held.speech.status)


@v1.delete("/audio/voices/{voice_id:path}", tags=["audio"])
def delete_voice(held: Held, voice_id: str) -> schemas_voices.VoiceDeleted:
    """Delete a cloned voice, its files too. Standard voices stay."""
    return schemas_voices.VoiceDeleted(id=held.voices.delete(voice_id))


@v1.get("/audio/models", tags=["audio"], response_model=schemas.AudioModelList)
def list_audio_models(held: Held) -> schemas.AudioModelList:
    """The speech models."""
    models = held.catalogue.speech_models()
    return schemas.AudioModelList(data=models, models=models)


# ------------------------------------------------------------------ SillyTavern's XTTS provider


@silly.get("/speakers")
def list_speakers(held: Held) -> list[dict[str, Any]]:
    """The voices, as SillyTavern's XTTS provider reads them."""
    return sillytavern.speakers(held.voices.listed())


@silly.get("/speakers_list")
def list_speaker_names(held: Held) -> list[str]:
    """The ids of the voices."""
    return [voice.id for voice in held.voices.listed()]


@silly.get("/languages")
def list_languages() -> dict[str, dict[str, str]]:
    """The languages of cloned voices."""
    return sillytavern.languages()


@silly.post("/set_tts_settings")
async def set_tts_settings(held: Held, body: sillytavern.ProviderSettings) -> dict[str, str]:
    """How the provider's other routes speak from now on."""
    return held.provider.set(body)


@silly.post("/tts_to_audio/", response_class=Response)
async def tts_to_audio(request: Request, held: Held, body: sillytavern.ProviderSpeech) -> Response:
    """Speak a text to a wav file."""
    return await create_speech(request, held, held.provider.request(body))


@silly.get("/tts_stream/", response_class=Response)
async def tts_stream(
    request: Request, held: Held, text: str, speaker_wav: str, language: str = ""
) -> Response:
    """Speak a text as a wav stream."""
    body = sillytavern.ProviderSpeech(text=text, speaker_wav=speaker_wav, language=language)
    return await create_speech(request, held, held.provider.request(body, stream=True))


# ------------------------------------------------------------------ chat, embeddings


@v1.post("/chat/completions", tags=["chat"], response_model=ChatBody, responses=STREAMED)
async def create_chat_completion(
    request: Request, held: Held, body: schemas_chat.ChatRequest
) -> Response:
    """Continue a conversation, whole or, with `stream`, as server-sent chunks."""
    file = held.catalogue.chat(body.model)
    await fill_media(request, held, body, file)
    arguments = (body, file, held.settings.chat_max_tokens)
    if chat_format.takes_long(body):  # off the loop
        turn = await asyncio.to_thread(chat_format.turn_from, *arguments)
    else:
        turn = chat_format.turn_from(*arguments)
    include_usage, calls_functions = body.stream_options.include_usage, bool(body.functions)
    answer = ChatAnswer(file.id, body.n, include_usage, calls_functions)
    return await written(request, held, turn, answer, body.stream)


@v1.post("/completions", tags=["chat"], response_model=TextBody, responses=STREAMED)
async def create_completion(
    request: Request, held: Held, body: schemas_completion.CompletionRequest
) -> Response:
    """Continue raw prompts, whole or, with `stream`, as server-sent chunks."""
    file = held.catalogue.chat(body.model)
    turn = await asyncio.to_thread(completion.completion_turn, body, file)
    num_answers = len(turn.prompts) * turn.num_answers
    answer = completion.CompletionAnswer(file.id, num_answers, body.stream_options.include_usage)
    return await written(request, held, turn, answer, body.stream)


@v1.post("/tokenize", tags=["chat"], response_model=schemas_completion.TokenList)
async def tokenize(
    request: Request, held: Held, body: schemas_completion.TokenizeRequest
) -> Response:
    """The tokens of a text, or of the prompt that messages make."""
    turn = completion.tokenize_turn(body, held.catalogue.chat(body.model))
    tokens = await streams.result_of(request, held.chat, turn)
    encoded = await asyncio.to_thread(completion.token_list, tokens)
    return Response(encoded, media_type="application/json")


@v1.post("/detokenize", tags=["chat"], response_model=schemas_completion.DetokenizedText)
async def detokenize(
    request: Request, held: Held, body: schemas_completion.DetokenizeRequest
) -> Response:
    """The text that tokens stand for, special ones by their names."""
    turn = DetokenizeTurn(file=held.catalogue.chat(body.model), tokens=body.tokens)
    text = await streams.result_of(request, held.chat, turn)
    return JSONResponse({"content": text, "prompt": text})


@v1.post("/embeddings", tags=["embeddings"], response_model=EmbeddingList)
async def create_embeddings(request: Request, held: Held, body: EmbeddingsRequest) -> Response:
    """Turn texts into vectors: near ones for texts that mean the same."""
    turn = embeddings_turn(body, held.catalogue.embedding(body.model))
    vectors = await streams.result_of(request, held.embeddings, turn)
    # Off the loop: thousands of vectors take a second.
    content = await asyncio.to_thread(embeddings_body, turn, vectors)
    return Response(content, media_type="application/json")


# ------------------------------------------------------------------ models


@v1.get("/models/", include_in_schema=False)
@v1.get("/models", tags=["models"], response_model=schemas.ModelList)
def list_models(held: Held, type: Literal["chat", "all"] = "chat") -> schemas.ModelList:
    """The models for chat; with `?type=all` those for embeddings, speech and transcription too."""
    catalogue = held.catalogue
    models = catalogue.everything() if type == "all" else catalogue.listed()
    return schemas.ModelList(data=held.with_status(models))


@v1.post("/models/load", tags=["models"], response_model=schemas.Model)
async def load_model(
    request: Request, held: Held, body: schemas_models.LoadRequest
) -> schemas.Model:
    """Have a model in memory; answered when it is there."""
    engine, turn = held.loading(body.model, body.keep_alive)
    await streams.result_of(request, engine, turn)
    return held.in_memory(body.model)


@v1.post("/models/unload", tags=["models"])
def unload_model(held: Held, body: schemas_models.UnloadRequest) -> schemas.Model:
    """Free a model's memory; 409 while it answers. It is loaded again when it is asked for."""
    held.unload(body.model)
    return held.in_memory(body.model)


@v1.post(
    "/models/download", tags=["models"], response_model=schemas_models.Download, responses=STREAMED
)
async def download_model(
    request: Request, held: Held, body: schemas_models.DownloadRequest
) -> Response:
    """Fetch a model: answered when it begins, or with `stream` until it is there. It goes on by itself."""
    stream = await streams.open_stream(
        request, held.downloads, DownloadTurn(body.model, body.accept_license)
    )
    if body.stream:
        return streams.sse(stream, DownloadFrames(), held.settings.stop_timeout_s)
    begun = await anext(stream)
    stream.close()
    return JSONResponse(begun.model_dump())


@v1.get("/models/offers", tags=["models"])
def list_offers(held: Held) -> schemas_models.OfferList:
    """The models that can be fetched and whether they fit this machine, and those that are here."""
    return offer_list(held.catalogue, held.settings)


@v1.get("/models/downloads", tags=["models"])
def list_downloads(held: Held) -> schemas_models.DownloadList:
    """The downloads that run, and those that ended since the server's start."""
    return schemas_models.DownloadList(data=held.downloads.all())


@v1.delete("/models/downloads/{download_id}", tags=["models"])
def stop_download(held: Held, download_id: str) -> schemas_models.Download:
    """Stop a download. What was fetched is kept for the next time."""
    return held.downloads.stop(download_id)


@v1.delete("/models/{model_id:path}", tags=["models"])
def delete_model(held: Held, model_id: str) -> schemas_models.ModelDeleted:
    """Delete a model's files, by its own id. Those that came with the install stay."""
    return schemas_models.ModelDeleted(id=held.delete_model(model_id))


@v1.get("/models/{model_id:path}", tags=["models"], response_model=schemas.Model)
def get_model(held: Held, model_id: Annotated[str, Path(examples=["gpt-4"])]) -> schemas.Model:
    """One model, by any name that would answer."""
    return held.with_status([held.catalogue.find(model_id)])[0]


# ------------------------------------------------------------------ our own


@ours.get("/health", response_model=schemas.Health)
async def health(held: Held, response: Response) -> schemas.Health:
    """How the server and each part of it is; 503 only when nothing can answer."""
    status = health_of(held.status())
    response.status_code = 503 if status.status == "unavailable" else 200
    return status


@ours.get("/metrics", response_class=PlainTextResponse, responses=ERRORS)
def read_metrics(held: Held) -> Response:
    """What the server did, how long it took and who waits, as Prometheus reads it."""
    return Response(held.metrics.text(), media_type=CONTENT_TYPE)


@ours.get("/errors", responses=ERRORS)
def list_failures(held: Held) -> schemas.FailureList:
    """The last failures that clients were told of, the newest first."""
    return schemas.FailureList(data=held.failures.latest())


def create_app(settings: Settings) -> FastAPI:
    """The app; its engines open and close with it."""
    engines = make_engines(settings)
    app = bare_app(settings, engines.metrics, engines.failures, lifespan)
    app.state.engines = engines
    app.include_router(v1, prefix="/v1")
    app.include_router(v1, include_in_schema=False)
    app.include_router(silly)
    app.include_router(ours)
    app.get("/v1/health", include_in_schema=False)(health)
    return app


def main() -> None:
    """Run a command, or read the settings, take the port, and serve until told to stop."""
    commands.run(sys.argv[1:])
    settings = settings_of_command_line()
    listening = listen_or_exit(settings)
    app = create_app(settings)
    serve(app, app.state.engines.close, listening, settings)


if __name__ == "__main__":
    main()
