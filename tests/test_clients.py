"""What Open WebUI and SillyTavern send, as read off the wire, against the running server."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import Server

SENTENCE = "The train leaves at seven in the morning."


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    """A plain client with the base URL that users type in."""
    with httpx.Client(base_url=f"{server.url}/v1", timeout=100) as client:
        yield client


@pytest.fixture(scope="module")
def speech(http: httpx.Client) -> bytes:
    """A spoken sentence."""
    return http.post("/audio/speech", json={"input": SENTENCE, "voice": "nova"}).content


def tools(description: str = f"Look for it. {'-' * 590}") -> list[Any]:
    """28 tools, of 21 kB as Open WebUI's browser chat sends them; its rules are few tokens, soon read."""
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}}
    return [
        {
            "type": "function",
            "function": {
                "name": f"search_{number}",
                "description": description,
                "parameters": parameters,
            },
        }
        for number in range(28)
    ]


def test_open_webui_sends_28_tools_without_a_choice_and_gets_text(http: httpx.Client) -> None:
    body = {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Tell me a long story."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
        "temperature": 0,
        "tools": tools(),
        "metadata": {"chat_id": "1"},
        "unknown_field": None,
    }
    assert len(json.dumps(body["tools"])) > 21_000
    lines = http.post("/chat/completions", json=body).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1])
    assert chunks[-1]["usage"]["completion_tokens"] == 5


def test_open_webui_sends_a_chat_its_title_tags_and_follow_ups_at_once(http: httpx.Client) -> None:
    def ask(task: str) -> int:
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": task}], "max_tokens": 10}
        return http.post("/chat/completions", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, ["chat", "title", "tags", "follow-ups"])) == [200] * 4


def test_open_webui_lists_voices_and_speech_models_with_id_and_name(http: httpx.Client) -> None:
    voices = http.get("/audio/voices").json()["voices"]
    models = http.get("/audio/models").json()["models"]
    assert all(item["id"] and item["name"] for item in [*voices, *models])


def test_open_webui_asks_for_speech_without_a_format_and_gets_mp3(http: httpx.Client) -> None:
    answer = http.post("/audio/speech", json={"model": "tts-1", "input": "Hi.", "voice": "alloy"})
    assert answer.headers["content-type"] == "audio/mpeg"


def test_open_webui_uploads_in_chunks_as_octet_stream(http: httpx.Client, speech: bytes) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="recording.wav"\r\n'
    kind = b"Content-Type: application/octet-stream\r\n\r\n"
    tail = b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
    answer = http.post(
        "/audio/transcriptions",
        content=iter([head + kind, speech, tail]),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert "train" in answer.json()["text"]


def test_open_webui_can_upload_base64_in_json(http: httpx.Client, speech: bytes) -> None:
    audio = {"data": base64.b64encode(speech).decode(), "format": "webm"}
    answer = http.post("/audio/transcriptions", json={"model": "whisper-1", "input_audio": audio})
    assert "train" in answer.json()["text"]


def test_base64_may_be_a_data_url_and_have_line_breaks(http: httpx.Client, speech: bytes) -> None:
    data = "data:audio/mpeg;base64," + base64.encodebytes(speech).decode()
    answer = http.post("/audio/transcriptions", json={"input_audio": {"data": data}})
    assert "train" in answer.json()["text"]


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer DUMMY_KEY", "Basic eDp5", "junk"]
)
def test_without_a_key_set_any_authorization_is_welcome(
    http: httpx.Client, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    assert http.get("/models", headers=headers).status_code == 200


def test_silly_tavern_sends_its_roles_in_any_order_and_its_own_sampler_names(
    http: httpx.Client,
) -> None:
    body = {
        "model": "gpt-4",
        "messages": [
            {"role": "assistant", "content": "Welcome, traveller."},
            {"role": "system", "content": "You are an innkeeper."},
            {"role": "user", "content": "Hello!", "name": "Anna"},
            {"role": "user", "content": "Are you there?"},
            {"role": "system", "content": "Answer shortly."},
            {"role": "developer", "content": "Be kind."},
            {"role": "tool", "content": "12", "tool_call_id": "a"},
            {"role": "function", "content": "13", "name": "f"},
            {"role": "assistant", "content": None},
        ],
        "temperature": 1.2,
        "max_tokens": 5,
        "stream": False,
        "n": 2,
        "seed": -1,
        "top_k": 0,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "stop": [],
        "logit_bias": {},
        "logprobs": None,
    }
    answer = http.post("/chat/completions", json=body, headers={"Authorization": "Bearer"}).json()
    assert len(answer["choices"]) == 2
    assert answer["usage"]["completion_tokens"] <= 10


def test_every_optional_field_may_be_null(http: httpx.Client) -> None:
    chat = {
        "messages": [{"role": "user", "content": "Hi", "name": None, "tool_calls": None}],
        "max_completion_tokens": 2,
    }
    names = "model max_tokens temperature top_p top_k seed stop n stream stream_options tools tool_choice"
    more = " response_format logprobs top_logprobs user presence_penalty frequency_penalty"
    body = chat | dict.fromkeys((names + more).split())
    assert http.post("/chat/completions", json=body).json()["usage"]["completion_tokens"] <= 2
    speech = dict.fromkeys(
        ["model", "voice", "response_format", "speed", "stream", "instructions", "language"]
    )
    assert http.post("/audio/speech", json={"input": "Hi.", **speech}).status_code == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_json_without_its_content_type_is_read(http: httpx.Client, content_type: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})
    answer = http.post("/chat/completions", content=body, headers={"Content-Type": content_type})
    assert answer.json()["object"] == "chat.completion"


def test_the_routes_answer_without_v1_too(server: Server) -> None:
    with server.http() as http:
        assert http.get("/models").json() == http.get("/v1/models").json()
        assert http.get("/audio/voices").status_code == 200
