"""The door lets requests in with an id, a key where one is set, and a body of bearable size."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine_room.door import App, Door, Message, Receive, Send
from engine_room.errors import InvalidRequest
from engine_room.metrics import Metrics
from engine_room.settings import Settings


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """An app that answers with what it got; `/fault` and `/late-fault` break, `/wrong` refuses."""
    if scope["path"] == "/fault":
        raise ZeroDivisionError("secret detail")
    if scope["path"] == "/wrong":
        raise InvalidRequest("No.", param="x")
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    payload = json.dumps({"size": len(body), "type": headers.get("content-type")}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/late-fault":
        raise ZeroDivisionError
    await send({"type": "http.response.body", "body": payload})


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **{"openai_api_keys": (), **changes})


def request(
    method: str,
    path: str,
    used: Settings,
    metrics: Metrics | None = None,
    app: App = echo,
    **options: Any,
) -> httpx.Response:
    """One request through a door with these settings."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Door(app, used, metrics))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def test_every_answer_has_an_id_of_its_own_errors_too() -> None:
    paths = ("/v1/models", "/wrong", "/fault")
    ids = {request("GET", path, settings()).headers["x-request-id"] for path in paths}
    assert len(ids) == 3
    assert all(id_.startswith("req_") for id_ in ids)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer DUMMY_KEY"},
        {"Authorization": "Basic eDp5"},
        {"x-api-key": "junk"},
        {"api-key": "junk"},
    ],
)
def test_without_a_configured_key_any_key_or_none_is_accepted(headers: dict[str, str]) -> None:
    assert request("GET", "/v1/models", settings(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer second"},
        {"Authorization": "bearer  second "},
        {"Authorization": "second"},
        {"x-api-key": "second"},
        {"api-key": "first"},
    ],
)
def test_a_configured_key_is_accepted_in_every_usual_header(headers: dict[str, str]) -> None:
    used = settings(openai_api_keys=("first", "second"))
    assert request("GET", "/v1/models", used, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer secon"},
        {"Authorization": "Bearer second2"},
        {"Authorization": "Bearer first,second"},
        {"Authorization": "Bearer SECOND"},
        {"x-api-key": ""},
    ],
)
def test_a_wrong_or_missing_key_is_401_in_the_error_shape(headers: dict[str, str]) -> None:
    used = settings(openai_api_keys=("first", "second"))
    answer = request("GET", "/v1/models", used, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["content-type"] == "application/json"


def test_a_form_stays_a_form_however_its_type_is_written() -> None:
    sent = {"Content-Type": "Multipart/Form-Data; boundary=x"}
    answer = request("POST", "/", settings(), headers=sent, content=b"x")
    assert answer.json()["type"] == "Multipart/Form-Data; boundary=x"


@pytest.mark.parametrize(
    "path", ["/v1/models", "/docs", "/metrics", "/pages", "/v1/audio/voices/alloy", "/healthy"]
)
def test_with_a_key_configured_other_paths_are_closed(path: str) -> None:
    assert request("GET", path, settings(openai_api_keys=("k",))).status_code == 401


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/page/vendor/marked.js"])
def test_the_page_is_open_without_a_key_to_read_only(path: str) -> None:
    assert request("GET", path, settings(openai_api_keys=("k",))).status_code == 200
    assert request("POST", path, settings(openai_api_keys=("k",))).status_code == 401


@pytest.mark.parametrize("path", ["/v1/audio/voices", "/v1/audio/models", "/audio/voices/"])
def test_the_audio_lists_stay_open_unless_a_setting_closes_them(path: str) -> None:
    assert request("GET", path, settings(openai_api_keys=("k",))).status_code == 200
    closed = settings(openai_api_keys=("k",), open_audio_lists=False)
    assert request("GET", path, closed).status_code == 401
    assert request("GET", "/health", closed).status_code == 200


def test_what_changes_something_is_behind_the_key_although_its_list_is_open() -> None:
    locked = settings(openai_api_keys=("k",))
    assert request("POST", "/v1/audio/voices", locked).status_code == 401
    key = {"Authorization": "Bearer k"}
    assert request("POST", "/v1/audio/voices", locked, headers=key).status_code == 200


def test_a_strange_page_may_speak_here_but_not_add_a_voice() -> None:
    page = {"Origin": "http://evil.example"}
    assert request("POST", "/v1/audio/speech", settings(), headers=page).status_code == 200
    answer = request("POST", "/v1/audio/voices", settings(), headers=page)
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    trusting = settings(trusted_origins=("http://evil.example",))
    assert request("POST", "/v1/audio/voices", trusting, headers=page).status_code == 200


def test_an_options_request_needs_no_key() -> None:
    answer = request("OPTIONS", "/v1/models", settings(openai_api_keys=("k",)))
    assert answer.status_code == 204


def test_a_fault_of_ours_is_a_500_that_tells_nothing_but_the_log_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = request("GET", "/fault", settings())
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.headers["x-should-retry"] == "false"
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text


def test_an_error_with_an_answer_for_the_client_is_that_answer() -> None:
    answer = request("GET", "/wrong", settings())
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "param": "x",
        "code": None,
    }


def test_a_fault_after_the_headers_is_not_answered_a_second_time() -> None:
    with pytest.raises(ZeroDivisionError):
        request("GET", "/late-fault", settings())


def test_a_body_over_the_limit_is_413_and_one_at_the_limit_is_not() -> None:
    used = settings(max_upload_bytes=3_000_000)
    largest = 3_000_000 * 4 // 3 + 1_000_000  # base64 in JSON, and the other fields
    answer = request("POST", "/v1/audio/transcriptions", used, content=bytes(largest))
    assert answer.json()["size"] == largest
    answer = request("POST", "/v1/audio/transcriptions", used, content=bytes(largest + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "file_too_large"
    assert "3,000,000 bytes" in answer.json()["error"]["message"]


def test_the_limit_holds_without_a_content_length_and_the_body_is_read_to_its_end() -> None:
    num_sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal num_sent
        for _ in range(30):
            num_sent += 100_000
            yield bytes(100_000)

    answer = request("POST", "/", settings(max_upload_bytes=1), content=chunks())
    assert answer.status_code == 413
    assert num_sent == 3_000_000


@pytest.mark.parametrize(
    "sent", [None, "text/plain", "application/x-www-form-urlencoded", "application/json", ""]
)
def test_a_body_of_an_odd_type_is_read_as_json(sent: str | None) -> None:
    headers = {} if sent is None else {"Content-Type": sent}
    answer = request("POST", "/v1/chat/completions", settings(), content=b"{}", headers=headers)
    assert answer.json()["type"] == "application/json"


def test_a_form_stays_a_form() -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = request("POST", "/v1/audio/transcriptions", settings(), content=b"", headers=headers)
    assert answer.json()["type"] == "multipart/form-data; boundary=x"


def count(metrics: Metrics, **labels: str) -> float | None:
    return metrics.registry.get_sample_value("openai_api_http_requests_total", labels)


def test_what_is_answered_here_is_counted_too_and_words_of_the_client_are_no_labels() -> None:
    metrics = Metrics()
    locked = settings(openai_api_keys=("k",))
    key = {"Authorization": "Bearer k"}
    request("GET", "/a", locked, metrics)
    request("GET", "/b", locked, metrics)
    request("BREW", "/c", locked, metrics, headers=key)
    request("GET", "/wrong", locked, metrics, headers=key)
    request("GET", "/fault", locked, metrics, headers=key)
    assert count(metrics, method="GET", route="other", status="401") == 2
    assert count(metrics, method="other", route="other", status="200") == 1
    assert count(metrics, method="GET", route="other", status="400") == 1
    assert count(metrics, method="GET", route="other", status="500") == 1


def test_a_stream_is_counted_when_it_has_ended() -> None:
    metrics, counts = Metrics(), []

    async def stream(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"...", "more_body": True})
        counts.append(count(metrics, method="GET", route="other", status="200"))
        await send({"type": "http.response.body", "body": b"."})

    request("GET", "/", settings(), metrics, app=stream)
    counts.append(count(metrics, method="GET", route="other", status="200"))
    assert counts == [None, 1]


def test_what_is_not_http_passes_untouched(tmp_path: Path) -> None:
    seen: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError("not called")

    asyncio.run(Door(app, settings(openai_api_keys=("k",)))({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]
