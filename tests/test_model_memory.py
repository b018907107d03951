"""Models come into memory, stay and go, as clients of the real server see it."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from engine_room.catalogue import BUNDLED_FILE, BUNDLED_ID, BUNDLED_PACKAGE
from engine_room.packages import package_dir
from tests.conftest import Server, running_server
from tests.embedding_models import write_bert
from tests.test_clips import speech, wav

MODELS = "/v1/models"
HELLO: Any = [{"role": "user", "content": "Hello!"}]
WAIT_S = 60


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a second chat model; both together take more memory than it may use."""
    folder = tmp_path_factory.mktemp("memory")
    models = folder / "models"
    models.mkdir()
    bundled = package_dir(BUNDLED_PACKAGE)
    assert bundled
    (models / "second.gguf").symlink_to(bundled / BUNDLED_FILE)
    (models / "broken.gguf").write_bytes(b"GGUF and nothing more")
    write_bert(models / "tiny-embed.gguf")
    environment = {
        "CHAT_MEMORY_MB": "200",
        "CHAT_CONTEXT_TOKENS": "1024",
        "TRANSCRIPTION_UNLOAD_AFTER_S": "1",
    }
    with running_server(folder, environment=environment) as server:
        yield server


@pytest.fixture
def client(own_server: Server) -> Iterator[openai.OpenAI]:
    with own_server.client() as client:
        yield client


def status(http: httpx.Client, model: str) -> str:
    told: str = http.get(f"{MODELS}/{model}").json()["status"]
    return told


def becomes(http: httpx.Client, model: str, wanted: str) -> bool:
    deadline = time.monotonic() + WAIT_S
    while status(http, model) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def num_loads(http: httpx.Client) -> int:
    for line in http.get("/metrics").text.splitlines():
        if line.startswith('openai_api_model_loads_total{engine="chat"}'):
            return int(float(line.rsplit(" ", 1)[1]))
    return 0


def test_a_model_is_loaded_and_unloaded_by_request_and_the_list_shows_it(
    http: httpx.Client,
) -> None:
    told = http.post(f"{MODELS}/load", json={"model": "second"}).json()
    assert (told["id"], told["status"]) == ("second", "loaded")
    listed = {model["id"]: model["status"] for model in http.get(MODELS).json()["data"]}
    assert listed["second"] == "loaded"
    assert listed[BUNDLED_ID] == listed["gpt-4"] == "available"
    told = http.post(f"{MODELS}/unload", json={"model": "second"}).json()
    assert (told["id"], told["status"]) == ("second", "available")
    told = http.post(f"{MODELS}/load", json={}).json()
    assert (told["id"], told["status"]) == (BUNDLED_ID, "loaded")


def test_every_kind_of_model_shows_whether_it_is_in_memory(
    http: httpx.Client, client: openai.OpenAI
) -> None:
    def states() -> dict[str, str]:
        listed = http.get(MODELS, params={"type": "all"}).json()["data"]
        return {model["id"]: model["status"] for model in listed}

    client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav(speech(2.0))))
    before = states()
    assert (before["tts-1"], before["whisper-1"]) == ("loaded", "loaded")
    assert before["tiny-embed"] == "available"
    client.embeddings.create(model="tiny-embed", input="Hello")
    assert states()["tiny-embed"] == "loaded"


def test_an_embedding_model_goes_when_its_request_says_so(http: httpx.Client) -> None:
    body = {"model": "tiny-embed", "input": "Hello", "keep_alive": 0}
    assert http.post("/v1/embeddings", json=body).status_code == 200
    assert becomes(http, "tiny-embed", "available")


def test_the_transcription_model_goes_after_its_time_and_comes_back(
    http: httpx.Client, client: openai.OpenAI
) -> None:
    assert becomes(http, "whisper-1", "available")
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav(speech(2.0))))
    assert heard.text is not None
    assert http.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("keep_alive", [0, "0s", "10ms"])
def test_a_request_says_how_long_its_model_stays(http: httpx.Client, keep_alive: object) -> None:
    body = {"model": "second", "messages": HELLO, "max_tokens": 2, "keep_alive": keep_alive}
    assert http.post("/v1/chat/completions", json=body).json()["model"] == "second"
    assert becomes(http, "second", "available")
    body = {"model": "second", "prompt": "Hello", "max_tokens": 2, "keep_alive": keep_alive}
    assert http.post("/v1/completions", json=body).json()["model"] == "second"
    assert becomes(http, "second", "available")


@pytest.mark.parametrize("keep_alive", [-1, "-1s", 1e300, "99999999999h"])
def test_a_model_may_be_kept_longer_than_any_clock_counts(
    http: httpx.Client, keep_alive: object
) -> None:
    chat = {"model": "second", "messages": HELLO, "max_tokens": 2, "keep_alive": keep_alive}
    vectors = {"model": "tiny-embed", "input": "Hello", "keep_alive": keep_alive}
    for _ in range(2):
        assert http.post("/v1/chat/completions", json=chat).status_code == 200
        assert http.post("/v1/embeddings", json=vectors).status_code == 200
    assert http.post(f"{MODELS}/load", json={}).json()["status"] == "loaded"


@pytest.mark.parametrize("keep_alive", ["soon", "5 minutes", [], "-"])
def test_a_time_that_is_none_is_named(http: httpx.Client, keep_alive: object) -> None:
    body = {"messages": HELLO, "max_tokens": 2, "keep_alive": keep_alive}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "keep_alive"


def test_two_clients_with_a_model_each_do_not_reload_them_at_every_request(
    own_server: Server, http: httpx.Client
) -> None:
    before = num_loads(http)
    answered: list[str] = []

    def ask(model: str) -> None:
        with own_server.client() as client:
            for _ in range(20):
                answer = client.chat.completions.create(
                    model=model, messages=HELLO, max_tokens=2, stream=False
                )
                answered.append(answer.model)

    clients = [threading.Thread(target=ask, args=(model,)) for model in (BUNDLED_ID, "second")]
    for each in clients:
        each.start()
    for each in clients:
        each.join(WAIT_S)
    assert sorted(answered) == sorted([BUNDLED_ID, "second"] * 20)
    assert num_loads(http) - before <= 10


def test_a_model_that_answers_is_neither_unloaded_nor_deleted(
    http: httpx.Client, client: openai.OpenAI
) -> None:
    stream = client.chat.completions.create(
        model="second", messages=HELLO, max_tokens=900, stream=True, logit_bias={"2": -100}
    )
    next(iter(stream))
    for response in (
        http.post(f"{MODELS}/unload", json={"model": "second"}),
        http.delete(f"{MODELS}/second"),
    ):
        assert response.status_code == 409
        assert response.json()["error"]["code"] == "model_busy"
    stream.close()
    assert status(http, "second") == "loaded"


def test_a_broken_file_is_an_error_with_the_reason_and_the_others_answer(
    http: httpx.Client, client: openai.OpenAI
) -> None:
    for path, body in (
        (f"{MODELS}/load", {"model": "broken"}),
        ("/v1/chat/completions", {"model": "broken", "messages": HELLO}),
    ):
        response = http.post(path, json=body)
        assert response.status_code == 503
        assert "broken.gguf cannot be loaded" in response.json()["error"]["message"]
    assert client.chat.completions.create(messages=HELLO, model="gpt-4", max_tokens=2).choices
    assert http.get("/health").json()["parts"]["chat"]["status"] == "ready"


def test_models_for_embeddings_and_transcription_are_loaded_and_unloaded_too(
    http: httpx.Client,
) -> None:
    for name, root, body in (
        ("tiny-embed", "tiny-embed", {"keep_alive": -1}),
        ("text-embedding-3-small", "tiny-embed", {}),
        ("whisper-1", "faster-whisper-base", {}),
    ):
        for _ in range(2):  # once more is once
            told = http.post(f"{MODELS}/load", json={"model": name} | body).json()
            assert (told["id"], told["status"]) == (root, "loaded")
        for _ in range(2):
            told = http.post(f"{MODELS}/unload", json={"model": name}).json()
            assert (told["id"], told["status"]) == (root, "available")
    assert http.get("/health").json()["status"] == "ok"
    vectors = {"model": "tiny-embed", "input": "Hello"}
    assert http.post("/v1/embeddings", json=vectors).status_code == 200


def test_a_loaded_embedding_model_goes_when_the_load_says_so(http: httpx.Client) -> None:
    told = http.post(f"{MODELS}/load", json={"model": "tiny-embed", "keep_alive": "10ms"})
    assert told.status_code == 200
    assert becomes(http, "tiny-embed", "available")


def test_a_transcription_model_that_answers_is_not_unloaded(own_server: Server) -> None:
    with own_server.client() as client, own_server.http() as http:
        long = ("a.wav", wav(speech(120.0)))
        asked = threading.Thread(
            target=lambda: client.audio.transcriptions.create(model="whisper-1", file=long)
        )
        assert http.post(f"{MODELS}/load", json={"model": "whisper-1"}).status_code == 200
        asked.start()
        answers = []
        while asked.is_alive() and 409 not in answers:
            answers.append(http.post(f"{MODELS}/unload", json={"model": "whisper-1"}).status_code)
        asked.join()
    assert answers[-1] == 409


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nothing"}, 404, "model_not_found"),
        ({"model": "tts-1"}, 400, "unsupported_model"),
        ({"model": "whisper-1", "keep_alive": 5}, 400, None),
    ],
)
def test_what_cannot_be_loaded_is_said(
    http: httpx.Client, body: dict[str, object], status: int, code: str | None
) -> None:
    response = http.post(f"{MODELS}/load", json=body)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code or code is None
    assert response.json()["error"]["param"] in ("model", "keep_alive")
    if "keep_alive" in body:
        assert "TRANSCRIPTION_UNLOAD_AFTER_S" in response.json()["error"]["message"]
    else:
        assert http.post(f"{MODELS}/unload", json=body).status_code == status


def test_a_model_is_deleted_from_memory_and_from_the_disk(http: httpx.Client) -> None:
    assert http.post(f"{MODELS}/load", json={"model": "second"}).status_code == 200
    assert http.delete(f"{MODELS}/second").json()["deleted"] is True
    assert http.get(f"{MODELS}/second").status_code == 404
    assert http.post(f"{MODELS}/load", json={"model": "second"}).status_code == 404


def test_an_embedding_model_is_deleted_from_memory_too(
    own_server: Server, http: httpx.Client
) -> None:
    path = own_server.folder / "models" / "tiny-embed.gguf"
    data = path.read_bytes()
    assert http.post(f"{MODELS}/load", json={"model": "tiny-embed"}).json()["status"] == "loaded"
    path.touch()
    assert http.delete(f"{MODELS}/tiny-embed").json()["deleted"] is True
    path.write_bytes(data)
    assert status(http, "tiny-embed") == "available"
