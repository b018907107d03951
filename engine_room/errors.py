"""Every way a request can fail, each with its HTTP status, OpenAI type and code.

Raise the class that says what went wrong where the fact is first known; the one exception handler in
`app` turns it into the body and headers that OpenAI's clients read. Knows no web framework.
"""

import reprlib
from collections.abc import Iterable


class ApiError(Exception):
    """A failure with an answer for the client; subclasses fix the status, type and code."""

    status = 500
    type = "server_error"
    code: str | None = None
    # True or False answers a client that asks "shall I try again?"; None leaves it to the status.
    should_retry: bool | None = None
    retry_after_s: int | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON body, in OpenAI's shape: all four keys, always."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """The headers that tell a client whether and when to try again."""
        headers = {}
        if self.should_retry is not None:
            headers["x-should-retry"] = str(self.should_retry).lower()
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


class InvalidRequest(ApiError):
    """The body says something that cannot be done; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class UnsupportedValue(InvalidRequest):
    """A field holds a value that is not among those there are."""

    code = "unsupported_value"

    def __init__(self, param: str, value: object, allowed: Iterable[str]) -> None:
        super().__init__(
            f"{param} {quoted(value)} is not supported; use one of: {', '.join(allowed)}.",
            param=param,
        )


class ContextLengthExceeded(InvalidRequest):
    """The prompt does not fit the model's context; nothing is ever cut silently."""

    code = "context_length_exceeded"

    def __init__(
        self,
        num_prompt_tokens: int,
        num_context_tokens: int,
        param: str = "messages",
        *,
        is_least: bool = False,
        num_tool_tokens: int = 0,
        num_image_tokens: int = 0,
    ) -> None:
        what = "The messages make a prompt of" if param == "messages" else f"The {param} has"
        least = "at least " if is_least else ""
        takers = {"tools": num_tool_tokens, "images": num_image_tokens}
        parts = [f"the {name} take {count} of them" for name, count in takers.items() if count]
        of_them = f" ({', '.join(parts)})" if parts else ""
        super().__init__(
            f"{what} {least}{num_prompt_tokens} tokens{of_them}, but this model's context holds "
            f"{num_context_tokens} tokens, one of them at least for the answer. "
            f"Shorten the {param}{' or name fewer tools' if num_tool_tokens else ''}.",
            param=param,
        )


class WrongModel(InvalidRequest):
    """The model is there, but for another purpose than the one it is asked for."""

    code = "unsupported_model"

    def __init__(self, model: str, why: str, mend: str) -> None:
        super().__init__(f"The model {quoted(model)} {why}. {mend}", param="model")


class AmbiguousModel(InvalidRequest):
    """Several files are models of this name; which one answers is never left to chance."""

    code = "ambiguous_model"

    def __init__(self, model: str, files: Iterable[str]) -> None:
        super().__init__(
            f"The model {quoted(model)} may be any of: {', '.join(files)}. Ask for one exactly as it is "
            "written, or rename one where only `.gguf` is written otherwise.",
            param="model",
        )


class NothingToSay(InvalidRequest):
    """A text to speak without a letter or a digit in it."""

    def __init__(self) -> None:
        super().__init__("input has nothing in it that can be spoken.", param="input")


class InvalidAudio(InvalidRequest):
    """An upload that holds no sound we can decode."""

    code = "invalid_audio"

    def __init__(self, message: str, param: str = "file") -> None:
        super().__init__(message, param=param)


class InvalidImage(InvalidRequest):
    """A part of a message that holds no image we can read."""

    code = "invalid_image"

    def __init__(self, message: str, place: str) -> None:
        super().__init__(f"{place}: {message}", param=place)


class InvalidApiKey(ApiError):
    """Keys are configured, and the request carries none of them."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__(
            "Incorrect or missing API key: send one of this server's OPENAI_API_KEYS as "
            "'Authorization: Bearer <key>'."
        )


class Forbidden(ApiError):
    """The request is understood, and not allowed from there, or on that thing; the message says why."""

    status = 403
    type = "permission_error"


class NotFound(ApiError):
    """There is nothing under this path or name; `offer` is the name of a model that can be fetched, and would
    then answer to it."""

    status = 404
    type = "invalid_request_error"
    offer = ""


class ModelNotFound(NotFound):
    """No model of this name for this purpose."""

    code = "model_not_found"

    def __init__(
        self, model: str, known: Iterable[str], fetch_with: str = "", offer: str = ""
    ) -> None:
        fetch = f" It can be fetched with: {fetch_with}" if fetch_with else ""
        there = ", ".join(known) or "none"
        super().__init__(
            f"The model {quoted(model)} does not exist here; there are: {there}.{fetch}",
            param="model",
        )
        self.offer = offer


class RepositoryNotFound(NotFound):
    """The hub has no such repository, revision or file, or does not show it to us."""

    code = "repository_not_found"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model")


class VoiceNotFound(NotFound):
    """No voice of this name, or several that may be meant."""

    code = "voice_not_found"

    def __init__(
        self,
        voice: str,
        known: Iterable[str],
        max_named: int = 50,
        fetch_with: str = "",
        offer: str = "",
    ) -> None:
        names = list(known)
        fetch = f" It can be fetched with: {fetch_with}" if fetch_with else ""
        more = f" and {len(names) - max_named:,} more" if len(names) > max_named else ""
        super().__init__(
            f"The voice {quoted(voice)} does not exist here; there are: "
            f"{', '.join(names[:max_named])}{more}.{fetch}",
            param="voice",
        )
        self.offer = offer


class MethodNotAllowed(ApiError):
    """The path is there, but not for this method."""

    status = 405
    type = "invalid_request_error"


class VoiceExists(ApiError):
    """The name of a new voice is taken. Clients repeat a 409 by themselves; that cannot help here."""

    status = 409
    type = "invalid_request_error"
    code = "voice_exists"
    should_retry = False

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a voice or a file named {quoted(name)} already: choose another name, or delete "
            "that one first.",
            param="name",
        )


class ModelExists(ApiError):
    """Something else lies where a model is to be put."""

    status = 409
    type = "invalid_request_error"
    code = "model_exists"
    should_retry = False


class ModelBusy(ApiError):
    """The model answers somebody; it goes when it is done."""

    status = 409
    type = "invalid_request_error"
    code = "model_busy"
    should_retry = True
    retry_after_s = 5

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model {quoted(model)} is answering; ask again when it is done.", param="model"
        )


class FileTooLarge(ApiError):
    """The upload is over the limit."""

    status = 413
    type = "invalid_request_error"
    code = "file_too_large"

    def __init__(self, limit_bytes: int, param: str = "file") -> None:
        super().__init__(
            f"The upload is larger than this server takes ({limit_bytes:,} bytes; "
            "the setting MAX_UPLOAD_BYTES).",
            param=param,
        )

    def headers(self) -> dict[str, str]:
        """The connection ends here: nobody reads the rest of the body, and who still sends it would wait."""
        return super().headers() | {"Connection": "close"}


class QueueFull(ApiError):
    """As many requests wait as the server holds; this one may come back soon."""

    status = 429
    type = "rate_limit_exceeded"
    code = "rate_limit_exceeded"
    retry_after_s = 5

    def __init__(self, part: str, max_queued: int) -> None:
        super().__init__(
            f"{max_queued} requests already wait for {part} (the setting MAX_QUEUED). "
            f"Try again in {self.retry_after_s} seconds."
        )


class Unavailable(ApiError):
    """A part of the server cannot answer until somebody mends it; the message says how. `offer` is the name
    of a model that would mend it, if it may be fetched."""

    status = 503
    type = "service_unavailable_error"
    code = "unavailable"
    should_retry = False

    def __init__(self, reason: str, mend: str | None = None, offer: str = "") -> None:
        super().__init__(f"{reason} {mend}" if mend else reason)
        self.reason = reason
        self.mend = mend
        self.offer = offer


class LoadingStopped(Unavailable):
    """A model's loading was broken off, for nobody waits for it."""


class BadHub(ApiError):
    """The hub answered what it should not: a wrong file, a dangerous name, no sense."""

    status = 502
    type = "server_error"
    code = "bad_hub"
    should_retry = False


class HubUnreachable(Unavailable):
    """The hub does not answer, or broke off; later it may."""

    code = "hub_unreachable"


class CannotStore(ApiError):
    """The disk does not take, or not let go, what it is told to; nothing half-done is left behind."""

    status = 507
    type = "server_error"
    code = "cannot_store"
    should_retry = False


class ShuttingDown(ApiError):
    """The server was told to stop before this answer was done."""

    status = 503
    type = "service_unavailable_error"
    code = "overloaded"
    retry_after_s = 5

    def __init__(self) -> None:
        super().__init__("The server is stopping; this answer was not finished.")


class ClientGone(ApiError):
    """The client hung up; nobody reads the answer (status 499, as nginx has it)."""

    status = 499
    type = "client_gone"

    def __init__(self) -> None:
        super().__init__("The client hung up before the answer was done.")


class InternalError(ApiError):
    """A fault of ours. Deterministic for all we know, so clients should not repeat it."""

    should_retry = False

    def __init__(self) -> None:
        super().__init__("The server failed on this request; its log says why.")


def quoted(value: object, max_chars: int = 100) -> str:
    """The value as a client wrote it, short enough for a message and safe to encode."""
    # Not `str` of all of it: that takes a second for ten megabytes, and fails where lists lie too deep.
    text = value[: max_chars + 1] if isinstance(value, str) else _SHORT.repr(value)
    text = text.encode("utf-8", "replace").decode()
    return repr(text if len(text) <= max_chars else text[:max_chars] + "…")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
