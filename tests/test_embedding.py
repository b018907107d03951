"""The embedding engine with tiny models of random weights, and through the official client on the real
server: many requests at a time, every way to end, and a model that is dropped in while it runs."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import gguf
import httpx
import numpy as np
import openai
import pytest

from engine_room.catalogue import EmbeddingFile
from engine_room.embedding import MAX_OPEN, Asked, Embeddings, embedding_engine
from engine_room.embedding_llama import MAX_BATCH_TOKENS
from engine_room.embedding_turn import EmbeddingResult, EmbeddingTurn, Input
from engine_room.errors import ApiError, InternalError, InvalidRequest, ShuttingDown, Unavailable
from engine_room.jobs import Done, Engine, Event, Failed, Inbox, Job, MemoryTurn, Status
from engine_room.metrics import Metrics
from engine_room.settings import Settings
from tests.conftest import Server, running_server
from tests.embedding_models import CONTEXT_TOKENS, WIDTH, write_bert, write_causal
from tests.test_bad_input import checked

ROUTE = "/v1/embeddings"
TEXTS = ["hello world", "x", "zz top " * 20, "Was it a cat I saw?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedding engine")


@pytest.fixture(scope="module")
def bert(folder: Path) -> EmbeddingFile:
    return EmbeddingFile("bert", write_bert(folder / "bert.gguf"))


@pytest.fixture(scope="module")
def causal(folder: Path) -> EmbeddingFile:
    return EmbeddingFile("causal", write_causal(folder / "causal.gguf"))


@pytest.fixture
def engine() -> Iterator[Engine[EmbeddingTurn]]:
    engine = embedding_engine(Settings(_env_file=None))
    engine.open()
    yield engine
    engine.close()


def last_of(engine: Engine[EmbeddingTurn], *turns: EmbeddingTurn) -> list[Event]:
    """The one event of each turn, all submitted at once."""
    queues: list[SimpleQueue[Event]] = [SimpleQueue() for _ in turns]
    for turn, events in zip(turns, queues, strict=True):
        engine.submit(turn, events.put)
    return [events.get(timeout=60) for events in queues]


def result(event: Event) -> EmbeddingResult:
    assert isinstance(event, Done), event
    assert isinstance(event.result, EmbeddingResult)
    return event.result


def error(event: Event) -> ApiError:
    assert isinstance(event, Failed), event
    return event.error


def texts(*given: str) -> list[Input]:
    return list(given)


# ---------------------------------------------------------------- the engine


def test_it_is_ready_before_any_model_is_loaded(
    engine: Engine[EmbeddingTurn], tmp_path: Path
) -> None:
    nowhere = EmbeddingFile("gone", tmp_path / "gone.gguf")
    assert isinstance(error(*last_of(engine, EmbeddingTurn(nowhere, ["a"]))), Unavailable)
    assert engine.status == Status("ready")


def test_a_turn_gets_a_vector_for_each_input_in_their_order(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile
) -> None:
    together = result(*last_of(engine, EmbeddingTurn(bert, texts(*TEXTS))))
    alone = [result(event) for event in last_of(engine, *(EmbeddingTurn(bert, [t]) for t in TEXTS))]
    assert together.vectors.shape == (len(TEXTS), WIDTH)
    for vector, single in zip(together.vectors, alone, strict=True):
        assert vector @ single.vectors[0] == pytest.approx(1, abs=1e-5)
    assert together.num_tokens == sum(single.num_tokens for single in alone)


def test_fewer_dimensions_are_the_first_ones_of_length_one_again(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile
) -> None:
    whole, cut = (
        result(event).vectors[0]
        for event in last_of(
            engine, EmbeddingTurn(bert, ["hello"]), EmbeddingTurn(bert, ["hello"], 10)
        )
    )
    assert cut == pytest.approx(whole[:10] / np.linalg.norm(whole[:10]), abs=1e-5)


def test_more_dimensions_than_there_are_is_refused_with_both_numbers(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile
) -> None:
    found = error(*last_of(engine, EmbeddingTurn(bert, ["hello"], 65)))
    assert isinstance(found, InvalidRequest)
    assert found.param == "dimensions"
    assert "65 are asked" in found.message
    assert "have 64" in found.message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("x " * 1199, "1,201 tokens, but bert takes 1,200"),
        ("x" * 120_001, "4,802 tokens in its first 4,800 characters, but bert takes 1,200"),
        ([7] * 1300, "1,302 tokens, but bert takes 1,200"),
        ([7, 195], "no token 195; bert has 195"),
    ],
)
def test_an_input_too_long_or_of_unknown_tokens_is_refused_with_its_place(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile, given: Input, message: str
) -> None:
    alone, third = last_of(
        engine, EmbeddingTurn(bert, [given]), EmbeddingTurn(bert, ["a", "b", given])
    )
    assert message in error(alone).message
    assert (error(alone).param, error(third).param) == ("input", "input.2")


def test_an_input_as_long_as_the_model_knows_is_read(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile, causal: EmbeddingFile
) -> None:
    turns = [EmbeddingTurn(file, [[20] * (CONTEXT_TOKENS - 2)]) for file in (bert, causal)]
    assert [result(event).num_tokens for event in last_of(engine, *turns)] == [1200, 1199]


def test_a_text_of_many_characters_and_few_tokens_is_read(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile
) -> None:
    spaced = "hello" + " " * 1_000_000 + "world"
    first, second = last_of(
        engine, EmbeddingTurn(bert, [spaced]), EmbeddingTurn(bert, ["hello world"])
    )
    assert result(first).num_tokens == 4
    assert result(first).vectors[0] @ result(second).vectors[0] == pytest.approx(1, abs=1e-5)


def test_a_text_that_is_slow_to_tokenize_is_refused_at_once(
    engine: Engine[EmbeddingTurn], causal: EmbeddingFile
) -> None:
    started = time.monotonic()
    found = error(*last_of(engine, EmbeddingTurn(causal, ["漢" * 400_000])))
    assert found.code == "context_length_exceeded"
    assert time.monotonic() - started < 5


def test_turns_for_several_models_are_each_answered_by_their_own(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile, causal: EmbeddingFile
) -> None:
    turns = [EmbeddingTurn(file, ["hello"]) for file in (bert, causal) * 4]
    vectors = [result(event).vectors[0] for event in last_of(engine, *turns)]
    for first, again in zip(vectors, vectors[2:], strict=False):
        assert first @ again == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] < 0.9


class Steps:
    """An engine's inside, taken step by step."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.inside = Embeddings(metrics=self.metrics)
        self.inbox: Inbox[Asked] = Inbox("embeddings", 256)
        self.inside._inbox = self.inbox
        self.ended: list[tuple[str, Event]] = []

    def put(self, name: str, turn: Asked) -> Job[Asked]:
        job: Job[Asked] = Job(turn, lambda event: self.ended.append((name, event)))
        self.inbox.put(job)
        return job

    def step(self) -> list[str]:
        """Those that ended in the next step."""
        before = len(self.ended)
        self.inside._jobs += self.inbox.take(MAX_OPEN, wait=False)
        self.inside.step()
        return [name for name, _ in self.ended[before:]]


@pytest.fixture
def steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.inside._unload()


def test_a_model_is_freed_when_its_work_is_done_and_another_ones_wish_changes_nothing(
    steps: Steps, bert: EmbeddingFile, causal: EmbeddingFile
) -> None:
    steps.put("load", MemoryTurn(bert))
    assert steps.step() == ["load"]
    steps.put("library", EmbeddingTurn(bert, [[20] * 298] * 10))
    steps.put("again", MemoryTurn(bert))
    steps.put("other", MemoryTurn(causal, is_to_stay=False))
    assert steps.step() == ["again"]
    ended = [name for _ in range(12) for name in steps.step()]
    assert ended == ["library", "other"]
    assert steps.inside._file == bert
    steps.put("unload", MemoryTurn(bert, is_to_stay=False))
    assert steps.step() == ["unload"]
    assert steps.inside._file is None
    assert all(isinstance(event, Done) for _, event in steps.ended)


def test_a_question_is_answered_while_a_library_is_read(steps: Steps, bert: EmbeddingFile) -> None:
    steps.put("library", EmbeddingTurn(bert, [[20] * 298] * 10))
    assert steps.step() == []
    steps.put("question", EmbeddingTurn(bert, ["where is it?"]))
    assert steps.step() == ["question"]  # beside the library's second
    ended = [name for _ in range(8) for name in steps.step()]
    assert ended == ["library"]
    assert result(steps.ended[-1][1]).num_tokens == 3000


def test_tokens_are_counted_as_they_are_read_and_models_as_they_are_loaded(
    steps: Steps, bert: EmbeddingFile, causal: EmbeddingFile
) -> None:
    def counted() -> list[float | None]:
        count = steps.metrics.registry.get_sample_value
        tokens = count("openai_api_embedding_tokens_total")
        return [tokens, count("openai_api_model_loads_total", {"engine": "embeddings"})]

    steps.put("first", EmbeddingTurn(bert, [[20] * 298] * 10))
    steps.put("second", EmbeddingTurn(causal, [[20] * 4]))
    assert (steps.inbox.num_waiting, steps.inbox.num_running) == (2, 0)
    steps.step()
    tokens, loads = counted()
    assert tokens is not None
    assert 0 < tokens < 3000
    assert loads == 1
    assert (steps.inbox.num_waiting, steps.inbox.num_running) == (1, 1)
    while len(steps.ended) < 2:
        steps.step()
    assert counted() == [3000 + 5, 2]  # with what the models put around an input
    assert (steps.inbox.num_waiting, steps.inbox.num_running) == (0, 0)


def test_several_requests_share_a_batch(steps: Steps, bert: EmbeddingFile) -> None:
    for name in "abcd":
        steps.put(name, EmbeddingTurn(bert, [name, name * 2]))
    assert sorted(steps.step()) == ["a", "b", "c", "d"]


def test_a_batch_holds_no_more_tokens_than_it_may(steps: Steps, bert: EmbeddingFile) -> None:
    half = [20] * (MAX_BATCH_TOKENS // 2 - 2)
    steps.put("a", EmbeddingTurn(bert, [half, half, half, half]))
    assert steps.step() == []
    assert steps.step() == ["a"]


def test_a_cancelled_request_ends_at_the_next_step_and_the_others_lose_nothing(
    steps: Steps, bert: EmbeddingFile, causal: EmbeddingFile
) -> None:
    gone = steps.put("gone", EmbeddingTurn(bert, [[20] * 298] * 100))
    steps.put("kept", EmbeddingTurn(bert, [[20] * 298] * 2))
    waiting = steps.put("waiting for another model", EmbeddingTurn(causal, ["a"]))
    assert steps.step() == []
    gone.cancel()
    waiting.cancel()
    ended = steps.step()
    assert sorted(ended) == ["gone", "waiting for another model"]
    assert [type(error(event)) for _, event in steps.ended] == [ShuttingDown, ShuttingDown]
    ended = [name for _ in range(2) for name in steps.step()]
    assert ended == ["kept"]


def test_a_model_that_fails_fails_its_requests_and_is_loaded_anew(
    engine: Engine[EmbeddingTurn], bert: EmbeddingFile, folder: Path
) -> None:
    path = write_bert(folder / "broken.gguf")
    tensors = gguf.GGUFReader(path, "r+").tensors  # mapped: what is written to them is in the file
    next(t for t in tensors if t.name == "token_embd_norm.weight").data[:] = np.nan
    broken = EmbeddingFile("broken", path)
    assert isinstance(error(*last_of(engine, EmbeddingTurn(broken, ["a"]))), InternalError)
    assert result(*last_of(engine, EmbeddingTurn(bert, ["a"]))).num_tokens == 3


def test_closing_lets_what_runs_finish_and_refuses_what_comes_after(bert: EmbeddingFile) -> None:
    engine = embedding_engine(Settings(_env_file=None))
    engine.open()
    ended = threading.Event()
    engine.submit(EmbeddingTurn(bert, [[20] * 100] * 50), lambda _: ended.set())
    engine.close(finish_within_s=60)
    assert ended.is_set()
    with pytest.raises(ShuttingDown):
        engine.submit(EmbeddingTurn(bert, ["a"]), print)


# ---------------------------------------------------------------- the real server


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("embedding server")
    for name in ("models", "audio", "voice_clones"):
        (folder / name).mkdir()
    with running_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def http(own_server: Server) -> Iterator[httpx.Client]:
    with own_server.http() as http:
        yield http


@pytest.fixture(scope="module")
def embedder(own_server: Server, http: httpx.Client) -> Iterator[openai.OpenAI]:
    """The official client, an encoder having been put into the models folder while the server runs."""
    with own_server.client() as client:
        with pytest.raises(openai.NotFoundError, match="no embedding model"):
            client.embeddings.create(model="text-embedding-3-small", input="hello")
        health = http.get("/health").json()
        assert health["parts"]["embeddings"]["status"] == "unavailable"
        assert str(own_server.folder / "models") in health["parts"]["embeddings"]["mend"]
        assert health["status"] in ("ok", "loading")
        write_bert(own_server.folder / "models" / "tiny-embed-Q8_0.gguf")
        yield client


def vectors(client: openai.OpenAI, given: Any, **fields: Any) -> list[list[float]]:
    answer = client.embeddings.create(model="tiny-embed", input=given, **fields)
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return [item.embedding for item in answer.data]


def test_the_official_client_gets_vectors_of_texts_in_order(embedder: openai.OpenAI) -> None:
    together = np.array(vectors(embedder, TEXTS))
    alone = np.array([vectors(embedder, text)[0] for text in TEXTS])
    assert together.shape == (len(TEXTS), WIDTH)
    assert (together * alone).sum(axis=1) == pytest.approx(1, abs=1e-3)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert (together @ together.T - np.eye(len(TEXTS))).max() < 0.95


def test_float_and_base64_are_the_same_numbers(embedder: openai.OpenAI) -> None:
    as_float = vectors(embedder, "hello", encoding_format="float")[0]
    raw: Any = vectors(embedder, "hello", encoding_format="base64")[0]
    assert np.frombuffer(base64.b64decode(raw), "<f4") == pytest.approx(as_float)


def test_token_ids_have_the_vector_of_their_text(embedder: openai.OpenAI) -> None:
    text = vectors(embedder, "hello world")[0]
    assert vectors(embedder, [193, 194])[0] == pytest.approx(text, abs=1e-5)
    two = vectors(embedder, [[193, 194], [193]])
    assert len(two) == 2
    assert two[0] == pytest.approx(text, abs=1e-5)


def test_dimensions_are_cut(embedder: openai.OpenAI) -> None:
    whole, cut = vectors(embedder, "hello")[0], vectors(embedder, "hello", dimensions=8)[0]
    assert len(cut) == 8
    assert cut == pytest.approx(np.array(whole[:8]) / np.linalg.norm(whole[:8]), abs=1e-5)


@pytest.mark.parametrize("name", ["text-embedding-3-small", "text-embedding-ada-002", "tiny-embed"])
def test_the_answer_says_which_model_it_was_and_how_many_tokens(
    embedder: openai.OpenAI, name: str
) -> None:
    answer = embedder.embeddings.create(model=name, input=["hello world", "hello"], user="me")
    assert answer.model == "tiny-embed-Q8_0"
    assert answer.object == "list"
    assert answer.data[0].object == "embedding"
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 7)


def test_the_model_is_listed_with_everything_but_not_for_chat(
    http: httpx.Client, embedder: openai.OpenAI
) -> None:
    assert "tiny-embed-Q8_0" not in [model.id for model in embedder.models.list()]
    everything = http.get("/v1/models?type=all").json()["data"]
    types = {model["id"]: (model["type"], model["root"]) for model in everything}
    assert types["tiny-embed-Q8_0"] == ("embedding", "tiny-embed-Q8_0")
    assert types["text-embedding-3-small"] == ("embedding", "tiny-embed-Q8_0")
    assert embedder.models.retrieve("tiny-embed").id == "tiny-embed"
    assert http.get("/health").json()["parts"]["embeddings"]["status"] == "ready"


def test_a_model_asked_for_what_it_cannot_do_is_a_400_that_names_it(
    embedder: openai.OpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError, match=r"'gpt-4' is a chat model.*tiny-embed"):
        embedder.embeddings.create(model="gpt-4", input="hello")
    with pytest.raises(openai.BadRequestError, match=r"'tiny-embed' is an embedding model"):
        embedder.chat.completions.create(
            model="tiny-embed", messages=[{"role": "user", "content": "hello"}]
        )


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({}, 400, "input", None),
        ({"input": None}, 400, "input", None),
        ({"input": ""}, 400, "input", None),
        ({"input": []}, 400, "input", None),
        ({"input": ["a", ""]}, 400, "input.1", None),
        ({"input": ["a", {"b": 1}]}, 400, "input.1", None),
        ({"input": "\ud800"}, 400, "input", None),
        ({"input": [1, 999_999]}, 400, "input", None),
        ({"input": ["a"] * 2049}, 400, "input", None),
        ({"input": ["ok", "word " * 2000]}, 400, "input.1", "context_length_exceeded"),
        ({"input": "a" * 10_000_000}, 400, "input", "context_length_exceeded"),
        ({"input": "a", "dimensions": 0}, 400, "dimensions", None),
        ({"input": "a", "dimensions": 65}, 400, "dimensions", None),
        ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format", None),
        ({"input": "a", "model": "nope"}, 404, "model", "model_not_found"),
        ({"input": "a", "model": "tts-1"}, 404, "model", "model_not_found"),
        ({"input": "a", "model": "smollm2-135m-instruct"}, 400, "model", "unsupported_model"),
    ],
)
def test_a_bad_request_says_what_is_wrong(
    http: httpx.Client,
    embedder: openai.OpenAI,
    fields: dict[str, Any],
    status: int,
    param: str,
    code: str | None,
) -> None:
    answer = http.post(ROUTE, content=json.dumps({"model": "", **fields}))
    found = checked(answer, status)
    assert (found["param"], found["code"]) == (param, code)


def test_many_clients_at_once_get_their_own_vectors_beside_a_chat(embedder: openai.OpenAI) -> None:
    chunks = embedder.chat.completions.create(
        model="gpt-4", messages=[{"role": "user", "content": "Hello"}], max_tokens=50, stream=True
    )
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: vectors(embedder, text)[0], TEXTS * 10))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    for index, text in enumerate(TEXTS):
        alone = vectors(embedder, text)[0]
        for vector in found[index :: len(TEXTS)]:
            assert vector == pytest.approx(alone, abs=1e-3)


def test_two_thousand_inputs_are_answered(embedder: openai.OpenAI) -> None:
    found = vectors(embedder, [f"text {number}" for number in range(2048)])
    assert len(found) == 2048
    assert found[-1] == pytest.approx(vectors(embedder, "text 2047")[0], abs=1e-3)


def test_with_a_second_model_openais_names_are_no_longer_clear(
    own_server: Server, embedder: openai.OpenAI
) -> None:
    path = write_causal(own_server.folder / "models" / "other-embed.gguf")
    answer = embedder.embeddings.create(model="other-embed", input="hello")
    assert answer.model == "other-embed"
    with pytest.raises(openai.NotFoundError, match=r"several.*EMBEDDING_MODEL"):
        embedder.embeddings.create(model="text-embedding-3-small", input="hello")
    path.unlink()
    assert embedder.embeddings.create(model="", input="hello").model == "tiny-embed-Q8_0"
