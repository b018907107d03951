"""Counters and histograms: how much the server did, how long it took, who waits; as Prometheus reads it.

The engines count from their own threads, once for a request, a sentence or a batch, never for a token. What
is true now (who waits, who runs) is asked of them when the numbers are read.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# Else a second line for every counter, with the time when it was made; a switch for the whole process.
disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "openai_api"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# Label of every path and method that the API does not know: they are the client's to invent.
OTHER = "other"
REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
# What becomes of a sentence with a fault.
Remedy = Literal["said again", "cut", "left as it is"]
REMEDIES: tuple[Remedy, ...] = ("said again", "cut", "left as it is")


class Counted(Protocol):
    """An engine, as far as it is counted. Any thread may read it."""

    name: str

    @property
    def num_waiting(self) -> int:
        """Requests that it has not begun with."""

    @property
    def num_running(self) -> int:
        """Requests that it works at."""

    @property
    def num_refused(self) -> int:
        """Requests that found no place to wait, since the start."""


class Metrics:
    """The numbers of one server. Any thread may call any of it, and waits for nobody."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # gives nothing where there is no /proc
        self._requests = self._counter(
            "http_requests",
            "Requests answered, by method, route and status",
            "method",
            "route",
            "status",
        )
        self._request_s = self._histogram(
            "http_request_duration_seconds",
            "Seconds from a request to the end of its answer, a stream's too; by method and route",
            REQUEST_S,
            *("method", "route"),
        )
        self._model_loads = self._counter(
            "model_loads", "Models loaded into memory, by engine", "engine"
        )
        self._define_chat()
        self._define_audio()

    def _define_chat(self) -> None:
        self._prompt_tokens = self._counter(
            "chat_prompt_tokens", "Tokens of the prompts that were begun, those from the cache too"
        )
        self._cached_tokens = self._counter(
            "chat_cached_prompt_tokens", "Tokens of prompts that were known from earlier ones"
        )
        self._completion_tokens = self._counter(
            "chat_completion_tokens", "Tokens written, those of answers that were broken off too"
        )
        self._first_token_s = self._histogram(
            "chat_time_to_first_token_seconds",
            "Seconds from a request to the first token of its answer, waiting too",
            FIRST_TOKEN_S,
        )
        self._token_s = self._histogram(
            "chat_time_per_output_token_seconds",
            "Seconds for a token after the first, each request's mean",
            TOKEN_S,
        )
        self._embedding_tokens = self._counter(
            "embedding_tokens", "Tokens that were turned into vectors"
        )

    def _define_audio(self) -> None:
        self._speech_pieces = self._counter(
            "speech_pieces",
            "Pieces of text that were spoken, mostly a sentence each; by engine",
            "engine",
        )
        self._speech_characters = self._counter(
            "speech_characters", "Characters of text that were spoken, by engine", "engine"
        )
        self._speech_s = self._counter(
            "speech_seconds", "Seconds of speech made, by engine", "engine"
        )
        self._faults = self._counter(
            "cloning_faults",
            "Faults heard in sentences of cloned voices, by fault and by what was done",
            *("fault", "remedy"),
        )
        self._heard_s = self._counter("transcription_seconds", "Seconds of sound transcribed")

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(name, f"{says}.", labels, namespace=PREFIX, registry=self.registry)

    def _histogram(
        self, name: str, says: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name, f"{says}.", labels, namespace=PREFIX, registry=self.registry, buckets=buckets
        )

    def text(self) -> bytes:
        """All numbers, as CONTENT_TYPE says."""
        return generate_latest(self.registry)

    def watch(self, engines: Iterable[Counted]) -> None:
        """Ask these engines too, whenever the numbers are read."""
        self.registry.register(_Jobs(tuple(engines)))

    # ------------------------------------------------------------ what there is to count

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """A request was answered to the end; `route` is the path's template, if it has one."""
        # Each `/v1` route answers without the `/v1` too: they are one.
        names = (
            method if method in METHODS else OTHER,
            route.removeprefix("/v1") if route else OTHER,
        )
        self._requests.labels(*names, status).inc()
        self._request_s.labels(*names).observe(seconds)

    def loaded(self, engine: str) -> None:
        """An engine that can have several models, or free its one, has loaded one."""
        self._model_loads.labels(engine).inc()

    def wrote(
        self,
        num_prompt_tokens: int,
        num_cached_tokens: int,
        num_completion_tokens: int,
        first_token_s: float | None,
        generation_s: float,
    ) -> None:
        """A chat or completion is over, or was broken off; its first token came after `first_token_s`, if
        there was one, all others within `generation_s` from there."""
        self._prompt_tokens.inc(num_prompt_tokens)
        self._cached_tokens.inc(num_cached_tokens)
        self._completion_tokens.inc(num_completion_tokens)
        if first_token_s is not None:
            self._first_token_s.observe(first_token_s)
        if num_completion_tokens > 1:
            self._token_s.observe(generation_s / (num_completion_tokens - 1))

    def embedded(self, num_tokens: int) -> None:
        """A batch of so many tokens has become vectors."""
        self._embedding_tokens.inc(num_tokens)

    def spoke(self, engine: str, num_chars: int, seconds: float) -> None:
        """A piece of text with so many characters has become so much sound."""
        self._speech_pieces.labels(engine).inc()
        self._speech_characters.labels(engine).inc(num_chars)
        self._speech_s.labels(engine).inc(seconds)

    def heard(self, seconds: float) -> None:
        """So much sound was transcribed."""
        self._heard_s.inc(seconds)

    def expect_faults(self, names: Iterable[str]) -> None:
        """Show these from the start, as 0: a counter that appears with its first fault has not increased."""
        for name in names:
            for remedy in REMEDIES:
                self._faulty(name, remedy)

    def found_fault(self, name: str, remedy: Remedy) -> None:
        """A sentence had a fault, and this was done."""
        self._faulty(name, remedy).inc()

    def _faulty(self, name: str, remedy: Remedy) -> Counter:
        return self._faults.labels(name.lower(), remedy.replace(" ", "_"))


class _Jobs(Collector):
    """Who waits and who runs, asked of the engines."""

    def __init__(self, engines: tuple[Counted, ...]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            f"{PREFIX}_jobs_waiting",
            "Requests not yet begun with, by engine.",
            labels=["engine"],
        )
        running = GaugeMetricFamily(
            f"{PREFIX}_jobs_running", "Requests being worked at, by engine.", labels=["engine"]
        )
        refused = CounterMetricFamily(
            f"{PREFIX}_jobs_refused",
            "Requests refused because too many waited, by engine.",
            labels=["engine"],
        )
        for engine in self._engines:
            labels = [engine.name.replace(" ", "_")]
            waiting.add_metric(labels, engine.num_waiting)
            running.add_metric(labels, engine.num_running)
            refused.add_metric(labels, engine.num_refused)
        yield from (waiting, running, refused)
