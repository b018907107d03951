"""What is set for a model is followed by the real server, and anew when the file changes."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.conftest import PROJECT_DIR, Server, running_server

CHAT = "/v1/chat/completions"
ID = "smollm2-135m-instruct"
HI = [{"role": "user", "content": "Hi"}]
KIND = {"role": "system", "content": "Be kind."}


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "models").mkdir()
    with running_server(folder, "--chat-context-tokens=512") as server:
        yield server


@pytest.fixture
def models(own_server: Server) -> Iterator[Path]:
    folder = own_server.folder / "models"
    yield folder
    (folder / "settings.toml").unlink(missing_ok=True)


def settle(models: Path, text: str) -> None:
    (models / "settings.toml").write_text(f'["{ID}"]\n{text}\n', "utf-8")


def tokenized(http: httpx.Client, *messages: dict[str, str]) -> tuple[list[int], int]:
    """The tokens of the prompt that messages make, and the context."""
    answer = http.post("/v1/tokenize", json={"messages": messages}).raise_for_status().json()
    return answer["tokens"], answer["max_model_len"]


def num_loads(http: httpx.Client) -> int:
    text = http.get("/metrics").text
    found = re.search(r'^openai_api_model_loads_total\{engine="chat"\} (\d+)', text, re.MULTILINE)
    assert found
    return int(found[1])


def test_the_readmes_example_is_followed(own_server: Server, models: Path) -> None:
    readme = (PROJECT_DIR / "README.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (models / "settings.toml").write_text(example, "utf-8")
    with own_server.client() as client:
        for name in ("tutor", "gpt-4o"):
            answer = client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "Hi"}], max_tokens=3
            )
            assert answer.model == ID
            assert client.models.retrieve(name).model_dump()["root"] == ID
        assert {"tutor", "gpt-4o"} <= {model.id for model in client.models.list()}
    with own_server.http() as http:
        _, num_context_tokens = tokenized(http, *HI)
    assert num_context_tokens == 4096


def test_a_change_of_how_it_is_loaded_loads_it_anew_and_no_other_change_does(
    http: httpx.Client, models: Path
) -> None:
    assert tokenized(http, *HI)[1] == 512
    before = num_loads(http)
    settle(models, "context_tokens = 256")
    assert tokenized(http, *HI)[1] == 256
    assert num_loads(http) == before + 1
    settle(models, 'context_tokens = 256\nsystem_prompt = "Be kind."\nsampling.top_k = 1')
    assert tokenized(http, *HI)[1] == 256
    assert num_loads(http) == before + 1


def test_the_system_prompt_is_as_if_the_request_had_it(http: httpx.Client, models: Path) -> None:
    wanted, bare = tokenized(http, KIND, *HI), tokenized(http, *HI)
    other = {"role": "system", "content": "Be short."}
    own = tokenized(http, other, *HI)
    settle(models, 'system_prompt = "Be kind."')
    assert tokenized(http, *HI) == wanted != bare
    assert tokenized(http, other, *HI) == own


def test_a_template_of_its_own_makes_the_prompt_and_is_read_anew(
    http: httpx.Client, models: Path
) -> None:
    settle(models, 'template = "own.jinja"')
    for beginning in ("Q: ", "Question: "):
        source = beginning + "{{ messages[0].content }}\nA:"
        (models / "own.jinja").write_text(source, "utf-8")
        text = {"prompt": f"{beginning}Hi\nA:"}
        assert tokenized(http, *HI)[0] == http.post("/v1/tokenize", json=text).json()["tokens"]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "!!!"),
        ({"max_tokens": None, "logit_bias": None}, "!!!"),
        ({"max_tokens": 5}, "!!!!!"),
        ({"logit_bias": {"18": 100}}, '"""'),
    ],
)
def test_sampling_is_the_models_where_the_request_names_none(
    http: httpx.Client, models: Path, named: dict[str, object], said: str
) -> None:
    settle(models, "sampling = { logit_bias = { 17 = 100 }, max_tokens = 3 }")
    chat = http.post(CHAT, json={"messages": HI} | named).json()["choices"][0]
    assert chat["message"]["content"] == said
    raw = http.post("/v1/completions", json={"prompt": "Hi"} | named).json()["choices"][0]
    assert raw["text"] == said


def test_a_wrong_file_is_an_error_of_every_chat_until_it_is_mended(
    own_server: Server, http: httpx.Client, models: Path
) -> None:
    assert http.get("/health").json()["status"] == "ok"
    settle(models, "sampling.temperature = 101")
    with own_server.client() as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model=ID, messages=[{"role": "user", "content": "Hi"}], stream=True
        )
    assert caught.value.status_code == 503
    assert "line 2" in caught.value.message
    assert "sampling.temperature: Input should be less than or equal to 100" in caught.value.message
    assert "got '101'" in caught.value.message
    assert http.post("/v1/tokenize", json={"messages": HI}).status_code == 503
    health = http.get("/health").json()
    assert (health["status"], health["parts"]["chat"]["status"]) == ("degraded", "unavailable")
    assert "line 2" in health["parts"]["chat"]["reason"]
    settle(models, "sampling.temperature = 1")
    assert http.post(CHAT, json={"messages": HI, "max_tokens": 2}).status_code == 200
    assert http.get("/health").json()["status"] == "ok"


def test_a_server_starts_with_a_wrong_file_and_chats_once_it_is_mended(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    settle(models, "context_tokens = 256\ntypo = 1")
    with running_server(tmp_path) as server, server.http() as http:
        answer = http.post(CHAT, json={"messages": HI, "max_tokens": 2})
        assert answer.status_code == 503
        assert "typo: no such key" in answer.json()["error"]["message"]
        settle(models, "context_tokens = 256")
        assert http.post(CHAT, json={"messages": HI, "max_tokens": 2}).status_code == 200
        assert tokenized(http, *HI)[1] == 256
    log = (tmp_path / "server.log").read_text()
    assert "typo: no such key" in log
