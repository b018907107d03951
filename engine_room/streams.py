"""The only place where engine threads meet the event loop: first event, hang-up, SSE framing.

An engine's thread delivers into an `asyncio.Queue` with `call_soon_threadsafe`; a watcher task per
request notices a hang-up. So nothing here blocks, and a failure before the first event is still an
honest HTTP error.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from engine_room.errors import ApiError, ClientGone
from engine_room.jobs import Answering, Deliver, Done, Event, Failed, Job

log = logging.getLogger(__name__)
PING_S = 10
# A stream that has said nothing for this long starts with pings; until then a failure is an HTTP error.
FIRST_EVENT_PATIENCE_S = 10
COMMENT_EVERY_S = 5
DONE = b"data: [DONE]\n\n"
Turn = TypeVar("Turn")


class _Courier:
    """Brings events from engine threads to the queues of one event loop, all that are there at once: a
    step of the chat engine has one for each answer, and to wake the loop for each would cost more than
    what it then does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: deque[tuple[Event, asyncio.Queue[Event]]] = deque()
        self._is_called = False

    def bring(self, event: Event, queue: "asyncio.Queue[Event]") -> None:
        """Any thread. Raises RuntimeError when the loop is closed."""
        self._events.append((event, queue))
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        self._is_called = False  # before the events are counted: who comes from now on calls again
        for _ in range(
            len(self._events)
        ):  # and no more, for an engine may be faster than this loop
            event, queue = self._events.popleft()
            queue.put_nowait(event)


# One for each running loop, gone with it.
_couriers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Courier] = WeakKeyDictionary()


def _courier_to(loop: asyncio.AbstractEventLoop) -> _Courier:
    if loop not in _couriers:
        _couriers[loop] = _Courier(loop)
    return _couriers[loop]


class Stream:
    """The items of one job, in order, on the event loop. Iterate it once; `result` is there after."""

    def __init__(self, request: Request) -> None:
        self.result: Any = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._peeked: Event | None = None
        self._job: Job[Any] | None = None
        self._watcher = asyncio.create_task(self._watch(request))

    def submit(self, engine: Answering[Turn], turn: Turn) -> None:
        """Hand the turn to the engine. Raises QueueFull, ShuttingDown."""
        self._job = engine.submit(turn, self._deliverer())

    def _deliverer(self) -> Deliver:
        courier = _courier_to(asyncio.get_running_loop())

        def deliver(event: Event) -> None:
            try:
                courier.bring(event, self._events)
            except RuntimeError:  # the loop is closed: the server stopped, nobody waits any more
                if self._job:
                    self._job.cancel()

        return deliver

    async def _watch(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue
        if self._job:
            self._job.cancel()
        self._events.put_nowait(Failed(ClientGone()))

    async def peek(self, patience_s: float | None) -> None:
        """Wait for the first event and raise it if it is a failure; give up waiting after a time."""
        try:
            self._peeked = await asyncio.wait_for(self._events.get(), patience_s)
        except (TimeoutError, asyncio.TimeoutError):
            return
        if isinstance(self._peeked, Failed):
            raise self._peeked.error

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        event, self._peeked = self._peeked, None
        if event is None:
            event = await self._events.get()
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Done):
            self.result = event.result
            raise StopAsyncIteration
        return event

    async def collect(self) -> list[Any]:
        """All items, once the job is done; a hang-up meanwhile cancels it and raises ClientGone."""
        try:
            return [item async for item in self]
        finally:
            self.close()

    def close(self) -> None:
        """Forget the job: cancel what still runs of it. Every way out of an answer ends here."""
        self._watcher.cancel()
        if self._job:
            self._job.cancel()


async def open_stream(
    request: Request, engine: Answering[Turn], turn: Turn, patience_s: float | None = None
) -> Stream:
    """Submit the turn and wait for its first event, whose failure is raised here, before any header.

    With `patience_s`, an engine that is silent for longer (a long queue, a large model loading) does
    not hold back the headers. Raises ApiError, ClientGone on a hang-up.
    """
    stream = Stream(request)
    try:
        stream.submit(engine, turn)
        await stream.peek(patience_s)
    except BaseException:
        stream.close()
        raise
    return stream


async def result_of(request: Request, engine: Answering[Turn], turn: Turn) -> Any:
    """The result of a turn that has no items. Raises ApiError, ClientGone on a hang-up."""
    stream = await open_stream(request, engine, turn)
    await stream.collect()
    return stream.result


class Frames(Protocol):
    """What turns a job's events into the JSON objects of one event stream."""

    def opening(self) -> Iterable[object]:
        """The objects before any item."""

    def item(self, item: Any) -> Iterable[object]:
        """The objects for one item."""

    def closing(self, result: Any) -> Iterable[object]:
        """The objects after the last item."""


def sse(stream: Stream, frames: Frames, stop_timeout_s: float) -> EventSourceResponse:
    """An event stream as OpenAI sends it: `data:` lines only, `[DONE]` last, comments as heartbeats.

    A failure on the way is one last `data: {"error": …}` before `[DONE]`.
    """

    async def events() -> AsyncIterator[bytes]:
        try:
            for frame in frames.opening():
                yield _data(frame)
            async for item in stream:
                for frame in frames.item(item):
                    yield _data(frame)
            for frame in frames.closing(stream.result):
                yield _data(frame)
        except ApiError as error:
            yield _data(error.body())
        finally:
            stream.close()
        yield DONE

    return _event_stream(events(), stop_timeout_s)


def sse_after(
    stream: Stream,
    comment: Callable[[Any], str],
    answer: Callable[[], Awaitable[Response]],
    stop_timeout_s: float,
) -> EventSourceResponse:
    """An event stream that tells in comments how another job comes on, one now and then, and then is the
    event stream that `answer` gives."""

    async def events() -> AsyncIterator[bytes]:
        told_at = float(-COMMENT_EVERY_S)
        try:
            async for item in stream:
                if time.monotonic() - told_at >= COMMENT_EVERY_S:
                    told_at = time.monotonic()
                    yield f": {comment(item)}\n\n".encode()
            stream.close()
            answered = await answer()
            assert isinstance(answered, EventSourceResponse)
            blocks: Any = answered.body_iterator
            async with aclosing(blocks):
                async for block in blocks:
                    yield block
        except ApiError as error:
            yield _data(error.body())
            yield DONE
        finally:
            stream.close()

    return _event_stream(events(), stop_timeout_s)


def _event_stream(events: AsyncIterator[bytes], stop_timeout_s: float) -> EventSourceResponse:
    return EventSourceResponse(
        events,
        ping=PING_S,
        sep="\n",
        ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        # Without a grace period sse-starlette cuts every stream the moment the server is told to stop.
        shutdown_event=None,
        shutdown_grace_period=stop_timeout_s,
    )


def _data(frame: object) -> bytes:
    return b"data: " + json.dumps(frame, separators=(",", ":")).encode() + b"\n\n"


def audio(stream: Stream, media_type: str, headers: dict[str, str]) -> StreamingResponse:
    """The job's blocks of bytes as they come; a failure on the way breaks the connection off."""

    async def blocks() -> AsyncIterator[bytes]:
        try:
            async for block in stream:
                yield block
        except ClientGone:
            return  # nobody listens any more
        finally:
            stream.close()

    return StreamingResponse(blocks(), media_type=media_type, headers=headers)
