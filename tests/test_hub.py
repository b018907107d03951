"""The hub is asked as its owner wants, and each of its refusals says what to do."""

import subprocess
import sys

import pytest

from engine_room.errors import ApiError, BadHub, Forbidden, HubUnreachable, RepositoryNotFound
from engine_room.hub import Hub
from tests.conftest import PROJECT_DIR
from tests.local_hub import LocalHub, Repo, local_hub

DATA = bytes(range(256)) * 10


def read(hub: LocalHub, start: int = 0) -> tuple[int, bytes]:
    """Where the hub begins, and what it sends, asked for the one file from some position on."""
    asked = Hub(hub.url)
    repository = asked.repository("me/mine")
    with asked.opened(repository, repository.files[0], start) as body:
        return body.start, b"".join(body.chunks)


def test_a_repository_is_listed_with_sizes_hashes_and_licence() -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA, "config.json": b"{}"})) as hub:
        repository = Hub(hub.url).repository("me/mine")
    large, small = repository.files
    assert (large.size_bytes, len(large.sha256), large.git_sha1) == (2560, 64, "")
    # What `git hash-object` says of a file with these two bytes.
    assert small.git_sha1 == "9e26dfeeb6e641a33dae4961196235bdb965b21b"
    assert repository.licence == "apache-2.0"
    assert len(repository.commit) == 40


def test_a_file_is_read_from_any_position_on() -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA})) as hub:
        assert read(hub) == (0, DATA)
        assert read(hub, 1000) == (1000, DATA[1000:])
        assert read(hub, 2560) == (0, b"")  # past its end nothing goes on
        assert hub.ranges() == [None, "bytes=1000-", "bytes=2560-"]


def test_a_hub_that_ignores_the_position_is_noticed() -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA}, ignores_range=True)) as hub:
        assert read(hub, 1000) == (0, DATA)


def test_a_connection_that_breaks_off_is_an_error() -> None:
    with (
        local_hub(me__mine=Repo({"m.gguf": DATA}, breaks=[100])) as hub,
        pytest.raises(HubUnreachable, match="broke off"),
    ):
        read(hub)


def test_the_token_goes_to_the_hub_and_not_to_where_it_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with local_hub(me__mine=Repo({"m.gguf": DATA}, is_gated=True, token="hf_secret")) as hub:
        assert read(hub) == (0, DATA)
        tokens = {path.split("/")[1]: token for _, path, _, token in hub.asked}
    assert tokens == {"api": "Bearer hf_secret", "me": "Bearer hf_secret", "cdn": None}


@pytest.mark.parametrize("token", ["", "hf_other"])
def test_gated_files_say_where_to_agree(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with (
        local_hub(me__mine=Repo({"m.gguf": DATA}, is_gated=True, token="hf_secret")) as hub,
        pytest.raises(Forbidden, match=rf"{hub.url}/me/mine wants its terms .* HF_TOKEN"),
    ):
        read(hub)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, RepositoryNotFound, "There is no .*/me/mine, or it is not open .* HF_TOKEN"),
        (403, Forbidden, "wants its terms agreed to"),
        (404, RepositoryNotFound, "There is no .*/me/mine"),
        (429, HubUnreachable, "answers 429. Try again later"),
        (503, HubUnreachable, "answers 503. Try again later"),
        (418, BadHub, "answers 418"),
    ],
)
def test_every_refusal_says_what_to_do(status: int, kind: type[ApiError], said: str) -> None:
    with local_hub(me__mine=Repo({}, status=status)) as hub, pytest.raises(kind, match=said):
        Hub(hub.url).repository("me/mine")


def test_a_hub_that_is_not_there_and_one_that_is_none() -> None:
    with local_hub() as hub:
        hub.is_a_web_page = True
        for ask in (Hub(hub.url).search, Hub(hub.url).repository):
            with pytest.raises(BadHub, match="does not answer as a hub does"):
                ask("me/mine")
    with pytest.raises(HubUnreachable, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        Hub("http://127.0.0.1:9").repository("me/mine")


def test_a_search_finds_repositories_by_words() -> None:
    with local_hub(me__mine=Repo({}), you__yours=Repo({})) as hub:
        assert [(found.id, found.num_downloads) for found in Hub(hub.url).search("MINE")] == [
            ("me/mine", 7)
        ]


def test_offline_nothing_is_asked() -> None:
    # In a process of its own: huggingface_hub reads its environment once.
    with local_hub(me__mine=Repo({})) as hub:
        done = subprocess.run(
            [sys.executable, "-c", "from engine_room.hub import Hub; Hub().repository('me/mine')"],
            cwd=PROJECT_DIR,
            env={"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": hub.url},
            capture_output=True,
            text=True,
        )
        assert "HF_HUB_OFFLINE is set" in done.stderr
        assert hub.asked == []


@pytest.mark.parametrize(("scheme", "asked"), [("http", "GET"), ("https", "CONNECT")])
def test_the_hub_is_reached_by_the_proxy_of_the_environment(scheme: str, asked: str) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA})) as proxy:  # to a name that only it knows
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from engine_room.hub import Hub; print(Hub().repository('me/mine').files)",
            ],
            cwd=PROJECT_DIR,
            env={f"{scheme.upper()}_PROXY": proxy.url, "HF_ENDPOINT": f"{scheme}://hub.example"},
            capture_output=True,
            text=True,
        )
        assert {method for method, *_ in proxy.asked} == {asked}
    assert ("m.gguf" in done.stdout) == (scheme == "http")
    assert ("HubUnreachable: https://hub.example" in done.stderr) == (scheme == "https")
