"""Every failure is OpenAI's shape, and clients read from it whether to try again."""

import pytest

from engine_room import errors
from engine_room.errors import ApiError, quoted

# (error, status, type, code, param)
ALL = [
    (errors.InvalidRequest("No."), 400, "invalid_request_error", None, None),
    (
        errors.UnsupportedValue("response_format", "xyz", ["mp3", "wav"]),
        400,
        "invalid_request_error",
        "unsupported_value",
        "response_format",
    ),
    (
        errors.ContextLengthExceeded(9000, 8192),
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    ),
    (
        errors.WrongModel("bge-m3", "cannot chat", "Do."),
        400,
        "invalid_request_error",
        "unsupported_model",
        "model",
    ),
    (
        errors.AmbiguousModel("a", ["A.gguf", "a.gguf"]),
        400,
        "invalid_request_error",
        "ambiguous_model",
        "model",
    ),
    (errors.NothingToSay(), 400, "invalid_request_error", None, "input"),
    (errors.InvalidAudio("No."), 400, "invalid_request_error", "invalid_audio", "file"),
    (errors.InvalidImage("no.", "x"), 400, "invalid_request_error", "invalid_image", "x"),
    (
        errors.InvalidAudio("No.", "audio_sample"),
        400,
        "invalid_request_error",
        "invalid_audio",
        "audio_sample",
    ),
    (errors.InvalidApiKey(), 401, "invalid_request_error", "invalid_api_key", None),
    (errors.Forbidden("No."), 403, "permission_error", None, None),
    (errors.NotFound("No."), 404, "invalid_request_error", None, None),
    (
        errors.ModelNotFound("gpt-9", ["gpt-4"]),
        404,
        "invalid_request_error",
        "model_not_found",
        "model",
    ),
    (
        errors.VoiceNotFound("bob", ["alloy"]),
        404,
        "invalid_request_error",
        "voice_not_found",
        "voice",
    ),
    (
        errors.RepositoryNotFound("No."),
        404,
        "invalid_request_error",
        "repository_not_found",
        "model",
    ),
    (errors.MethodNotAllowed("No."), 405, "invalid_request_error", None, None),
    (errors.VoiceExists("bob"), 409, "invalid_request_error", "voice_exists", "name"),
    (errors.ModelExists("No."), 409, "invalid_request_error", "model_exists", None),
    (errors.ModelBusy("bob"), 409, "invalid_request_error", "model_busy", "model"),
    (errors.BadHub("No."), 502, "server_error", "bad_hub", None),
    (errors.HubUnreachable("No."), 503, "service_unavailable_error", "hub_unreachable", None),
    (errors.CannotStore("No."), 507, "server_error", "cannot_store", None),
    (errors.FileTooLarge(25_000_000), 413, "invalid_request_error", "file_too_large", "file"),
    (errors.QueueFull("chat", 256), 429, "rate_limit_exceeded", "rate_limit_exceeded", None),
    (errors.Unavailable("No.", "Do."), 503, "service_unavailable_error", "unavailable", None),
    (errors.LoadingStopped("No."), 503, "service_unavailable_error", "unavailable", None),
    (errors.ShuttingDown(), 503, "service_unavailable_error", "overloaded", None),
    (errors.ClientGone(), 499, "client_gone", None, None),
    (errors.InternalError(), 500, "server_error", None, None),
]
by_name = pytest.mark.parametrize(
    ("error", "status", "type_", "code", "param"), ALL, ids=lambda value: type(value).__name__
)


@by_name
def test_every_error_has_its_status_type_code_and_param(
    error: ApiError, status: int, type_: str, code: str | None, param: str | None
) -> None:
    assert error.status == status
    assert error.body() == {
        "error": {"message": error.message, "type": type_, "param": param, "code": code}
    }
    assert error.message


def test_this_table_names_every_error_there_is() -> None:
    def below(kind: type[ApiError]) -> set[type[ApiError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(ApiError) - {ApiError} == {type(row[0]) for row in ALL}


def test_a_full_queue_says_when_to_come_back_and_a_missing_model_says_never() -> None:
    assert errors.QueueFull("chat", 1).headers() == {"Retry-After": "5"}
    assert errors.Unavailable("No.").headers() == {"x-should-retry": "false"}
    assert errors.InternalError().headers() == {"x-should-retry": "false"}
    assert errors.InvalidRequest("No.").headers() == {}


def test_messages_name_the_bad_value_and_what_would_be_right() -> None:
    unsupported = errors.UnsupportedValue("response_format", "xyz", ["mp3", "wav"])
    assert unsupported.message == ("response_format 'xyz' is not supported; use one of: mp3, wav.")
    unknown = errors.ModelNotFound("gpt-9", ["gpt-4", "smollm2"])
    assert unknown.message == "The model 'gpt-9' does not exist here; there are: gpt-4, smollm2."
    assert errors.ModelNotFound("gpt-9", []).message.endswith("there are: none.")
    too_long = errors.ContextLengthExceeded(9000, 8192)
    assert "9000" in too_long.message
    assert "8192" in too_long.message
    unavailable = errors.Unavailable("It is broken.", "Mend it.")
    assert unavailable.message == "It is broken. Mend it."


def test_a_code_given_to_one_error_stays_with_it() -> None:
    assert errors.InvalidRequest("No.", code="special").code == "special"
    assert errors.InvalidRequest("No.").code is None


def test_a_quoted_value_is_short_and_can_be_encoded() -> None:
    assert quoted("abc") == "'abc'"
    assert quoted(7) == "'7'"
    assert quoted("x" * 101) == "'" + "x" * 100 + "…'"
    assert quoted("x" * 100) == "'" + "x" * 100 + "'"
    assert quoted("a\ud83db") == "'a?b'"
    assert quoted([1] * 10_000_000) == "'[1, 1, 1, 1, 1, 1, ...]'"
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert quoted(nested) == "'[[[[[[[...]]]]]]]'"
