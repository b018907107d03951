"""GET /metrics says how much the server did, as Prometheus reads it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine_room.decoding import decode
from engine_room.engines import make_engines
from engine_room.metrics import Metrics
from engine_room.settings import Settings
from tests.conftest import Server, running_server
from tests.test_clips import speech, wav

CHAT: dict[str, Any] = {
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "max_tokens": 8,
}


class Numbers:
    """What /metrics said at one moment."""

    def __init__(self, http: httpx.Client) -> None:
        answer = http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = answer.text
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float:
        return self._values.get((name, frozenset(labels.items())), 0)


class Watch:
    """What has been counted since it was made."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._before = Numbers(http)

    def more(self, name: str, **labels: str) -> float:
        return self.of(name, **labels) - self._before.of(f"openai_api_{name}", **labels)

    def of(self, name: str, **labels: str) -> float:
        return Numbers(self._http).of(f"openai_api_{name}", **labels)

    def comes_to(self, value: float, name: str, **labels: str) -> bool:
        """Whether a number gets there within the next thousand looks: the engine may take a step yet."""
        return any(self.of(name, **labels) == value for _ in range(1000))


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.http() as http:
        yield http


def test_a_chat_counts_the_tokens_that_its_usage_says(
    client: openai.OpenAI, http: httpx.Client
) -> None:
    watch = Watch(http)
    usages = [http.post("/v1/chat/completions", json=CHAT).json()["usage"] for _ in range(2)]
    prompt = sum(usage["prompt_tokens"] for usage in usages)
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    assert cached > 0
    assert watch.more("chat_prompt_tokens_total") == prompt
    assert watch.more("chat_cached_prompt_tokens_total") == cached
    assert watch.more("chat_completion_tokens_total") == 16
    for name in ("chat_time_to_first_token_seconds", "chat_time_per_output_token_seconds"):
        assert watch.more(f"{name}_count") == 2
        assert watch.more(f"{name}_sum") > 0
    assert watch.of("model_loads_total", engine="chat") >= 1


def test_both_ways_to_a_route_are_one(http: httpx.Client) -> None:
    watch = Watch(http)
    voices = "/v1/audio/voices/nova /audio/voices/echo /v1/audio/voices/nobody".split()
    for path in (*voices, "/v1/health", "/health"):
        http.get(path)
    labels = {"method": "GET", "route": "/audio/voices/{voice_id}"}
    assert watch.more("http_requests_total", **labels, status="200") == 2
    assert watch.more("http_requests_total", **labels, status="404") == 1
    assert watch.more("http_request_duration_seconds_count", **labels) == 3
    assert watch.more("http_requests_total", method="GET", route="/health", status="200") == 2


def test_paths_that_are_no_route_are_one_and_not_named(http: httpx.Client) -> None:
    watch = Watch(http)
    for number in range(20):
        http.get(f"/v1/strange/{number}")
    assert watch.more("http_requests_total", method="GET", route="other", status="404") == 20
    assert "strange" not in Numbers(http).text


def test_a_body_that_is_refused_is_counted_for_its_route(http: httpx.Client) -> None:
    watch = Watch(http)
    http.post("/v1/chat/completions", content=b"{")
    labels = {"method": "POST", "route": "/chat/completions"}
    assert watch.more("http_requests_total", **labels, status="400") == 1


def test_an_answer_under_way_runs_and_what_a_client_left_is_counted(http: httpx.Client) -> None:
    watch = Watch(http)
    endless = CHAT | {"stream": True, "max_tokens": 4000, "logit_bias": {"2": -100}}
    with http.stream("POST", "/v1/chat/completions", json=endless) as stream:
        assert next(stream.iter_lines())
        assert watch.of("jobs_running", engine="chat") == 1
        assert watch.of("jobs_waiting", engine="chat") == 0
    assert watch.comes_to(0, "jobs_running", engine="chat")
    assert 0 < watch.more("chat_completion_tokens_total") < 4000
    assert watch.more("chat_prompt_tokens_total") > 0


def test_speech_counts_its_characters_and_its_seconds_and_transcription_what_it_heard(
    http: httpx.Client,
) -> None:
    watch = Watch(http)
    body = {"model": "tts-1", "voice": "nova", "input": "Hello there.", "response_format": "wav"}
    data = http.post("/v1/audio/speech", json=body).content
    seconds = decode(data, 24_000).duration_s
    labels = {"engine": "speech"}
    assert watch.more("speech_pieces_total", **labels) == 1
    assert watch.more("speech_characters_total", **labels) == len("Hello there.")
    assert watch.more("speech_seconds_total", **labels) == pytest.approx(seconds, abs=0.01)
    files = {"file": ("speech.wav", data)}
    http.post("/v1/audio/transcriptions", files=files, data={"model": "whisper-1"})
    assert watch.more("transcription_seconds_total") == pytest.approx(seconds, abs=0.01)


@pytest.mark.slow
def test_a_request_refused_because_too_many_wait_is_counted_for_its_engine(tmp_path: Path) -> None:
    with running_server(tmp_path, "--max-queued=1") as small, small.http() as http:
        sound = wav(speech(5))

        def ask(_: int) -> int:
            files = {"file": ("speech.wav", sound)}
            return http.post("/v1/audio/transcriptions", files=files).status_code

        with ThreadPoolExecutor(8) as clients:
            statuses = list(clients.map(ask, range(8)))
        num_refused = statuses.count(429)
        assert num_refused > 0
        numbers = Numbers(http)
        assert numbers.of("openai_api_jobs_refused_total", engine="transcription") == num_refused
        assert numbers.of("openai_api_jobs_refused_total", engine="chat") == 0
        labels = {"method": "POST", "route": "/audio/transcriptions", "status": "429"}
        assert numbers.of("openai_api_http_requests_total", **labels) == num_refused


def test_the_memory_of_the_process_is_said(http: httpx.Client) -> None:
    assert Numbers(http).of("process_resident_memory_bytes") > 10_000_000


def test_each_server_has_numbers_of_its_own() -> None:
    settings = Settings(_env_file=None)
    one, other = (make_engines(settings).metrics for _ in range(2))
    one.heard(3)
    name = "openai_api_transcription_seconds_total"
    values = [metrics.registry.get_sample_value(name) for metrics in (one, other)]
    assert values == [3, 0]


def test_an_answer_of_one_token_has_no_time_per_token_and_one_of_none_no_first() -> None:
    metrics = Metrics()
    metrics.wrote(10, 0, 1, first_token_s=0.5, generation_s=0)
    metrics.wrote(10, 0, 0, first_token_s=None, generation_s=0)
    metrics.wrote(10, 0, 5, first_token_s=0.5, generation_s=2)
    value = metrics.registry.get_sample_value
    assert value("openai_api_chat_time_to_first_token_seconds_count") == 2
    assert value("openai_api_chat_time_per_output_token_seconds_count") == 1
    assert value("openai_api_chat_time_per_output_token_seconds_sum") == 0.5
