"""The bodies of OpenAI's API as Pydantic models, in the order of its reference; chat's have a module.

Requests take unknown fields (and ignore them), and a null means the field's default. Answers state
what we send; both are what `/docs` shows.
"""

import math
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from engine_room.errors import InvalidRequest, quoted


def _encodable(text: str) -> str:
    """JSON can carry half a surrogate pair (a client cut an emoji in two); no encoding can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is half of a surrogate pair") from error
    return text


Text = Annotated[str, AfterValidator(_encodable)]
Item = TypeVar("Item")
# Read up to the first item that is wrong: to collect what is wrong with a million takes ten seconds.
List = Annotated[list[Item], Field(fail_fast=True)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]


class Body(BaseModel):
    """A request body: unknown fields are ignored, nulls mean "default"."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _nulls_mean_default(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if value is not None}
        return data


class Example(BaseModel):
    """An answer body."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


def first_complaint(error: Any) -> InvalidRequest:
    """What Pydantic (or FastAPI, in the same shape) has against a body, as one sentence that names the
    first wrong field and its value."""
    first, *others = error.errors()
    is_text = first["type"] in ("string_type", "literal_error")
    if is_text and isinstance(first["input"], list | dict) and others:
        first = others[0]  # it may be a text or a list: what is wrong with the list
    place = [part for part in first["loc"] if part != "body" and _is_place(part)]
    if first["type"] == "json_invalid":
        return InvalidRequest(f"The body is not valid JSON: {first['ctx']['error']}.")
    param = ".".join(str(part) for part in place) or None
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "missing" else f" (got {quoted(first['input'])})"
    return InvalidRequest(f"{param or 'The body'}: {message}{given}.", param=param)


def _is_place(part: int | str) -> bool:
    """False for what Pydantic calls the types that a value may have, as `str` or `list[Part]`."""
    return isinstance(part, int) or (part != "str" and bool(re.fullmatch("[a-z0-9_]+", part)))


# ---------------------------------------------------------------- errors


class ErrorDetail(Example):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Example):
    """Every failure has this body."""

    error: ErrorDetail


# ---------------------------------------------------------------- audio: speech


class VoiceReference(Body):
    """A voice named by an object, as OpenAI's custom voices are."""

    id: str


class SpeechSampling(Body):
    """How a cloned voice or a studio speaker draws what it says; null: as its model has it."""

    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="Liveliness of a cloned voice."
    )
    top_k: int | None = Field(
        None, ge=0, le=10_000, description="Likeliest tokens of a cloned voice; 0: all."
    )
    top_p: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Likeliest share of a cloned voice."
    )
    repetition_penalty: float | None = Field(
        None, ge=0.1, le=100, allow_inf_nan=False, description="Keeps a cloned voice from droning."
    )


class SpeechRequest(SpeechSampling):
    """Text to be spoken."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "tts-1",
                    "voice": "alloy",
                    "input": "Hello, this is a test message.",
                    "speed": 1.0,
                    "response_format": "mp3",
                    "stream": False,
                }
            ]
        }
    )

    input: Text = Field(description="Text to convert to speech.")
    model: str = Field("tts-1", description="Speech model; see `/v1/audio/models`.")
    voice: str | VoiceReference = Field("alloy", description="Voice id; see `/v1/audio/voices`.")
    response_format: str = Field("mp3", description="mp3, wav, flac, opus, aac or pcm.")
    speed: float = Field(
        1.0, ge=0.25, le=4, allow_inf_nan=False, description="Pace; the pitch stays."
    )
    stream: bool = Field(False, description="Send the sound while it is being made.")
    stream_format: str = Field("audio", description="audio, or sse: server-sent events.")
    instructions: Text = Field("", description="How to speak: slowly, with a deep voice, …")
    language: str = Field("", description="Language of the text; empty: found out from it.")
    sample_rate: int | None = Field(None, description="Samples per second; null: 24000.")
    bitrate: int | None = Field(None, description="Bits per second of mp3, opus and aac.")
    timestamps: bool = Field(False, description="Answer as JSON (sse: with events) with captions.")
    cache: bool = Field(True, description="Take the file of an earlier request like this one.")
    seed: int = Field(-1, description="Makes a cloned voice say it the same way again; -1: drawn.")


# ---------------------------------------------------------------- audio: transcription


class ServerVad(Body):
    """What counts as speech, in OpenAI's words."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(0.5, gt=0, lt=1, description="Least probability of speech.")
    prefix_padding_ms: int = Field(400, ge=0, le=10_000, description="Kept around speech.")
    silence_duration_ms: int = Field(2000, ge=0, le=60_000, description="Pause that ends it.")


# In one piece, for the forms that it stands in are put together by hand.
VAD_SCHEMA = {"anyOf": [{"type": "string", "const": "auto"}, ServerVad.model_json_schema()]}


class TranscriptionRequest(Body):
    """Speech to be written down: the fields beside the file."""

    model: str = Field("whisper-1", description="Transcription model; see `/v1/models?type=all`.")
    prompt: Text = Field("", description="Text that sets the style and the spelling of names.")
    response_format: str = Field("json", description="json, text, srt, vtt or verbose_json.")
    temperature: Ratio = Field(0, description="Randomness; 0 is best for most speech.")
    language: str = Field("", description="Language spoken, as `en` or `en-US`; empty: detected.")
    languages: List[str] = Field(default_factory=list, description="Those that it may be.")
    hotwords: Text = Field("", description="Words that are likely to be said.")
    keywords: List[Text] = Field(default_factory=list, description="The same, one by one.")
    timestamp_granularities: List[Literal["word", "segment"]] = Field(default_factory=list)
    include: List[str] = Field(default_factory=list, description="`logprobs`: of each word.")
    chunking_strategy: Annotated[Literal["auto"] | ServerVad, WithJsonSchema(VAD_SCHEMA)] = "auto"
    stream: bool = Field(False, description="Send text as it is heard, with json and text.")

    @field_validator("chunking_strategy", mode="before")
    @classmethod
    def _object_in_a_form(cls, value: Any) -> Any:
        is_object = isinstance(value, str) and value.lstrip().startswith("{")
        return from_json(value) if is_object else value


class InputAudio(Body):
    """An upload inside JSON, as Open WebUI can send it."""

    data: str = Field(description="The file, base64.")
    format: str = Field("", description="Its format; the content decides.")


class JsonTranscriptionRequest(TranscriptionRequest):
    """The JSON form of a transcription request."""

    input_audio: InputAudio


def transcription_route() -> dict[str, Any]:
    """What the transcription routes take and give, for `/openapi.json`."""
    content: dict[str, Any] = {"text/plain": {}, "text/event-stream": {}}
    return {
        "tags": ["audio"],
        "openapi_extra": _transcription_body(),
        "responses": {200: {"model": Transcription, "content": content}},
    }


def _transcription_body() -> dict[str, Any]:
    """The request body: multipart, or JSON."""
    fields = TranscriptionRequest.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary", "description": "The audio file."}
    forms = {
        "multipart/form-data": {"file": file},
        "application/json": {"input_audio": InputAudio.model_json_schema()},
    }
    content = {
        media_type: {
            "schema": {"type": "object", "required": list(own), "properties": own | fields}
        }
        for media_type, own in forms.items()
    }
    return {"requestBody": {"required": True, "content": content}}


class Transcription(Example):
    """What was said."""

    text: str


# ---------------------------------------------------------------- models


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def _duration_s(value: Any) -> Any:
    """Seconds, of a number or of a text such as `5m` or `1h30m`; below 0: for ever."""
    if isinstance(value, str):
        text = value.strip()
        parts = _DURATION.findall(text)
        if parts and "".join(map("".join, parts)) == text:
            return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
        try:
            value = float(text.removesuffix("s"))
        except ValueError:
            raise ValueError("seconds, or a time such as 5m or 1h30m, is wanted") from None
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return math.inf
    return value


# How long a model stays in memory after a request, in seconds; None: as the server's settings say.
KeepAlive = Annotated[
    float | None,
    BeforeValidator(_duration_s),
    Field(
        ge=0,
        description="How long the model stays in memory afterwards: seconds, or `5m`, `1h30m`; 0: not at "
        "all; below 0: for ever; null: as the server is set.",
    ),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}),
]
ModelStatus = Literal["loaded", "loading", "available"]


class Model(Example):
    """One model. `root` is what really answers for this name; `status` is whether that is in memory."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    root: str
    type: Literal["chat", "embedding", "speech", "transcription"]
    status: ModelStatus = "available"
    input_modalities: list[Literal["text", "image", "audio"]] = ["text"]


class ModelList(Example):
    """The models."""

    object: Literal["list"] = "list"
    data: list[Model]


class AudioModel(Example):
    """One speech model."""

    id: str
    name: str
    root: str


class AudioModelList(Example):
    """The speech models."""

    object: Literal["list"] = "list"
    data: list[AudioModel]
    models: list[AudioModel]


# ---------------------------------------------------------------- voices


class Voice(Example):
    """One voice. `value` and `label` say id and name again, for clients that read those."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    name: str
    created_at: int
    type: Literal["standard", "cloned", "studio"]
    description: str
    value: str
    label: str


class VoiceList(Example):
    """The voices, under both names that clients look for."""

    object: Literal["list"] = "list"
    data: list[Voice]
    voices: list[Voice]


# ---------------------------------------------------------------- health


class PartStatus(Example):
    """One part of the server."""

    status: Literal["ready", "loading", "unavailable"]
    reason: str | None
    mend: str | None


class Parts(Example):
    """All of them."""

    chat: PartStatus
    embeddings: PartStatus
    speech: PartStatus
    voice_cloning: PartStatus
    transcription: PartStatus


class Health(Example):
    """`ok`: chat, speech and transcription answer; `loading`: they will; `degraded`: some do;
    `unavailable` (status 503): none does."""

    status: Literal["ok", "loading", "degraded", "unavailable"]
    parts: Parts


class Failure(Example):
    """What a client was told when a request failed; a stream that failed on its way has status 200."""

    created: int
    method: str
    path: str
    status: int
    message: str
    request_id: str


class FailureList(Example):
    """The last failures, the newest first."""

    object: Literal["list"] = "list"
    data: list[Failure]
