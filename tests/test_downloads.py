"""Downloads are shared by who asks for the same, go on by themselves, and end in one way that is told."""

import queue
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_room.downloads import MAX_RUNNING, Downloads, DownloadTurn
from engine_room.errors import ApiError, Forbidden, NotFound, QueueFull, ShuttingDown
from engine_room.jobs import Done, Event, Failed, Job
from engine_room.schemas_models import Download
from engine_room.settings import Settings
from engine_room.xtts.readiness import cloning_status
from tests.local_hub import LocalHub, Repo, local_hub

DATA = random.Random(0).randbytes(300_000)


class Looking:
    """Downloads from a small hub, and what those who asked were told."""

    def __init__(self, hub: LocalHub, folder: Path, **settings: bool) -> None:
        self.hub, self.folder = hub, folder
        self.downloads = Downloads(
            Settings(_env_file=None, models_dir=folder, **settings),  # type: ignore[arg-type]
            hub.url,
        )

    def ask(
        self, model: str = "me/mine", accept_license: bool = False
    ) -> tuple[Job[DownloadTurn], "queue.Queue[Event]"]:
        told: queue.Queue[Event] = queue.Queue()
        return self.downloads.submit(DownloadTurn(model, accept_license), told.put), told

    def fetch(self, model: str = "me/mine", accept_license: bool = False) -> Download:
        """Ask, and look on to the end; raises what it failed with."""
        return last(self.ask(model, accept_license)[1])


def last(told: "queue.Queue[Event]") -> Download:
    while True:
        event = told.get(timeout=60)
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Done):
            assert isinstance(event.result, Download)
            return event.result


@pytest.fixture
def repo() -> Repo:
    """A repository that stalls after its first 100,000 bytes until it may go on."""
    return Repo({"m.gguf": DATA}, breaks=[100_000], stalls_after=0)


@pytest.fixture
def looking(tmp_path: Path, repo: Repo) -> Iterator[Looking]:
    with local_hub(me__mine=repo, me__other=Repo({"o.gguf": DATA})) as hub:
        looking = Looking(hub, tmp_path)
        yield looking
        repo.go_on.set()
        looking.downloads.close()


def test_a_download_is_told_from_its_beginning_to_its_end(looking: Looking) -> None:
    _, told = looking.ask("me/other")
    events = []
    while not isinstance(event := told.get(timeout=60), Done):
        assert isinstance(event, Download)
        events.append(event)
    assert (events[0].status, events[0].completed_bytes, events[0].total_bytes) == (
        *("running", 0),
        300_000,
    )
    assert events[-1] == event.result
    assert (events[-1].status, events[-1].completed_bytes) == ("done", 300_000)
    assert (looking.folder / "o.gguf").read_bytes() == DATA
    assert looking.fetch("me/other").status == "done"  # it is there, and told so all the same


def test_who_asks_for_the_same_by_whatever_name_shares_one_download(
    looking: Looking, repo: Repo
) -> None:
    _, first = looking.ask("me/mine")
    assert repo.stalled.wait(60)
    _, second = looking.ask("ME/mine")
    _, third = looking.ask("https://huggingface.co/me/mine/blob/main/m.gguf")
    second_state = second.get(timeout=60)  # who comes later is told at once
    third_state = third.get(timeout=60)
    repo.go_on.set()
    ids = {last(told).id for told in (first, second, third)}
    assert ids == {download.id for download in looking.downloads.all()}
    assert len(ids) == 1
    assert isinstance(second_state, Download)
    assert isinstance(third_state, Download)
    assert len(looking.hub.ranges()) == 2  # of one that broke once


def test_it_goes_on_when_nobody_looks(looking: Looking, repo: Repo) -> None:
    job, told = looking.ask()
    assert repo.stalled.wait(60)
    job.cancel()
    _, other = looking.ask()
    repo.go_on.set()
    assert last(other).status == "done"
    assert all(not isinstance(event, Done) for event in list(told.queue))


def test_a_stopped_download_tells_so_and_goes_on_when_it_is_asked_for_again(
    looking: Looking, repo: Repo
) -> None:
    _, told = looking.ask()
    assert repo.stalled.wait(60)
    (running,) = looking.downloads.all()
    assert looking.downloads.stop(running.id).status == "running"
    repo.go_on.set()
    assert last(told).status == "stopped"
    assert list(looking.folder.glob("*.gguf")) == []
    assert looking.fetch().status == "done"
    assert looking.hub.ranges()[-1] == "bytes=100000-"
    assert [download.status for download in looking.downloads.all()] == ["stopped", "done"]
    looking.downloads.stop(running.id)  # once more is no error
    with pytest.raises(NotFound, match="no download 'dl-0'"):
        looking.downloads.stop("dl-0")


@pytest.mark.parametrize("name", ["me/mine", "me/mine:m.gguf"])
def test_who_asks_again_before_a_stopped_download_is_over_has_it_go_on(
    looking: Looking, repo: Repo, name: str
) -> None:
    _, told = looking.ask()
    assert repo.stalled.wait(60)
    looking.downloads.stop(looking.downloads.all()[0].id)
    _, again = looking.ask(name)  # while the hub keeps silent
    repo.go_on.set()
    assert last(told).status == "stopped"
    assert last(again).status == "done"
    assert (looking.folder / "m.gguf").read_bytes() == DATA


@pytest.mark.parametrize(
    "model", ["nothing", "me/nothing", "me/other:Q8_0", "https://evil.example/a/b"]
)
def test_a_failure_is_told_as_the_error_that_it_is(looking: Looking, model: str) -> None:
    with pytest.raises(ApiError) as failed:
        looking.fetch(model)
    assert failed.value.status in (400, 404)
    (download,) = looking.downloads.all()
    assert (download.status, download.error) == ("failed", failed.value.message)


def test_xtts_is_not_fetched_before_its_licence_is_agreed_to(tmp_path: Path) -> None:
    files = dict.fromkeys(("config.json", "model.pth", "vocab.json", "speakers_xtts.pth"), DATA)
    with local_hub(me__mine=Repo({})) as hub:
        hub.repos["coqui/XTTS-v2"] = Repo(files)
        with pytest.raises(Forbidden, match=r"Coqui Public Model License .* xtts-license"):
            Looking(hub, tmp_path, accept_xtts_license=False).fetch("xtts_v2")
        assert hub.ranges() == []
        assert Looking(hub, tmp_path, accept_xtts_license=True).fetch("xtts_v2").status == "done"


def test_who_agrees_to_the_licence_as_they_ask_has_cloned_voices_without_a_restart(
    tmp_path: Path,
) -> None:
    files = dict.fromkeys(("config.json", "model.pth", "vocab.json", "speakers_xtts.pth"), DATA)
    settings = Settings(_env_file=None, models_dir=tmp_path)
    refusing = Settings(_env_file=None, models_dir=tmp_path, accept_xtts_license=False)
    with local_hub() as hub:
        hub.repos["coqui/XTTS-v2"] = Repo(files)
        with pytest.raises(Forbidden, match="nobody has said"):
            Looking(hub, tmp_path).fetch("xtts_v2")
        with pytest.raises(Forbidden, match="ACCEPT_XTTS_LICENSE says no"):
            Looking(hub, tmp_path, accept_xtts_license=False).fetch("xtts_v2", accept_license=True)
        assert Looking(hub, tmp_path).fetch("xtts_v2", accept_license=True).status == "done"
    assert cloning_status(refusing).state == "unavailable"
    assert cloning_status(settings).state == "ready"
    (tmp_path / "xtts_v2" / "tos_agreed.txt").unlink()
    assert "nobody has said that they agree" in str(cloning_status(settings).reason)


def test_there_is_an_end_to_how_many_run_at_once(looking: Looking, repo: Repo) -> None:
    waiting = [Repo({f"m{n}.gguf": DATA + bytes([n])}, stalls_after=0) for n in range(MAX_RUNNING)]
    for number, each in enumerate(waiting):
        looking.hub.repos[f"me/m{number}"] = each
    told = [looking.ask(f"me/m{number}")[1] for number in range(MAX_RUNNING)]
    with pytest.raises(QueueFull):
        looking.ask()
    for each in waiting:
        each.go_on.set()
    assert [last(each).status for each in told] == ["done"] * MAX_RUNNING


def test_a_server_that_stops_keeps_what_was_fetched(looking: Looking, repo: Repo) -> None:
    _, told = looking.ask()
    assert repo.stalled.wait(60)
    repo.go_on.set()
    looking.downloads.close()
    assert last(told).status in ("stopped", "done")
    with pytest.raises(ShuttingDown):
        looking.ask()
