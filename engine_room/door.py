"""The door that every request passes: its id, the key, where it comes from, the size limit, the last resort
for errors; and it is counted, a failure noted.

A plain ASGI middleware, so that it holds for streams and uploads as they flow. It knows no routes
but those that stay open without a key.
"""

import hmac
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from engine_room.errors import ApiError, FileTooLarge, InternalError, InvalidApiKey
from engine_room.failures import Failures, told
from engine_room.metrics import Metrics
from engine_room.origins import Origins
from engine_room.page import is_of_page
from engine_room.settings import Settings

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
OPEN_PATHS = {"/health", "/v1/health"}
OPEN_LISTS = {"/v1/audio/voices", "/v1/audio/models", "/audio/voices", "/audio/models"}


class Door:
    """ASGI middleware; stands inside the CORS middleware, so that its errors carry CORS headers too."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        metrics: Metrics | None = None,
        failures: Failures | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics or Metrics()
        self._failures = failures or Failures()
        self._keys = [key.encode() for key in settings.openai_api_keys]
        self._origins = Origins(settings)
        self._open = OPEN_PATHS | (OPEN_LISTS if settings.open_audio_lists else set())
        # Base64 makes a JSON upload a third larger; the rest is room for the other fields.
        self._max_body_bytes = settings.max_upload_bytes * 4 // 3 + 1_000_000
        self._max_upload_bytes = settings.max_upload_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let the request in, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        arrived_at = time.perf_counter()
        inner = dict(scope)  # our own: what the app finds out, the route, it writes in there
        status = 0  # of the answer that has begun

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), own]
            elif (said := told(status, message.get("body", b""))) is not None:
                self._failures.note(scope["method"], scope["path"], status, request_id, said)
            await send(message)

        try:
            await self._let_in(inner, receive, send_with_id)
        except Exception as error:
            if status:
                raise
            if not isinstance(error, ApiError):
                log.exception("%s %s failed", scope["method"], scope["path"])
                error = InternalError()
            await _answer(send_with_id, error.status, error.body(), error.headers())
        finally:
            if status:
                route = getattr(inner.get("route"), "path_format", None)
                seconds = time.perf_counter() - arrived_at
                self._metrics.answered(scope["method"], route, status, seconds)

    async def _let_in(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["method"] == "OPTIONS":  # a preflight ends in the CORS middleware; any other, here
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if self._keys and not self._is_open(scope):
            self._check_key(headers)
        self._origins.check(scope, headers)
        # What answers GET answers HEAD (container and proxy checks); the server leaves out the body.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        scope.update(method=method, headers=_as_json(scope, headers))
        await self._app(scope, self._limited(receive), send)

    def _is_open(self, scope: Message) -> bool:
        is_reading = scope["method"] in ("GET", "HEAD")
        path = scope["path"]
        # The page holds nothing secret; what it shows it asks the API for, with the key that is put into it.
        return is_reading and (is_of_page(path) or path.rstrip("/") in self._open)

    def _check_key(self, headers: dict[bytes, bytes]) -> None:
        sent = headers.get(b"authorization", b"")
        sent = sent[7:] if sent[:7].lower() == b"bearer " else sent
        candidates = (sent.strip(), headers.get(b"x-api-key", b""), headers.get(b"api-key", b""))
        # Every pair is compared, in constant time, so that the time tells nothing about the keys.
        if not sum(hmac.compare_digest(key, sent) for key in self._keys for sent in candidates):
            raise InvalidApiKey

    def _limited(self, receive: Receive) -> Receive:
        """A body over the limit is read to its end and thrown away: a client that is still sending
        would otherwise see a broken pipe instead of the 413."""
        num_bytes = 0

        async def limited() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes <= self._max_body_bytes:
                return message
            while message.get("more_body") and num_bytes < 10 * self._max_body_bytes:
                message = await receive()
                num_bytes += len(message.get("body", b""))
            raise FileTooLarge(self._max_upload_bytes)

        return limited


def _as_json(scope: Message, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The request's headers, any body but a form said to be JSON: clients forget the type, and `curl -d`
    says it is a urlencoded form."""
    if scope["method"] != "POST" or headers.get(b"content-type", b"").lower().startswith(
        b"multipart/"
    ):
        return list(scope["headers"])
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-type"]
    return [*others, (b"content-type", b"application/json")]


async def _answer(send: Send, status: int, body: object, extra: dict[str, str]) -> None:
    payload = json.dumps(body).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(payload)),
        "connection": "close",
    } | extra
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": payload})
