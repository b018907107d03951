"""What goes wrong on the wire, on purpose: every failure has its status and OpenAI's shape."""

import asyncio
import io
import json
import os
import signal
import socket
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine_room.encoding import FORMATS
from tests.conftest import Server, running_server

CHAT = "/v1/chat/completions"
SPEECH = "/v1/audio/speech"
HEAR = "/v1/audio/transcriptions"
STORY = [{"role": "user", "content": "Tell me a long story."}]
KEYS = {"message", "type", "param", "code"}


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "hello")
    return file.getvalue()


def checked(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error of an answer that has this status and is in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == KEYS
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        (CHAT, {}, 400, "messages", None),
        (CHAT, {"messages": []}, 400, "messages", None),
        (CHAT, {"messages": "hello"}, 400, "messages", None),
        (CHAT, {"messages": None}, 400, "messages", None),
        (CHAT, {"messages": [{"role": "robot", "content": "x"}]}, 400, "messages.0.role", None),
        (CHAT, {"messages": [{"content": "x"}]}, 400, "messages.0.role", None),
        (CHAT, {"messages": STORY, "model": "nope"}, 404, "model", "model_not_found"),
        (CHAT, {"messages": STORY, "model": "org/name:tag"}, 404, "model", "model_not_found"),
        (CHAT, {"messages": STORY, "model": "tts-1"}, 404, "model", "model_not_found"),
        (CHAT, {"messages": STORY, "temperature": -1}, 400, "temperature", None),
        (CHAT, {"messages": STORY, "temperature": "warm"}, 400, "temperature", None),
        (CHAT, {"messages": STORY, "max_tokens": 0}, 400, "max_tokens", None),
        (CHAT, {"messages": STORY, "n": 1000}, 400, "n", None),
        (CHAT, {"messages": STORY, "top_logprobs": 5}, 400, "top_logprobs", None),
        (
            CHAT,
            {"messages": STORY, "logprobs": True, "top_logprobs": 21},
            400,
            "top_logprobs",
            None,
        ),
        (
            CHAT,
            {"messages": STORY, "logprobs": True, "top_logprobs": -1},
            400,
            "top_logprobs",
            None,
        ),
        (CHAT, {"messages": STORY, "logprobs": "perhaps"}, 400, "logprobs", None),
        (CHAT, {"messages": STORY, "logit_bias": {"99999": 1}}, 400, "logit_bias", None),
        (
            CHAT,
            {"messages": STORY, "stream": True, "logit_bias": {"99999": 1}},
            400,
            "logit_bias",
            None,
        ),
        (CHAT, {"messages": STORY, "logit_bias": {"hello": 1}}, 400, "logit_bias", None),
        (CHAT, {"messages": STORY, "mirostat": 3}, 400, "mirostat", None),
        (CHAT, {"messages": STORY, "typical": 2}, 400, "typical", None),
        (
            CHAT,
            {"messages": STORY, "tool_choice": "required"},
            400,
            "tool_choice",
            None,
        ),
        (
            CHAT,
            {"messages": STORY, "response_format": {"type": "xml"}},
            400,
            "response_format",
            "unsupported_value",
        ),
        (
            CHAT,
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
                ]
            },
            400,
            "messages[0].content",
            "unsupported_value",
        ),
        (
            CHAT,
            {"messages": [{"role": "user", "content": "word " * 10_000}]},
            400,
            "messages",
            "context_length_exceeded",
        ),
        (SPEECH, {}, 400, "input", None),
        (SPEECH, {"input": ""}, 400, "input", None),
        (SPEECH, {"input": " \n"}, 400, "input", None),
        (SPEECH, {"input": "?!… 🙂"}, 400, "input", None),
        (SPEECH, {"input": "a " * 50_000}, 400, "input", None),
        (SPEECH, {"input": "Hi", "voice": "nobody"}, 404, "voice", "voice_not_found"),
        (SPEECH, {"input": "Hi", "voice": "../nova"}, 404, "voice", "voice_not_found"),
        (
            SPEECH,
            {"input": "Hi", "response_format": "midi"},
            400,
            "response_format",
            "unsupported_value",
        ),
        (SPEECH, {"input": "Hi", "speed": 0.1}, 400, "speed", None),
        (SPEECH, {"input": "Hi", "speed": 4.1}, 400, "speed", None),
        (SPEECH, {"input": "Hi", "model": "gpt-4"}, 404, "model", "model_not_found"),
        (SPEECH, {"input": "Hi", "language": "fr"}, 400, "language", "unsupported_language"),
        (SPEECH, {"input": "你好，世界"}, 400, "input", "unsupported_language"),
        (SPEECH, {"input": "Привет, как дела?"}, 400, "input", "unsupported_language"),
        (
            SPEECH,
            {"input": "Guten Tag, wie geht es Ihnen heute?"},
            400,
            "input",
            "unsupported_language",
        ),
        (HEAR, {"model": "whisper-1"}, 400, "input_audio", None),
        (HEAR, {"input_audio": {"data": "%%%"}}, 400, "file", "invalid_audio"),
    ],
)
def test_a_body_that_cannot_be_done_names_what_is_wrong(
    server: Server, path: str, body: object, status: int, param: str, code: str | None
) -> None:
    with server.http() as http:
        error = checked(http.post(path, json=body), status)
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize("path", [CHAT, SPEECH, HEAR])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a": NaN, "b": 1e999}'],
)
def test_a_body_that_is_not_a_json_object_is_a_400(server: Server, path: str, body: bytes) -> None:
    with server.http() as http:
        checked(http.post(path, content=body), 400)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, rb'{"messages":[{"role":"user","content":"\ud83d"}]}'),
        (CHAT, rb'{"messages":[{"role":"user","content":[{"type":"text","text":"\ud83d"}]}]}'),
        (CHAT, rb'{"messages":[{"role":"user","content":"x"}],"model":"\ud83d"}'),
        (SPEECH, rb'{"input":"Hello \ud83d"}'),
        (SPEECH, rb'{"input":"Hello","voice":"\ud83d"}'),
    ],
)
def test_half_a_surrogate_pair_is_a_client_error(server: Server, path: str, body: bytes) -> None:
    with server.http() as http:
        answer = http.post(path, content=body)
    checked(answer, 404 if b'"model"' in body or b'"voice"' in body else 400)


def test_errors_name_what_there_is(server: Server) -> None:
    with server.http() as http:
        voice = http.post(SPEECH, json={"input": "Hi", "voice": "nobody"}).json()["error"]
        form = http.post(SPEECH, json={"input": "Hi", "response_format": "midi"}).json()["error"]
        long = http.post(
            CHAT, json={"messages": [{"role": "user", "content": "word " * 10_000}]}
        ).json()["error"]
    assert "alloy" in voice["message"]
    assert all(name in form["message"] for name in FORMATS)
    assert "8192" in long["message"]
    assert "100" in long["message"]


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\0" * 5000, zipped(), b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"]
)
def test_an_upload_that_is_not_audio_is_a_400(server: Server, data: bytes) -> None:
    with server.http() as http:
        error = checked(http.post(HEAR, files={"file": ("speech.wav", data)}), 400)
    assert (error["param"], error["code"]) == ("file", "invalid_audio")


def test_a_form_without_a_file_is_a_400(server: Server) -> None:
    with server.http() as http:
        error = checked(http.post(HEAR, files={"model": (None, "whisper-1")}), 400)
    assert error["param"] == "file"


@pytest.mark.parametrize("num_bytes", [25_000_001, 60_000_000])
def test_an_upload_over_the_limit_is_a_413(server: Server, num_bytes: int) -> None:
    with server.http() as http:
        error = checked(http.post(HEAR, files={"file": ("x.wav", bytes(num_bytes))}), 413)
    assert error["code"] == "file_too_large"


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("model", "gpt-4", 404),
        ("response_format", "diarized_json", 400),
        ("language", "klingon", 400),
        ("temperature", "hot", 400),
    ],
)
def test_a_wrong_field_of_a_transcription_is_named(
    server: Server, field: str, value: str, status: int
) -> None:
    with server.http() as http:
        speech = http.post(SPEECH, json={"input": "Hello there."}).content
        answer = http.post(HEAR, files={"file": ("x.mp3", speech)}, data={field: value})
    assert checked(answer, status)["param"] == field


def test_silence_is_an_empty_text(server: Server) -> None:
    silence = (
        b"RIFF\x24\xfa\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\xfa\0\0"
    )
    with server.http() as http:
        answer = http.post(HEAR, files={"file": ("x.wav", silence + bytes(64_000))})
    assert answer.status_code == 200
    assert answer.json()["text"] == ""


def test_unknown_routes_and_methods_have_the_error_shape(server: Server) -> None:
    with server.http() as http:
        checked(http.get("/v1/nothing"), 404)
        checked(http.get("/nothing"), 404)
        checked(http.delete("/v1/models"), 405)
        checked(http.get(CHAT), 405)
        checked(http.get("/v1/models/org%2Fname:tag"), 404)
        checked(http.get("/v1/audio/voices/no%2Fbody"), 404)


def test_errors_and_streams_carry_cors_headers(server: Server) -> None:
    page = {"Origin": "http://a-page.example"}
    with server.http() as http:
        answers = [
            http.get("/v1/nothing", headers=page),
            http.post(SPEECH, json={"input": ""}, headers=page),
            http.post(
                CHAT, json={"messages": STORY, "max_tokens": 2, "stream": True}, headers=page
            ),
            http.post(SPEECH, json={"input": "Hi.", "stream": True}, headers=page),
        ]
    assert [answer.headers["access-control-allow-origin"] for answer in answers] == ["*"] * 4


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/health", "/v1/nothing"])
def test_any_preflight_is_answered_and_mirrors_what_it_asks_for(server: Server, path: str) -> None:
    asked = "authorization, content-type, x-stainless-os, dangerously-allow-browser"
    with server.http() as http:
        preflight = http.options(
            path,
            headers={
                "Origin": "http://a-page.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
                "Access-Control-Request-Private-Network": "true",
            },
        )
        bare = http.options(path)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == asked
    assert bare.status_code == 204


def lines_of_a_stream(http: httpx.Client, body: dict[str, Any]) -> list[str]:
    with http.stream("POST", CHAT, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(answer.iter_lines())


def test_a_stream_on_the_wire_is_what_every_reader_takes(server: Server) -> None:
    body = {"messages": STORY, "max_tokens": 5, "stream": True, "n": 2}
    with server.http() as http:
        lines = lines_of_a_stream(http, body)
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith(("data: {", ": ", "data: [DONE]")) or not line for line in lines)
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert len({chunk["id"] for chunk in chunks}) == 1
    for index in (0, 1):
        choices = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        assert choices[-1]["delta"] == {}
        assert choices[-1]["finish_reason"] == "length"
        assert all(choice["finish_reason"] is None for choice in choices[:-1])
    assert all("timings" not in chunk for chunk in chunks[:-1])
    assert chunks[-1]["timings"]["predicted_n"] == 10
    unwelcome = {"type", "event", "message", "detail", "selected_model_id", "usage"}
    assert not any(unwelcome & set(chunk) for chunk in chunks)


@pytest.mark.slow
def test_clients_that_hang_up_do_not_keep_the_server_busy(server: Server) -> None:
    """Each of these would take the model ten seconds or more; together, longer than this test may."""
    body = json.dumps({"messages": STORY, "n": 16, "max_tokens": 1900}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    port = int(server.url.rsplit(":", 1)[1])
    for _ in range(10):  # no stream, before any answer
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head + body)
    with server.http() as http:
        for _ in range(10):  # a stream, after its first words
            request = {"messages": STORY, "n": 16, "max_tokens": 1900, "stream": True}
            with http.stream("POST", CHAT, json=request) as answer:
                next(answer.iter_lines())
        last = http.post(CHAT, json={"messages": STORY, "max_tokens": 1})
    assert last.status_code == 200


@pytest.mark.slow
def test_two_hundred_requests_at_once_are_all_answered(server: Server) -> None:
    async def flood() -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=server.url, timeout=100, limits=limits) as http:
            body = {"messages": STORY, "max_tokens": 1}
            answers = await asyncio.gather(*(http.post(CHAT, json=body) for _ in range(200)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(flood()) == [200] * 200


@pytest.mark.slow
def test_past_the_queue_limit_a_request_is_told_to_come_back(tmp_path: Path) -> None:
    async def flood(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=100) as http:
            body = {"messages": STORY, "max_tokens": 20}
            return await asyncio.gather(*(http.post(CHAT, json=body) for _ in range(20)))

    with running_server(tmp_path, "--max-queued=3") as small:
        answers = asyncio.run(flood(small.url))
    busy = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert checked(busy[0], 429)["code"] == "rate_limit_exceeded"
    assert 0 < int(busy[0].headers["retry-after"]) <= 60


@pytest.mark.slow
def test_a_server_told_to_stop_finishes_the_running_answer_first(tmp_path: Path) -> None:
    body = {"messages": STORY, "max_tokens": 100, "stream": True}
    with running_server(tmp_path) as mortal, mortal.http() as http:
        with http.stream("POST", CHAT, json=body) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            mortal.process.send_signal(signal.SIGTERM)
            rest = list(lines)
        code = mortal.process.wait(timeout=30)
    chunks = [json.loads(line[6:]) for line in [first, *rest] if line.startswith("data: {")]
    assert rest[-2] == "data: [DONE]"
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert not any("error" in chunk for chunk in chunks)
    assert code in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_a_server_told_to_stop_says_so_to_those_it_cannot_finish(tmp_path: Path) -> None:
    """One answer at a time, too long for the time that is left; the others wait."""

    async def crowd(mortal: Server) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=mortal.url, timeout=100) as http:
            whole = {"messages": STORY, "max_tokens": 4000, "n": 16}
            body = {**whole, "stream": True}
            async with http.stream("POST", CHAT, json=body) as running:
                lines = running.aiter_lines()
                await anext(lines)
                waiting = [asyncio.create_task(http.post(CHAT, json=whole)) for _ in range(6)]
                for _ in range(3):  # once these are answered, those before them have arrived
                    await http.get("/health")
                mortal.process.send_signal(signal.SIGTERM)
                rest = [line async for line in lines if line]
            assert json.loads(rest[-2][6:])["error"]["code"] == "overloaded"
            assert rest[-1] == "data: [DONE]"
            return await asyncio.gather(*waiting)

    flags = ("--chat-parallel=1", "--stop-timeout-s=2")
    with running_server(tmp_path, *flags) as mortal:
        answers = asyncio.run(crowd(mortal))
        mortal.process.wait(timeout=30)
    for answer in answers:
        assert checked(answer, 503)["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) <= 60


def test_head_answers_where_get_does_without_a_body(server: Server) -> None:
    with server.http() as http:
        for path in ("/health", "/v1/health", "/v1/models"):
            answer = http.head(path)
            assert (answer.status_code, answer.content) == (200, b"")


def test_a_slash_at_the_end_of_a_list_is_still_the_list(server: Server) -> None:
    with server.http() as http:
        for path in ("/v1/models", "/v1/audio/voices"):
            assert http.get(f"{path}/").json() == http.get(path).json()


def test_a_file_name_that_is_no_text_harms_no_listing(server: Server) -> None:
    strange = [
        server.folder / "voice_clones" / os.fsdecode(b"\xff.wav"),
        server.folder / "models" / os.fsdecode(b"\xff.gguf"),
    ]
    for path in strange:
        path.touch()
    try:
        with server.http() as http:
            assert http.get("/v1/audio/voices").status_code == 200
            assert http.get("/v1/models").status_code == 200
            checked(http.post(SPEECH, json={"input": "Hi", "voice": "zzz"}), 404)
            checked(http.post(CHAT, json={"messages": STORY, "model": "zzz"}), 404)
    finally:
        for path in strange:
            path.unlink()


@pytest.mark.slow
def test_with_keys_every_route_but_health_and_the_audio_lists_wants_one(tmp_path: Path) -> None:
    keys = {"OPENAI_API_KEYS": "one, two"}
    with running_server(tmp_path, environment=keys) as locked, locked.http() as http:
        for path in ("/v1/models", "/models", "/docs", "/openapi.json", "/v1/nothing"):
            assert checked(http.get(path), 401)["code"] == "invalid_api_key"
        assert checked(http.get("/v1/models", headers={"Authorization": "Bearer"}), 401)
        assert checked(http.get("/v1/models", headers={"Authorization": "Bearer tw"}), 401)
        for path in ("/health", "/v1/audio/voices", "/v1/audio/models"):
            assert http.get(path).status_code == 200
        for headers in (
            {"Authorization": "Bearer one"},
            {"Authorization": "bearer two"},
            {"x-api-key": "two"},
            {"api-key": "one"},
        ):
            assert http.get("/v1/models", headers=headers).status_code == 200
        preflight = {"Origin": "http://x", "Access-Control-Request-Method": "POST"}
        assert http.options(CHAT, headers=preflight).status_code == 200


def test_a_server_whose_port_is_taken_says_so_in_a_sentence(server: Server) -> None:
    import subprocess
    import sys

    from tests.conftest import PROJECT_DIR

    port = server.url.rsplit(":", 1)[1]
    second = subprocess.run(
        [sys.executable, "openai_api.py", "--port", port],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"port {port}: Address already in use" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr


# ---------------------------------------------------------------- absurd, and others do not notice


def nested(depth: int, key: str) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"type": "object", key: {"a": inner}}
    return inner


def schema(schema: object) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def function(**fields: object) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **fields}}]}


def called(arguments: object) -> dict[str, Any]:
    call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [{"role": "assistant", "tool_calls": [call]}]}


BRANCHES = [{"properties": {f"k{i}": {"type": "string"}}} for i in range(10_000)]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"messages": [{"role": "user", "content": "word " * 2_000_000}]}, 400),
        ({"messages": [{"role": "user", "content": "é漢🙂" * 1_000_000}]}, 400),
        ({"stop": [f"stop {i}" for i in range(1000)]}, 200),
        (schema({"anyOf": BRANCHES}), 400),
        (schema({"enum": [f"value {i}" for i in range(10_000)]}), 200),
        (schema({"$ref": "#"}), 400),
        (schema({"$ref": "#/$defs/none"}), 400),
        (schema({"type": "string", "pattern": "((a{1,100}){1,100}){1,100}"}), 200),
        (schema({"type": "array", "items": {}, "minItems": 10**9}), 200),
        ({"grammar": 'root ::= root "a"'}, 400),
        ({"grammar": "root ::= root", "stream": True, "n": 3}, 400),
        ({"grammar": 'root ::= "a"{1,1000000}'}, 200),
        ({"grammar": " | ".join(['root ::= "a"', *(f'"{n}"' for n in range(30_000))])}, 400),
        ({"grammar": 'root ::= (("a"{1,1000}){1,1000}){1,1000}'}, 400),
        ({"grammar": "root ::= nowhere"}, 400),
        (function(parameters=True), 400),
        (function(parameters=nested(150, "properties")), 400),
        (function(name=None), 400),
        (function(description=nested(300, "a")), 400),
        (called(nested(300, "a")), 400),
        (called("[" * 1_100), 200),
        (function() | {"tool_choice": 7}, 400),
        (function() | {"tool_choice": {"function": [1]}}, 400),
        ({"chat_template_kwargs": nested(300, "a")}, 200),
        ({"logit_bias": {"99999999": 1}}, 400),
        ({"model": "a" * 10_000_000}, 404),
        ({"temperature": -1}, 400),
        ({"top_k": 10**30}, 400),
    ],
)
def test_what_is_absurd_is_answered_or_refused_while_others_are_written_to(
    server: Server, fields: dict[str, Any], status: int
) -> None:
    body = {"messages": STORY, "max_tokens": 4} | fields
    long = {"messages": STORY, "max_tokens": 40, "stream": True}
    with server.http() as http, http.stream("POST", CHAT, json=long) as running:
        lines = running.iter_lines()
        assert next(lines)
        answer = http.post(CHAT, json=body)
        assert answer.status_code == status, answer.text[:300]
        if status != 200:
            assert 0 < len(answer.json()["error"]["message"]) < 1000
        assert list(lines)[-2:] == ["data: [DONE]", ""]
