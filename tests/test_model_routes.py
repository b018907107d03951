"""A model is fetched, used and deleted while the real server runs, by who may do so only."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine_room.catalogue import BUNDLED_FILE, BUNDLED_PACKAGE
from engine_room.packages import package_dir
from tests.conftest import Server, running_server
from tests.local_hub import LocalHub, Repo, local_hub
from tests.pictures import picture
from tests.vision_models import write_pair

FOLDER = package_dir(BUNDLED_PACKAGE)
assert FOLDER
GGUF = (FOLDER / BUNDLED_FILE).read_bytes()
MODELS = "/v1/models"


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(me__mine=Repo({"mine.Q4_1.gguf": GGUF})) as hub:
        yield hub


@pytest.fixture(scope="module")
def own_server(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("fetching")
    with running_server(folder, environment={"HF_ENDPOINT": hub.url}) as server:
        yield server
    shutil.rmtree(folder)


def ids(http: httpx.Client) -> list[str]:
    return [model["id"] for model in http.get(MODELS).json()["data"]]


def events(response: httpx.Response) -> list[dict[str, object]]:
    lines = [
        line.removeprefix("data: ")
        for line in response.text.splitlines()
        if line.startswith("data")
    ]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_model_is_fetched_with_its_progress_chats_and_is_deleted(
    http: httpx.Client, own_server: Server
) -> None:
    response = http.post(f"{MODELS}/download", json={"model": "me/mine", "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    told = events(response)
    assert (told[0]["status"], told[0]["total_bytes"]) == ("running", len(GGUF))
    assert (told[-1]["status"], told[-1]["root"]) == ("done", "mine.Q4_1")
    assert "mine.Q4_1" in ids(http)
    with own_server.client() as client:
        answer = client.chat.completions.create(
            model="mine", messages=[{"role": "user", "content": "Hi"}], max_tokens=3
        )
        assert answer.model == "mine.Q4_1"
        gone = client.models.delete("mine.Q4_1")
    assert (gone.id, gone.object, gone.deleted) == ("mine.Q4_1", "model", True)
    assert "mine.Q4_1" not in ids(http)
    assert http.delete(f"{MODELS}/mine.Q4_1").status_code == 404


def test_what_is_offered_says_its_size_and_whether_it_fits_and_what_is_here_is_not(
    http: httpx.Client, own_server: Server
) -> None:
    told = http.get(f"{MODELS}/offers").json()
    offers = {offer["id"]: offer for offer in told["data"]}
    tiny, huge = offers["qwen3-0.6b"], max(offers.values(), key=lambda each: each["memory_bytes"])
    assert tiny["memory_bytes"] > tiny["size_bytes"] > 0
    for offer in (tiny, huge):
        assert offer["fits"] is (offer["memory_bytes"] <= told["free_bytes"])
    assert "GB" in tiny["memory"]
    assert tiny["terms"] == ""
    assert "non-commercial" in offers["xtts_v2"]["terms"]
    here = {model["id"]: model for model in told["here"]}
    assert here["smollm2-135m-instruct"]["bundled"]
    (own_server.folder / "models").mkdir(exist_ok=True)
    file = own_server.folder / "models" / "qwen3-0.6b-Q4_1.gguf"
    file.write_bytes(GGUF)
    told = http.get(f"{MODELS}/offers").json()
    assert "qwen3-0.6b" not in [offer["id"] for offer in told["data"]]
    mine = {"id": file.stem, "kind": "chat", "size_bytes": len(GGUF), "bundled": False}
    assert mine in told["here"]
    assert http.delete(f"{MODELS}/{file.stem}").status_code == 200


def test_a_model_that_sees_does_so_when_it_is_fetched_and_takes_its_projector_along(
    http: httpx.Client, hub: LocalHub, own_server: Server, tmp_path: Path
) -> None:
    model, projector = write_pair(tmp_path, "llava")
    files = {"seer-F32.gguf": model.read_bytes(), "mmproj-model-f32.gguf": projector.read_bytes()}
    hub.repos["me/seer"] = Repo(files)
    told = events(http.post(f"{MODELS}/download", json={"model": "me/seer", "stream": True}))
    assert (told[-1]["status"], told[-1]["total_bytes"]) == ("done", sum(map(len, files.values())))
    assert http.get(f"{MODELS}/seer").json()["input_modalities"] == ["text", "image"]
    parts = [{"type": "text", "text": "What is it?"}, picture(3)]
    body = {"model": "seer", "max_tokens": 2, "messages": [{"role": "user", "content": parts}]}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    with own_server.client() as client:
        client.models.delete("seer-F32")
    assert not [path for path in (own_server.folder / "models").iterdir() if "seer" in path.name]


def test_without_a_stream_the_answer_is_how_it_begins_and_it_is_stopped_by_its_id(
    http: httpx.Client, hub: LocalHub, own_server: Server
) -> None:
    repo = Repo({"slow.gguf": GGUF}, stalls_after=0)
    hub.repos["me/slow"] = repo
    begun = http.post(f"{MODELS}/download", json={"model": "me/slow"}).json()
    assert (begun["object"], begun["status"]) == ("model.download", "running")
    assert repo.stalled.wait(60)
    listed = http.get(f"{MODELS}/downloads").json()["data"]
    assert listed[-1]["id"] == begun["id"]
    assert http.delete(f"{MODELS}/downloads/{begun['id']}").json()["id"] == begun["id"]
    repo.go_on.set()
    with http.stream(
        "POST", f"{MODELS}/download", json={"model": "me/slow", "stream": True}
    ) as end:
        assert end.status_code == 200
        end.read()
    assert http.delete(f"{MODELS}/downloads/dl-0").status_code == 404


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ("nothing", 404, "`models list`"),
        ("me/nothing", 404, "HF_TOKEN"),
        ("me/mine:Q8_0", 404, "there are: Q4_1"),
        ("https://evil.example/a/b", 400, "from there only"),
        ("../../etc/passwd", 404, "no model that can be fetched"),
        ("xtts_v2", 404, "coqui/XTTS-v2"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_fetched_is_an_honest_error_before_any_stream(
    http: httpx.Client, model: str, status: int, said: str, stream: bool
) -> None:
    response = http.post(f"{MODELS}/download", json={"model": model, "stream": stream})
    assert response.status_code == status
    assert said in response.json()["error"]["message"]


def test_models_of_the_install_and_names_of_others_are_not_deleted(http: httpx.Client) -> None:
    assert http.delete(f"{MODELS}/smollm2-135m-instruct").status_code == 403
    for name in ("gpt-4", "..%2F..%2Fetc", "faster-whisper-small"):
        assert http.delete(f"{MODELS}/{name}").status_code == 404


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_strange_page_neither_fetches_nor_deletes(http: httpx.Client, method: str) -> None:
    place = "/download" if method == "POST" else "/mine"
    response = http.request(
        method,
        f"{MODELS}{place}",
        json={"model": "me/mine"},
        headers={"Origin": "http://evil.example"},
    )
    assert response.status_code == 403
    assert "TRUSTED_ORIGINS" in response.json()["error"]["message"]


def test_a_download_goes_on_after_the_server_was_stopped(tmp_path: Path) -> None:
    repo = Repo({"m.Q4_1.gguf": GGUF}, breaks=[3_000_000], stalls_after=0)
    with local_hub(me__mine=repo) as hub:
        with (
            running_server(tmp_path, environment={"HF_ENDPOINT": hub.url}) as server,
            server.http() as http,
        ):
            http.post(f"{MODELS}/download", json={"model": "me/mine"})
            assert repo.stalled.wait(60)
        repo.go_on.set()
        repo.stalls_after = None
        abandoned = tmp_path / "models" / ".downloads" / "0123-old.gguf.part"
        abandoned.write_bytes(b"years ago")
        os.utime(abandoned, (0, 0))
        with (
            running_server(tmp_path, environment={"HF_ENDPOINT": hub.url}) as server,
            server.http() as http,
        ):
            response = http.post(f"{MODELS}/download", json={"model": "me/mine", "stream": True})
            assert events(response)[-1]["status"] == "done"
        assert not abandoned.exists()
        assert hub.ranges()[-1] == "bytes=3000000-"
    assert (tmp_path / "models" / "m.Q4_1.gguf").read_bytes() == GGUF
