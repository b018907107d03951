"""What clients were told of failures is kept: the newest, and each with its request."""

from collections.abc import Iterator

import httpx
import pytest

from engine_room.failures import NUM_KEPT, Failures, told
from tests.conftest import Server


def test_the_newest_failures_are_kept_the_newest_first() -> None:
    failures = Failures()
    for number in range(NUM_KEPT + 5):
        failures.note("GET", f"/{number}", 404, f"req_{number}", "Nothing there.")
    kept = failures.latest()
    assert len(kept) == NUM_KEPT
    assert [kept[0].path, kept[-1].path] == [f"/{NUM_KEPT + 4}", "/5"]


@pytest.mark.parametrize(
    ("status", "block", "expected"),
    [
        (404, b'{"error": {"message": "No voice."}}', "No voice."),
        (200, b'data: {"error":{"message":"Out of memory."}}\n\n', "Out of memory."),
        (200, b'{"error": {"message": "said by a model"}}', None),
        (200, b'data: {"choices":[]}\n\n', None),
        (500, b"", None),
        (502, b"no JSON", None),
        (400, b'{"error": "text"}', None),
        (400, b"[]", None),
    ],
)
def test_a_failure_is_told_by_its_block(status: int, block: bytes, expected: str | None) -> None:
    assert told(status, block) == expected


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.http() as http:
        yield http


def test_the_server_lists_what_failed(http: httpx.Client) -> None:
    body = {"input": "Hello", "voice": "nobody-of-this-name"}
    failed = http.post("/v1/audio/speech", json=body)
    newest = http.get("/errors").json()["data"][0]
    assert "nobody-of-this-name" in newest["message"]
    assert newest["message"] == failed.json()["error"]["message"]
    assert newest["request_id"] == failed.headers["x-request-id"]
    where = (newest["method"], newest["path"], newest["status"])
    assert where == ("POST", "/v1/audio/speech", 404)


def test_what_the_door_refuses_is_listed_too(http: httpx.Client) -> None:
    http.get("/no-such-route")
    assert http.get("/errors").json()["data"][0]["path"] == "/no-such-route"
