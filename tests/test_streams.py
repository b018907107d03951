"""Engine threads meet the event loop: first event, hang-up, framing; over real sockets."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine_room import streams
from engine_room.errors import ApiError, ClientGone, InvalidRequest, QueueFull
from engine_room.jobs import Deliver, Done, Engine, Event, Job, serially

# A turn of the fake engine says itself how it is answered.
Turn = Callable[[Job[Any]], Iterator[Event]]


class FakeEngine(Engine[Turn]):
    """An engine whose turns answer themselves; it remembers its jobs and counts them in."""

    def __init__(self, max_queued: int = 99) -> None:
        super().__init__("fake", lambda: serially(lambda job: job.turn(job)), max_queued)
        self.jobs: list[Job[Turn]] = []
        self.submitted = threading.Semaphore(0)

    def submit(self, turn: Turn, deliver: Deliver, goes_on: bool = False) -> Job[Turn]:
        job = super().submit(turn, deliver)
        self.jobs.append(job)
        self.submitted.release()
        return job


class Frames:
    """The items as JSON objects, with one before and one after."""

    def opening(self) -> Iterable[object]:
        yield {"opening": "é"}

    def item(self, item: Any) -> Iterable[object]:
        yield {"item": item}

    def closing(self, result: Any) -> Iterable[object]:
        yield {"result": result}


@contextmanager
def served(
    turn: Turn, patience_s: float | None = None, engine: FakeEngine | None = None
) -> Iterator[tuple[str, int]]:
    """An app with /sse, /audio and /whole, each answering this turn, and /health; its host and port."""
    engine = engine or FakeEngine()

    async def sse(request: Request) -> Response:
        stream = await streams.open_stream(request, engine, turn, patience_s)
        return streams.sse(stream, Frames(), stop_timeout_s=1)

    async def audio(request: Request) -> Response:
        stream = await streams.open_stream(request, engine, turn)
        return streams.audio(stream, "audio/mpeg", {})

    async def whole(request: Request) -> Response:
        stream = await streams.open_stream(request, engine, turn)
        items = await stream.collect()
        return JSONResponse({"items": items, "result": stream.result})

    async def health(request: Request) -> Response:
        return JSONResponse("ok")

    async def on_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return JSONResponse(error.body(), error.status)

    app = Starlette(
        routes=[
            Route("/sse", sse, methods=["POST"]),
            Route("/audio", audio, methods=["POST"]),
            Route("/whole", whole, methods=["POST"]),
            Route("/health", health),
        ],
        exception_handlers={ApiError: on_error},
    )
    config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    engine.open()
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        engine.close()
        server.should_exit = True
        thread.join(10)
        listener.close()


def post(address: tuple[str, int], path: str) -> httpx.Response:
    return httpx.post(f"http://{address[0]}:{address[1]}{path}", timeout=10)


def knock(address: tuple[str, int], path: str) -> socket.socket:
    """A request over a socket that can be hung up."""
    client = socket.create_connection(address, timeout=10)
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    return client


def abc(job: Job[Turn]) -> Iterator[Event]:
    yield from "abc"
    yield Done(3)


def wait_until_cancelled(job: Job[Any]) -> None:
    """As engines do, look at the job between two steps."""
    step = threading.Event()
    while not job.cancelled:
        step.wait(0.01)


class Watched:
    """A turn that never ends by itself, and tells when it began and when it saw its cancellation."""

    def __init__(self, num_items: int) -> None:
        self.num_items = num_items
        self.begun, self.stopped = threading.Event(), threading.Event()

    def __call__(self, job: Job[Turn]) -> Iterator[Event]:
        yield from ["x"] * self.num_items
        self.begun.set()
        wait_until_cancelled(job)
        self.stopped.set()


def test_an_event_stream_is_data_lines_only_and_ends_with_done() -> None:
    with served(abc) as address:
        answer = post(address, "/sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == (
        'data: {"opening":"\\u00e9"}\n\n'
        'data: {"item":"a"}\n\n'
        'data: {"item":"b"}\n\n'
        'data: {"item":"c"}\n\n'
        'data: {"result":3}\n\n'
        "data: [DONE]\n\n"
    )


def test_each_event_is_sent_at_once_and_whole() -> None:
    let_on = threading.Event()

    def halting(job: Job[Turn]) -> Iterator[Event]:
        yield "first"
        assert let_on.wait(10)
        yield Done()

    with served(halting) as (host, port):
        url = f"http://{host}:{port}/sse"
        with httpx.stream("POST", url, timeout=10) as answer:
            blocks = answer.iter_raw()
            assert next(blocks) == b'data: {"opening":"\\u00e9"}\n\n'
            assert next(blocks) == b'data: {"item":"first"}\n\n'
            let_on.set()
            assert b"".join(blocks).endswith(b"data: [DONE]\n\n")


def test_a_whole_answer_has_all_items_and_the_result() -> None:
    with served(abc) as address:
        assert post(address, "/whole").json() == {"items": ["a", "b", "c"], "result": 3}


def test_audio_is_the_blocks_of_bytes_one_after_the_other() -> None:
    def blocks(job: Job[Turn]) -> Iterator[Event]:
        yield b"ID"
        yield b"\x00\xff"
        yield Done()

    with served(blocks) as address:
        answer = post(address, "/audio")
    assert answer.content == b"ID\x00\xff"
    assert answer.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize("path", ["/sse", "/audio", "/whole"])
def test_a_failure_before_the_first_event_is_an_honest_http_error(path: str) -> None:
    def refuse(job: Job[Turn]) -> Iterator[Event]:
        raise InvalidRequest("Too long.", param="messages")
        yield

    with served(refuse) as address:
        answer = post(address, path)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Too long."


def test_a_failure_on_the_way_is_one_last_error_before_done() -> None:
    def failing(job: Job[Turn]) -> Iterator[Event]:
        yield "a"
        raise InvalidRequest("It broke.")

    with served(failing) as address:
        answer = post(address, "/sse")
        whole = post(address, "/whole")
    assert answer.status_code == 200
    error, done = answer.text.split("\n\n")[2:4]
    assert json.loads(error.removeprefix("data: ")) == {
        "error": {
            "message": "It broke.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }
    assert done == "data: [DONE]"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert whole.status_code == 400


def test_a_failure_in_the_middle_of_audio_breaks_the_connection_off() -> None:
    def failing(job: Job[Turn]) -> Iterator[Event]:
        yield b"sound"
        raise InvalidRequest("It broke.")

    with served(failing) as address, pytest.raises(httpx.RemoteProtocolError):
        post(address, "/audio")


@pytest.mark.parametrize("path", ["/sse", "/audio", "/whole"])
def test_a_hang_up_before_the_first_event_stops_the_job(path: str) -> None:
    turn = Watched(num_items=0)
    with served(turn) as address:
        client = knock(address, path)
        assert turn.begun.wait(10)
        client.close()
        assert turn.stopped.wait(10)


@pytest.mark.parametrize("path", ["/sse", "/whole"])
def test_a_hang_up_in_the_middle_of_an_answer_stops_the_job(path: str) -> None:
    turn = Watched(num_items=3)
    with served(turn) as address:
        client = knock(address, path)
        assert turn.begun.wait(10)
        client.close()
        assert turn.stopped.wait(10)


def test_a_hang_up_in_the_middle_of_audio_stops_the_job() -> None:
    let_on = threading.Event()
    stopped = threading.Event()

    def endless(job: Job[Turn]) -> Iterator[Event]:
        yield b"first"
        assert let_on.wait(10)
        while not job.cancelled:
            yield b"x" * 1000
        stopped.set()

    with served(endless) as address:
        client = knock(address, "/audio")
        assert client.recv(4) == b"HTTP"
        client.close()
        let_on.set()
        assert stopped.wait(10)


def test_a_job_that_still_waits_when_its_client_leaves_is_never_begun() -> None:
    engine = FakeEngine()
    begun: list[Job[Turn]] = []

    def first_until_second_leaves(job: Job[Turn]) -> Iterator[Event]:
        begun.append(job)
        assert engine.submitted.acquire(timeout=10)
        if job is engine.jobs[0]:
            assert engine.submitted.acquire(timeout=10)
            left.set()
            wait_until_cancelled(engine.jobs[1])
        yield Done()

    left = threading.Event()
    with served(first_until_second_leaves, engine=engine) as address:
        running = knock(address, "/whole")
        leaving = knock(address, "/whole")
        assert left.wait(10)
        leaving.close()
        assert running.recv(12) == b"HTTP/1.1 200"
        assert post(address, "/whole").status_code == 200
        running.close()
    assert begun == [engine.jobs[0], engine.jobs[2]]


def test_an_engine_that_stays_silent_does_not_hold_back_the_headers() -> None:
    let_on = threading.Event()

    def slow_to_fail(job: Job[Turn]) -> Iterator[Event]:
        assert let_on.wait(10)
        raise InvalidRequest("Too late for a status.")
        yield

    with served(slow_to_fail, patience_s=0.01) as (host, port):
        url = f"http://{host}:{port}/sse"
        with httpx.stream("POST", url, timeout=10) as answer:
            assert answer.status_code == 200
            let_on.set()
            text = answer.read().decode()
    assert "Too late for a status." in text
    assert text.endswith("data: [DONE]\n\n")


def test_the_server_answers_others_while_a_hundred_streams_wait() -> None:
    turn = Watched(num_items=0)
    with served(turn, engine=FakeEngine(max_queued=100)) as address:
        clients = [knock(address, "/sse") for _ in range(100)]
        assert turn.begun.wait(10)
        assert httpx.get(f"http://{address[0]}:{address[1]}/health", timeout=10).json() == "ok"
        for client in clients:
            client.close()
        assert turn.stopped.wait(10)


def test_many_streams_at_once_each_get_all_of_their_own() -> None:
    def many(job: Job[Turn]) -> Iterator[Event]:
        yield from range(200)
        yield Done(id(job))

    with served(many) as address:
        answers: list[dict[str, Any]] = []
        threads = [
            threading.Thread(target=lambda: answers.append(post(address, "/whole").json()))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert [answer["items"] for answer in answers] == [list(range(200))] * 20


def test_a_full_queue_is_known_before_any_header() -> None:
    turn = Watched(num_items=0)
    engine = FakeEngine(max_queued=1)
    with served(turn, engine=engine) as address:
        clients = [knock(address, "/sse")]
        assert turn.begun.wait(10)
        clients.append(knock(address, "/sse"))
        assert engine.submitted.acquire(timeout=10)
        assert engine.submitted.acquire(timeout=10)
        answer = post(address, "/sse")
        for client in clients:
            client.close()
        assert turn.stopped.wait(10)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == QueueFull.code


def receiving(messages: Iterable[str]) -> Request:
    """A request whose client sends these ASGI messages, and then nothing more."""
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        for type_ in left:
            return {"type": type_}
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def test_a_client_that_left_before_its_turn_is_submitted_is_gone() -> None:
    watched = Watched(num_items=0)
    turn: Turn = watched
    engine = FakeEngine()
    engine.open()

    async def ask() -> None:
        with pytest.raises(ClientGone):
            await streams.open_stream(receiving(["http.request", "http.disconnect"]), engine, turn)

    asyncio.run(ask())
    assert not watched.begun.is_set() or watched.stopped.wait(10)
    engine.close()


def test_an_engine_that_outlives_the_event_loop_loses_interest_in_its_job() -> None:
    jobs: list[Job[Turn]] = []
    let_on, delivered = threading.Event(), threading.Event()

    def late(job: Job[Turn]) -> Iterator[Event]:
        jobs.append(job)
        yield "first"
        assert let_on.wait(10)
        yield "late"
        delivered.set()
        yield Done()

    engine = FakeEngine()
    engine.open()

    async def ask() -> None:
        await streams.open_stream(receiving([]), engine, late)

    asyncio.run(ask())
    assert not jobs[0].cancelled
    let_on.set()
    assert delivered.wait(10)
    assert jobs[0].cancelled
    engine.close()


def test_heartbeats_are_comments_at_least_every_fifteen_seconds() -> None:
    async def made() -> Any:
        stream = streams.Stream(receiving([]))
        try:
            return streams.sse(stream, Frames(), stop_timeout_s=1)
        finally:
            stream.close()

    response = asyncio.run(made())
    assert response.ping_interval <= 15
    assert response.ping_message_factory().encode() == b": ping\n\n"
