"""With FETCH_MODELS=on_use an offered model that a request names is fetched, and then answers."""

import json
import shutil
import threading
from collections.abc import Iterator

import httpx
import pytest

from engine_room.catalogue import BUNDLED_FILE, BUNDLED_PACKAGE
from engine_room.packages import package_dir
from engine_room.whisper_models import WhisperModels
from tests.conftest import Server, running_server
from tests.embedding_models import write_bert
from tests.local_hub import LocalHub, Repo, local_hub
from tests.test_clips import speech, wav

FOLDER = package_dir(BUNDLED_PACKAGE)
assert FOLDER
GGUF = (FOLDER / BUNDLED_FILE).read_bytes()
OFFERS = "".join(
    f'[[model]]\nid = "{id_}"\nkind = "{kind}"\nrepository = "me/{id_}"\n{files}\n'
    for id_, kind, files in (
        ("first", "chat", 'files = ["first.gguf"]'),
        ("second", "chat", 'files = ["second.gguf"]'),
        ("broken", "chat", 'files = ["broken.gguf"]'),
        ("gone", "chat", 'files = ["gone.gguf"]'),
        ("bf_emma", "voice", 'folder = "bf_emma"\nfiles = ["voices/bf_emma.int8.onnx"]'),
        ("vectors", "embedding", 'files = ["vectors.gguf"]'),
        (
            "faster-whisper-mine",
            "transcription",
            'folder = "faster-whisper-mine"\nfiles = ["model.bin", "config.json", "tok*", "voc*"]',
        ),
    )
)
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    folder = tmp_path_factory.mktemp("repositories")
    models = WhisperModels(folder)
    whisper = models.ready(models.bundled)
    bert = write_bert(folder / "vectors.gguf").read_bytes()
    hibari = package_dir("hibari")
    assert hibari
    voice = (hibari / "assets" / "hibari.onnx").read_bytes()  # stands in for it
    with local_hub(
        me__bf_emma=Repo({"voices/bf_emma.int8.onnx": voice}),
        me__first=Repo({"first.gguf": GGUF}),
        me__second=Repo({"second.gguf": GGUF}, stalls_after=1_000_000),
        me__broken=Repo({"broken.gguf": GGUF}, stated_sha256="ab" * 32),
        me__vectors=Repo({"vectors.gguf": bert}),
    ) as hub:
        files = {path.name: path.read_bytes() for path in whisper.iterdir()}
        hub.repos["me/faster-whisper-mine"] = Repo(files)
        shutil.rmtree(folder)
        yield hub


@pytest.fixture(scope="module")
def own_server(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("on_use")
    (folder / "models").mkdir()
    (folder / "models" / "offers.toml").write_text(OFFERS)
    environment = {"HF_ENDPOINT": hub.url, "FETCH_MODELS": "on_use"}
    with running_server(folder, environment=environment) as server:
        yield server
    shutil.rmtree(folder)


def test_a_whole_answer_comes_when_the_model_is_there(http: httpx.Client, hub: LocalHub) -> None:
    body = HELLO | {"model": "first"}
    for _ in range(2):
        answer = http.post("/v1/chat/completions", json=body).json()
        assert (answer["model"], answer["usage"]["completion_tokens"]) == ("first", 3)
    assert sum("first.gguf" in path for path in asked_for_bytes(hub)) == 1


def test_a_stream_tells_the_progress_in_comments_until_it_answers(
    http: httpx.Client, hub: LocalHub
) -> None:
    body = HELLO | {"model": "second", "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as hangs_up:
        first = next(hangs_up.iter_lines())
    assert first.startswith(": fetching second: 0.00 of 0.10 GB")
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        told = next(lines)
        hub.repos["me/second"].go_on.set()
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data")]
    assert told.startswith(": fetching second")
    assert data[-1] == "[DONE]"
    chunks = [json.loads(line) for line in data[:-1]]
    assert {chunk["model"] for chunk in chunks} == {"second"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    # The first one's hang-up did not stop it, and the second joined it.
    assert sum("second.gguf" in path for path in asked_for_bytes(hub)) == 1


def asked_for_bytes(hub: LocalHub) -> list[str]:
    return [path for _, path, _, _ in hub.asked if path.startswith("/cdn/")]


def test_a_download_that_fails_is_the_requests_error(http: httpx.Client) -> None:
    response = http.post("/v1/chat/completions", json=HELLO | {"model": "gone"})
    assert response.status_code == 404
    assert "There is no" in response.json()["error"]["message"]
    response = http.post("/v1/chat/completions", json=HELLO | {"model": "broken"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "wrong_file")
    streamed = HELLO | {"model": "broken", "stream": True}
    lines = http.post("/v1/chat/completions", json=streamed).text.splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data")]
    assert json.loads(data[0])["error"]["code"] == "wrong_file"
    assert data[1:] == ["[DONE]"]


def test_raw_prompts_vectors_and_transcripts_wait_for_their_models(http: httpx.Client) -> None:
    vectors = http.post("/v1/embeddings", json={"model": "vectors", "input": "Hi"}).json()
    assert vectors["model"] == "vectors"
    assert len(vectors["data"][0]["embedding"]) == 64
    sound = {"file": ("a.wav", wav(speech(2)))}
    fields = {"model": "mine", "stream": "true"}
    told = http.post("/v1/audio/transcriptions", files=sound, data=fields).text
    assert told.startswith(": fetching faster-whisper-mine")
    assert "transcript.text.done" in told
    assert told.endswith("data: [DONE]\n\n")
    whole = http.post("/v1/audio/transcriptions", files=sound, data={"model": "mine"})
    assert whole.status_code == 200


def test_speech_waits_for_its_voice(http: httpx.Client) -> None:
    body = {"input": "Hello.", "voice": "emma", "response_format": "wav"}
    assert http.post("/v1/audio/speech", json=body).headers["content-type"] == "audio/wav"
    assert "bf_emma" in http.get("/v1/audio/voices").text


def test_several_who_name_it_at_once_share_its_download(
    http: httpx.Client, hub: LocalHub, own_server: Server
) -> None:
    hub.repos["me/gone"] = Repo({"gone.gguf": GGUF}, stalls_after=0)
    answers: list[httpx.Response] = []

    def ask() -> None:
        with own_server.http() as own:
            answers.append(own.post("/v1/completions", json={"model": "gone", "prompt": "Hi"}))

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    assert hub.repos["me/gone"].stalled.wait(60)
    hub.repos["me/gone"].go_on.set()
    for thread in asking:
        thread.join(60)
    assert [answer.json()["model"] for answer in answers] == ["gone"] * 3
    assert sum("gone.gguf" in path for path in asked_for_bytes(hub)) == 1


def test_only_what_is_offered_is_fetched_and_only_to_be_used(
    http: httpx.Client, hub: LocalHub
) -> None:
    num_asked = len(hub.asked)
    for name in ("me/first", f"{hub.url}/me/first", "smollm3", "gpt-9"):
        response = http.post("/v1/chat/completions", json=HELLO | {"model": name})
        assert response.status_code == 404
    assert http.get("/v1/models/qwen3-8b").status_code == 404
    vectors = {"model": "qwen3-8b", "input": "Hi"}  # chats, and makes no vectors
    assert http.post("/v1/embeddings", json=vectors).status_code == 404
    assert len(hub.asked) == num_asked


def test_by_default_it_is_an_error_with_the_command(server: Server) -> None:
    with server.http() as http:
        response = http.post("/v1/chat/completions", json=HELLO | {"model": "qwen3-8b"})
    assert response.status_code == 404
    assert "models download qwen3-8b" in response.json()["error"]["message"]
