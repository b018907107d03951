"""Requests forgive what clients send; answers are what OpenAI's own description says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from engine_room import schemas, schemas_chat
from engine_room.catalogue import Catalogue, EmbeddingFile
from engine_room.chat.answer import ChatAnswer
from engine_room.chat.completion import CompletionAnswer
from engine_room.chat.turn import ChatResult, Finish, Text
from engine_room.embedding_format import embeddings_body
from engine_room.embedding_turn import EmbeddingResult, EmbeddingTurn
from engine_room.errors import InvalidRequest
from engine_room.model_tables import SamplingDefaults
from engine_room.schemas import SpeechRequest, TranscriptionRequest
from engine_room.schemas_chat import ChatRequest
from engine_room.schemas_completion import CompletionRequest, DetokenizeRequest, TokenizeRequest
from engine_room.schemas_embeddings import EmbeddingsRequest
from engine_room.schemas_models import DownloadRequest, LoadRequest, UnloadRequest
from engine_room.schemas_voices import NewVoiceRequest
from engine_room.settings import Settings
from engine_room.sillytavern import ProviderSettings, ProviderSpeech
from engine_room.transcription_format import Heard, Segment, TranscriptionAnswer, Word
from engine_room.voices import ClonedVoice, shown

DESCRIPTION = Path(__file__).resolve().parents[2] / "shared" / "openai-openapi.yaml"
REQUESTS: list[tuple[type[schemas.Body], dict[str, Any]]] = [
    (schemas.SpeechSampling, {}),
    (SpeechRequest, {"input": "Hi"}),
    (TranscriptionRequest, {}),
    (schemas.JsonTranscriptionRequest, {"input_audio": {"data": "AAAA"}}),
    (schemas_chat.SamplingFields, {}),
    (ChatRequest, {"messages": [{"role": "user", "content": "Hi"}]}),
    (schemas_chat.SamplingFields, {}),
    (EmbeddingsRequest, {"input": "Hi"}),
    (schemas_chat.Message, {"role": "user"}),
    (schemas_chat.ImageUrl, {"url": "data:image/png;base64,AAAA"}),
    (schemas_chat.Part, {}),
    (schemas_chat.StreamOptions, {}),
    (CompletionRequest, {"prompt": "Hi"}),
    (TokenizeRequest, {"content": "Hi"}),
    (DetokenizeRequest, {"tokens": [1]}),
    (schemas.VoiceReference, {"id": "alloy"}),
    (schemas.InputAudio, {"data": "AAAA"}),
    (schemas.ServerVad, {}),
    (NewVoiceRequest, {"name": "bob"}),
    (DownloadRequest, {"model": "qwen3-8b"}),
    (LoadRequest, {}),
    (UnloadRequest, {}),
    (ProviderSettings, {}),
    (ProviderSpeech, {"text": "Hi", "speaker_wav": "nova"}),
]
each_request = pytest.mark.parametrize(("kind", "least"), REQUESTS)


@each_request
def test_a_null_in_every_optional_field_means_its_default(
    kind: type[schemas.Body], least: dict[str, Any]
) -> None:
    nulls = dict.fromkeys(kind.model_fields)
    assert kind.model_validate(nulls | least) == kind.model_validate(least)


@each_request
def test_unknown_fields_are_ignored(kind: type[schemas.Body], least: dict[str, Any]) -> None:
    odd = {"user": "x", "store": True, "metadata": {"a": [1]}, "modalities": ["text"], "x-y": None}
    assert kind.model_validate(least | odd) == kind.model_validate(least)


def test_every_kind_of_request_is_in_this_table() -> None:
    def below(kind: type[schemas.Body]) -> set[type[schemas.Body]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    # SamplingDefaults are a part of a file.
    assert below(schemas.Body) - {schemas.Body, SamplingDefaults} == {kind for kind, _ in REQUESTS}


def test_the_least_speech_request_is_mp3_in_alloys_voice() -> None:
    body = SpeechRequest.model_validate({"input": "Hi", "voice": None})
    assert (body.model, body.voice, body.response_format, body.speed, body.stream) == (
        "tts-1",
        "alloy",
        "mp3",
        1.0,
        False,
    )


def test_a_voice_is_a_name_or_an_object_with_an_id() -> None:
    body = SpeechRequest.model_validate({"input": "Hi", "voice": {"id": "echo", "x": None}})
    assert body.voice == schemas.VoiceReference(id="echo")


@pytest.mark.parametrize("speed", [0.25, 1, 4, "1.5"])
def test_a_speed_within_its_range_is_accepted(speed: Any) -> None:
    assert SpeechRequest.model_validate({"input": "Hi", "speed": speed}).speed == float(speed)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (SpeechRequest, "speed", 0.24),
        (DownloadRequest, "model", ""),
        (DownloadRequest, "model", "x" * 2001),
        (DownloadRequest, "model", "\ud83d"),
        (SpeechRequest, "speed", 4.01),
        (SpeechRequest, "speed", float("nan")),
        (SpeechRequest, "speed", float("inf")),
        (SpeechRequest, "temperature", 2.1),
        (SpeechRequest, "top_k", -1),
        (SpeechRequest, "top_p", 1.1),
        (SpeechRequest, "repetition_penalty", 0),
        (SpeechRequest, "input", 5),
        (SpeechRequest, "input", "half \ud83d"),
        (SpeechRequest, "voice", ["alloy"]),
        (ChatRequest, "messages", []),
        (ChatRequest, "messages", "Hi"),
        (ChatRequest, "messages", [{"role": "wizard", "content": "Hi"}]),
        (ChatRequest, "messages", [{"content": "Hi"}]),
        (ChatRequest, "messages", [{"role": "user", "content": 5}]),
        (ChatRequest, "messages", [{"role": "user", "content": "half \ud83d"}]),
        (ChatRequest, "messages", [{"role": "user", "content": [{"text": "\udc00"}]}]),
        (ChatRequest, "temperature", -0.1),
        (ChatRequest, "temperature", float("nan")),
        (ChatRequest, "top_p", 1.1),
        (ChatRequest, "top_k", 2**31),
        (ChatRequest, "top_k", -2),
        (ChatRequest, "min_p", -0.1),
        (ChatRequest, "repeat_penalty", 0),
        (ChatRequest, "repetition_penalty", 1e-40),
        (ChatRequest, "repeat_last_n", -2),
        (ChatRequest, "repeat_last_n", 2**31),
        (ChatRequest, "typical_p", 1.1),
        (ChatRequest, "typical_p", -0.1),
        (ChatRequest, "top_n_sigma", -2),
        (ChatRequest, "dry_multiplier", -1),
        (ChatRequest, "dry_multiplier", 1e30),
        (ChatRequest, "dry_base", 0.9),
        (ChatRequest, "dry_base", 1e30),
        (ChatRequest, "dry_allowed_length", -1),
        (ChatRequest, "dry_allowed_length", 2**31),
        (ChatRequest, "dry_penalty_last_n", -2),
        (ChatRequest, "dry_penalty_last_n", 2**31),
        (ChatRequest, "dry_sequence_breakers", "\n"),
        (ChatRequest, "dry_sequence_breakers", [""]),
        (ChatRequest, "dry_sequence_breakers", ["a\0b"]),
        (ChatRequest, "dry_sequence_breakers", ["x" * 41]),
        (ChatRequest, "dry_sequence_breakers", ["x"] * 33),
        (ChatRequest, "xtc_probability", 1.1),
        (ChatRequest, "xtc_threshold", -0.1),
        (ChatRequest, "mirostat", -1),
        (ChatRequest, "mirostat", 3),
        (ChatRequest, "mirostat", 1.5),
        (ChatRequest, "mirostat_tau", -1),
        (ChatRequest, "mirostat_tau", 1e30),
        (ChatRequest, "mirostat_eta", -1),
        (ChatRequest, "mirostat_eta", 11),
        (ChatRequest, "logit_bias", "many"),
        (ChatRequest, "logit_bias", {"-1": 1}),
        (ChatRequest, "logit_bias", {"1.5": 1}),
        (ChatRequest, "logit_bias", {"1": 101}),
        (ChatRequest, "logit_bias", {"1": "much"}),
        (ChatRequest, "logit_bias", {"1": float("nan")}),
        (ChatRequest, "logit_bias", {str(2**31): 1}),
        (ChatRequest, "logit_bias", [[1, False]]),
        (ChatRequest, "logit_bias", [[1]]),
        (ChatRequest, "logit_bias", {str(token): 1 for token in range(1025)}),
        (ChatRequest, "top_logprobs", 21),
        (ChatRequest, "top_logprobs", -1),
        (ChatRequest, "presence_penalty", 2.1),
        (ChatRequest, "frequency_penalty", float("-inf")),
        (ChatRequest, "max_tokens", 0),
        (ChatRequest, "max_tokens", "many"),
        (ChatRequest, "n", 0),
        (ChatRequest, "n", 17),
        (ChatRequest, "stop", 5),
        (ChatRequest, "stream", "perhaps"),
        (CompletionRequest, "prompt", []),
        (CompletionRequest, "prompt", 5),
        (CompletionRequest, "prompt", [5.5]),
        (CompletionRequest, "prompt", [True]),
        (CompletionRequest, "prompt", ["Hi", 5]),
        (CompletionRequest, "prompt", [[]]),
        (CompletionRequest, "prompt", [[1], ["Hi"]]),
        (CompletionRequest, "prompt", "half \ud83d"),
        (CompletionRequest, "prompt", ["Hi", "half \ud83d"]),
        (CompletionRequest, "suffix", "half \ud83d"),
        (CompletionRequest, "max_tokens", -1),
        (CompletionRequest, "n", 129),
        (CompletionRequest, "logprobs", 6),
        (CompletionRequest, "temperature", -1),
        (TokenizeRequest, "content", "half \ud83d"),
        (DetokenizeRequest, "tokens", "1"),
        (DetokenizeRequest, "tokens", [1.5]),
        (DetokenizeRequest, "tokens", [1] * 2_000_001),
        (TranscriptionRequest, "temperature", 1.1),
        (TranscriptionRequest, "timestamp_granularities", ["page"]),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_field(
    kind: type[schemas.Body], field: str, value: Any
) -> None:
    least: dict[type[schemas.Body], dict[str, Any]] = dict(REQUESTS)
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(least[kind] | {field: value})
    assert caught.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize(
    ("fields", "param", "word"),
    [
        ({"messages": [1] * 1_000_000}, "messages.0", "dictionary"),
        ({"messages": [{"role": "user", "content": [1] * 1_000_000}]}, "messages.0.content.0", "1"),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "messages.0.content", "surrogate"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "string"),
        ({"messages": [{"role": "user"}] * 20_001}, "messages", "at most 20000"),
        ({"tools": [1] * 1_000_000}, "tools.0", "dictionary"),
        ({"tools": [{}] * 1025}, "tools", "at most 1024"),
        ({"stop": [1] * 1_000_000}, "stop.0", "string"),
        ({"stop": ["a"] * 1025}, "stop", "at most 1024"),
        ({"dry_sequence_breakers": [1] * 1_000_000}, "dry_sequence_breakers.0", "string"),
        ({"tool_choice": 5}, "tool_choice", "string"),
    ],
)
def test_the_first_thing_wrong_is_named_by_its_place_however_much_is_wrong(
    fields: dict[str, Any], param: str, word: str
) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate({"messages": messages} | fields)
    assert caught.value.error_count() <= 2
    error = schemas.first_complaint(caught.value)
    assert error.param == param
    assert word in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    "field",
    [name for name, f in schemas_chat.SamplingFields.model_fields.items() if f.annotation is float],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "warm", [1]])
def test_what_is_no_number_is_refused_by_its_field(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        schemas_chat.SamplingFields.model_validate({field: value})
    assert caught.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize("seed", [-1, 0, 2**31, 2**64])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "seed": seed}
    assert ChatRequest.model_validate(body).seed == seed


def test_the_examples_of_the_documentation_are_valid() -> None:
    for kind in (
        SpeechRequest,
        ChatRequest,
        CompletionRequest,
        TokenizeRequest,
        DetokenizeRequest,
        EmbeddingsRequest,
    ):
        extra = kind.model_config["json_schema_extra"]
        assert isinstance(extra, dict)
        examples = extra["examples"]
        assert isinstance(examples, list)
        for example in examples:
            kind.model_validate(example)


def test_a_transcription_request_is_documented_as_a_form_and_as_json() -> None:
    content = schemas.transcription_route()["openapi_extra"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["required"] == ["file"]
    assert content["application/json"]["schema"]["required"] == ["input_audio"]
    for form in content.values():
        assert {"model", "language", "response_format"} < form["schema"]["properties"].keys()


# ---------------------------------------------------------------- OpenAI's own description

ITEMS: list[Text | Finish] = [Text(0, "Hi"), Finish(0, "stop")]
RESULT = ChatResult(7, 2)
SEGMENTS = [
    Segment(0, 0, 0.0, 1.5, " Hi.", [1], 0.0, -0.2, 1.1, 0.1, [Word(" Hi.", 0.0, 1.5, 0.9)]),
]


def streamed() -> list[Any]:
    answer = ChatAnswer("some-model", include_usage=True)
    middle = (frame for item in ITEMS for frame in answer.item(item))
    return [*answer.opening(), *middle, *answer.closing(RESULT)]


def completed() -> list[Any]:
    """The chunks of a streamed completion. The description forbids the null that OpenAI itself sends as
    finish_reason until the answer ends, so it is given one here."""
    answer = CompletionAnswer("some-model", include_usage=True)
    chunks: list[Any] = [*(frame for item in ITEMS for frame in answer.item(item))]
    chunks += answer.closing(RESULT)
    assert chunks[0]["choices"][0].pop("finish_reason") is None
    chunks[0]["choices"][0]["finish_reason"] = "stop"
    return chunks


def models() -> Any:
    catalogue = Catalogue(Settings(_env_file=None, models_dir=Path("none")))
    return schemas.ModelList(data=catalogue.everything()).model_dump()


def voice() -> Any:
    """A voice as a list has it, in the fields of OpenAI's voices: what the description has not, it forbids,
    the `type` that OpenAI itself sends too."""
    shown_voice = shown(ClonedVoice("bob", (Path("bob.wav"),), name="bob.wav", created_at=7))
    return shown_voice.model_dump(include={"object", "id", "name", "created_at"})


def embeddings() -> Any:
    turn = EmbeddingTurn(EmbeddingFile("m", Path("m.gguf")), ["Hi"])
    return json.loads(embeddings_body(turn, EmbeddingResult(np.ones((1, 2), np.float32), 3)))


ANSWERS = [
    ("CreateChatCompletionResponse", ChatAnswer("m").whole(ITEMS, RESULT)),
    *(("CreateChatCompletionStreamResponse", chunk) for chunk in streamed()),
    ("CreateCompletionResponse", CompletionAnswer("m").whole(ITEMS, RESULT)),
    *(("CreateCompletionResponse", chunk) for chunk in completed()),
    ("CreateEmbeddingResponse", embeddings()),
    ("ListModelsResponse", models()),
    ("Model", models()["data"][0]),
    (
        "CreateTranscriptionResponseJson",
        TranscriptionAnswer("json").whole(SEGMENTS, Heard("en", 1.5)),
    ),
    *(
        (
            "CreateTranscriptionResponseVerboseJson",
            TranscriptionAnswer("verbose_json", granularities).whole(SEGMENTS, Heard("en", 1.5)),
        )
        for granularities in (["segment"], ["word"], ["segment", "word"])
    ),
    ("VoiceResource", voice()),
    ("ErrorResponse", InvalidRequest("No.", param="messages").body()),
]


def with_nulls(schema: Any) -> Any:
    """The description calls itself OpenAPI 3.1 but still has 3.0's `nullable` in places."""
    if isinstance(schema, list):
        return [with_nulls(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: with_nulls(part) for name, part in schema.items() if name != "nullable"}
    return {"anyOf": [{"type": "null"}, plain]} if schema.get("nullable") is True else plain


@pytest.fixture(scope="module")
def description() -> Any:
    if not DESCRIPTION.is_file():
        pytest.skip(f"OpenAI's description of its API is not there ({DESCRIPTION})")
    yaml = pytest.importorskip("yaml", reason="reads OpenAI's description")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return with_nulls(yaml.load(DESCRIPTION.read_text(encoding="utf-8"), Loader=loader))


@pytest.mark.parametrize(("name", "answer"), ANSWERS, ids=[name for name, _ in ANSWERS])
def test_our_answers_are_valid_by_openais_own_description(
    description: Any, name: str, answer: Any
) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="checks against OpenAI's description")
    schema = {"$ref": f"#/components/schemas/{name}", "components": description["components"]}
    problems = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(answer)
    ]
    assert problems == []
