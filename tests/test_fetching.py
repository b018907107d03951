"""A fetched model appears when it is whole and right, and not before; a break costs nothing."""

import hashlib
import os
import random
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import filelock
import pytest

from engine_room.errors import BadHub, CannotStore, HubUnreachable, ModelExists
from engine_room.fetch_plan import Plan, plan_for
from engine_room.fetched_part import BLOCK_BYTES, Part
from engine_room.fetching import Cancelled, Fetcher, Progress
from engine_room.hub import Hub, HubFile
from engine_room.installed import tidy_downloads
from engine_room.offers import Offers
from tests.local_hub import LocalHub, Repo, local_hub

DATA = random.Random(0).randbytes(300_000)
PARTS = {f"m-Q8_0-0000{n}-of-00003.gguf": DATA[: 50_000 * n] for n in (1, 2, 3)}
XTTS = dict.fromkeys(("config.json", "model.pth", "vocab.json"), DATA[:2000]) | {
    "speakers_xtts.pth": DATA[:100]
}


class Fetching:
    """A hub, a folder of models, and what was reported."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self.folder = folder
        self.hub = Hub(hub.url)
        self.fetcher = Fetcher(self.hub, folder, retry_s=0.001)
        self.reported: list[Progress] = []
        self.cancelled = threading.Event()

    def plan(self, name: str = "me/mine") -> Plan:
        return plan_for(name, Offers(self.folder), self.hub)

    def fetch(self, name: str = "me/mine") -> Path:
        return self.fetcher.fetch(self.plan(name), self.reported.append, self.cancelled)

    def shown(self) -> list[str]:
        """What lies in the folder of models, as a listing has it."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def kept(self) -> list[int]:
        """The sizes of what is kept of unfinished downloads."""
        paths = (self.folder / ".downloads").iterdir()
        return sorted(path.stat().st_size for path in paths if path.suffix != ".lock")


def test_a_file_is_fetched_whole_with_its_progress(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA})) as hub:
        fetching = Fetching(hub, tmp_path / "models")
        assert fetching.fetch() == tmp_path / "models" / "m.gguf"
        assert fetching.fetch() == tmp_path / "models" / "m.gguf"  # which fetches nothing
        assert hub.ranges() == [None]
    assert (tmp_path / "models" / "m.gguf").read_bytes() == DATA
    assert fetching.shown() == ["m.gguf"]
    assert fetching.kept() == []
    first, last = fetching.reported[0], fetching.reported[-1]
    assert (first.done_bytes, first.total_bytes, first.seconds_left) == (0, 300_000, None)
    assert (last.done_bytes, last.seconds_left) == (300_000, 0)
    assert last.bytes_per_s > 0


def test_a_break_is_taken_up_where_it_was(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA}, breaks=[100_000, 0, 50_000])) as hub:
        fetching = Fetching(hub, tmp_path)
        fetching.fetch()
        assert hub.ranges() == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert (tmp_path / "m.gguf").read_bytes() == DATA


def test_what_a_break_for_good_left_is_gone_on_with_the_next_time(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA}, breaks=[200_000, *[0] * 6])) as hub:
        fetching = Fetching(hub, tmp_path)
        with pytest.raises(HubUnreachable, match="broke off"):
            fetching.fetch()
        assert (fetching.shown(), fetching.kept()) == ([], [200_000])
        assert fetching.fetcher.left_bytes(fetching.plan()) == 100_000
        Fetching(hub, tmp_path).fetch()
        assert hub.ranges()[-1] == "bytes=200000-"
    assert (tmp_path / "m.gguf").read_bytes() == DATA
    assert fetching.kept() == []


def test_a_hub_that_ignores_range_is_read_from_the_start_again(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA}, breaks=[100_000], ignores_range=True)) as hub:
        fetching = Fetching(hub, tmp_path)
        fetching.fetch()
    assert (tmp_path / "m.gguf").read_bytes() == DATA
    assert fetching.reported[-1].done_bytes == 300_000


def test_a_wrong_hash_leaves_nothing_and_is_said(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA}, stated_sha256="ab" * 32)) as hub:
        fetching = Fetching(hub, tmp_path)
        true = hashlib.sha256(DATA).hexdigest()
        with pytest.raises(BadHub, match=f"its SHA-256 is {true}, not abab.* It was removed"):
            fetching.fetch()
        assert (fetching.shown(), fetching.kept()) == ([], [])


def test_a_small_file_is_checked_too(tmp_path: Path) -> None:
    repo = Repo({"tiny.gguf": b"GGUF"})
    with local_hub(me__mine=repo) as hub:
        fetching = Fetching(hub, tmp_path)
        plan = fetching.plan()
        repo.files["tiny.gguf"] = b"GGUG"
        with pytest.raises(BadHub, match="its git SHA-1 is"):
            fetching.fetcher.fetch(plan, fetching.reported.append, fetching.cancelled)
        assert (fetching.shown(), fetching.kept()) == ([], [])


@pytest.mark.parametrize("sent", [DATA + b"more", DATA[:-1]], ids=["longer", "shorter"])
def test_another_length_than_was_said_is_refused(tmp_path: Path, sent: bytes) -> None:
    repo = Repo({"m.gguf": DATA})
    with local_hub(me__mine=repo) as hub:
        fetching = Fetching(hub, tmp_path)
        plan = fetching.plan()
        repo.files["m.gguf"] = sent
        with pytest.raises(BadHub, match=r"longer than 300,000|ends after 299,999|SHA-256"):
            fetching.fetcher.fetch(plan, fetching.reported.append, fetching.cancelled)
        assert fetching.shown() == []


def test_a_kept_part_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    repo = Repo({"m.gguf": DATA}, breaks=[100_000, *[0] * 6])
    with local_hub(me__mine=repo) as hub:
        with pytest.raises(HubUnreachable):
            Fetching(hub, tmp_path).fetch()
        repo.files["m.gguf"] = DATA[::-1]  # the repository has a new version
        Fetching(hub, tmp_path).fetch()
    assert (tmp_path / "m.gguf").read_bytes() == DATA[::-1]


def test_a_split_model_appears_with_its_last_part_and_keeps_the_whole_ones(tmp_path: Path) -> None:
    repo = Repo(dict(PARTS), breaks=[50_000, 10, *[0] * 6])
    with local_hub(me__mine=repo) as hub:
        fetching = Fetching(hub, tmp_path)
        with pytest.raises(HubUnreachable):
            fetching.fetch()
        assert (fetching.shown(), fetching.kept()) == ([], [10, 50_000])
        assert fetching.fetch() == tmp_path / "m-Q8_0-00001-of-00003.gguf"
    assert fetching.shown() == sorted(PARTS)
    assert all((tmp_path / name).read_bytes() == data for name, data in PARTS.items())


def test_a_split_model_is_not_seen_while_a_part_is_not_in_its_place(tmp_path: Path) -> None:
    first, second, _ = sorted(PARTS)
    with local_hub(me__mine=Repo(dict(PARTS))) as hub:
        fetching = Fetching(hub, tmp_path)

        def be_in_the_way(progress: Progress) -> None:
            if progress.done_bytes == progress.total_bytes:
                (tmp_path / second).mkdir(exist_ok=True)

        with pytest.raises(CannotStore, match="what was fetched so far is kept"):
            fetching.fetcher.fetch(fetching.plan(), be_in_the_way, fetching.cancelled)
        assert first not in fetching.shown()


def test_a_projector_comes_before_its_model_and_is_fetched_once_for_all_its_quantisations(
    tmp_path: Path,
) -> None:
    files = {f"m-{quant}.gguf": DATA[:-size] for size, quant in ((1, "Q4_0"), (2, "Q8_0"))}
    repo = Repo({**files, "mmproj-model-f16.gguf": DATA})
    with local_hub(me__mine=repo) as hub:
        fetching = Fetching(hub, tmp_path)
        seen: list[list[str]] = []

        def look(progress: Progress) -> None:
            fetching.reported.append(progress)
            seen.append(fetching.shown())

        fetching.fetcher.fetch(fetching.plan("me/mine:Q4_0"), look, fetching.cancelled)
        assert "m-Q4_0.gguf" not in seen[-1]
        assert fetching.reported[-1].done_bytes == 599_999
        assert fetching.shown() == ["m-Q4_0.gguf", "mmproj-m-F16.gguf"]
        fetching.fetch("me/mine:Q8_0")
        assert len(hub.ranges()) == 3
        assert fetching.reported[-1].done_bytes == 599_998
        (tmp_path / "mmproj-m-F16.gguf").unlink()  # as of a model fetched without it
        fetching.fetch("me/mine:Q8_0")
        assert len(hub.ranges()) == 4
        assert (tmp_path / "mmproj-m-F16.gguf").read_bytes() == DATA
        (tmp_path / "mmproj-m-F16.gguf").write_bytes(b"mine")
        with pytest.raises(ModelExists, match=r"something else named mmproj-m-F16\.gguf"):
            fetching.fetch("me/mine:Q8_0")
    assert (tmp_path / "mmproj-m-F16.gguf").read_bytes() == b"mine"


def test_two_quantisations_fetched_at_once_share_the_download_of_their_projector(
    tmp_path: Path,
) -> None:
    files = {f"m-{quant}.gguf": DATA[:100] for quant in ("Q4_0", "Q8_0")}
    repo = Repo({**files, "mmproj-model-f16.gguf": DATA})
    with local_hub(me__mine=repo) as hub:
        first, second = Fetching(hub, tmp_path), Fetching(hub, tmp_path)
        plan = first.plan("me/mine:Q4_0")
        waits = threading.Event()

        class Waiting(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                waits.set()
                return super().wait(timeout)

        second.cancelled = Waiting()
        other = threading.Thread(target=second.fetch, args=("me/mine:Q8_0",))
        with first.fetcher._locked(plan.files[-1]):  # as while the first one fetches it
            other.start()
            assert waits.wait(60)
            assert len(hub.ranges()) == 1  # of its own file, and no more
        first.fetch("me/mine:Q4_0")
        other.join()
        assert len(hub.ranges()) == 3
    assert first.shown() == ["m-Q4_0.gguf", "m-Q8_0.gguf", "mmproj-m-F16.gguf"]
    assert (tmp_path / "mmproj-m-F16.gguf").read_bytes() == DATA


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    repo = Repo(dict(XTTS), breaks=[2000, 5, *[0] * 6])
    with local_hub(coqui__XTTS_v2=Repo({})) as hub:
        hub.repos["coqui/XTTS-v2"] = repo
        fetching = Fetching(hub, tmp_path)
        with pytest.raises(HubUnreachable):
            fetching.fetch("xtts_v2")
        assert fetching.shown() == []
        assert fetching.fetch("xtts_v2") == tmp_path / "xtts_v2"
        fetching.fetch("xtts_v2")
    assert sorted(path.name for path in (tmp_path / "xtts_v2").iterdir()) == sorted(XTTS)
    assert fetching.kept() == []


def test_what_lies_there_already_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"mine")
    (tmp_path / "xtts_v2").mkdir()
    with local_hub(me__mine=Repo({"m.gguf": DATA})) as hub:
        hub.repos["coqui/XTTS-v2"] = Repo(dict(XTTS))
        fetching = Fetching(hub, tmp_path)
        for name, missing in (("me/mine", r"m\.gguf"), ("xtts_v2", r"config\.json")):
            with pytest.raises(ModelExists, match=f"something else named .*{missing} is missing"):
                fetching.fetch(name)
        assert hub.ranges() == []
    assert (tmp_path / "m.gguf").read_bytes() == b"mine"


def test_a_cancelled_download_is_kept_and_goes_on(tmp_path: Path) -> None:
    # It asks for the rest when it has written down what came before.
    repo = Repo({"m.gguf": DATA}, breaks=[100_000], stalls_after=0)
    with local_hub(me__mine=repo) as hub:
        fetching = Fetching(hub, tmp_path)

        def cancel_when_stalled() -> None:
            repo.stalled.wait(60)
            fetching.cancelled.set()
            repo.go_on.set()

        canceller = threading.Thread(target=cancel_when_stalled)
        canceller.start()
        with pytest.raises(Cancelled):
            fetching.fetch()
        canceller.join()
        assert (fetching.shown(), fetching.kept()) == ([], [100_000])
        Fetching(hub, tmp_path).fetch()
    assert (tmp_path / "m.gguf").read_bytes() == DATA


def test_a_disk_without_room_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA})) as hub:
        fetching = Fetching(hub, tmp_path)
        plan = fetching.plan()
        huge = replace(plan, files=(replace(plan.files[0], size_bytes=1 << 60),))
        with pytest.raises(CannotStore, match=r"needs 1152921504\.6 GB .* Nothing was fetched"):
            fetching.fetcher.fetch(huge, fetching.reported.append, fetching.cancelled)
        assert hub.ranges() == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ".downloads").write_text("a file")
    with (
        local_hub(me__mine=Repo({"m.gguf": DATA})) as hub,
        pytest.raises(CannotStore, match=r"could not be written into .*File exists"),
    ):
        Fetching(hub, tmp_path).fetch()


def test_a_folder_of_models_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with (
        local_hub(me__mine=Repo({"m.gguf": DATA})) as hub,
        pytest.raises(CannotStore, match=r"could not be written into .*models"),
    ):
        Fetching(hub, tmp_path / "models").fetch()


def test_two_programs_do_not_write_the_same_file(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA})) as hub:
        fetching = Fetching(hub, tmp_path)
        (tmp_path / ".downloads").mkdir()
        sha256 = hashlib.sha256(DATA).hexdigest()
        lock = filelock.FileLock(tmp_path / ".downloads" / f"{sha256[:16]}-m.gguf.lock")
        with lock, pytest.raises(ModelExists, match="by another program already"):
            fetching.fetch()
        fetching.fetch()
    assert fetching.shown() == ["m.gguf"]


def test_two_downloads_do_not_count_on_the_same_room(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"a.gguf": DATA}), me__other=Repo({"b.gguf": DATA})) as hub:
        first, second = Fetching(hub, tmp_path), Fetching(hub, tmp_path)
        free = shutil.disk_usage(tmp_path).free

        def sized(name: str) -> Plan:  # so large that the disk holds either, but not both
            plan = first.plan(name)
            return replace(plan, files=(replace(plan.files[0], size_bytes=free * 6 // 10),))

        refused: list[CannotStore] = []

        def meanwhile(_: Progress) -> None:
            with pytest.raises(CannotStore, match=r"are for other downloads\)") as caught:
                second.fetcher.fetch(sized("me/other"), second.reported.append, second.cancelled)
            refused.append(caught.value)
            first.cancelled.set()

        for _ in range(2):  # once it is over its room is free again
            with pytest.raises(Cancelled):
                first.fetcher.fetch(sized("me/mine"), meanwhile, first.cancelled)
        assert refused


def test_who_goes_on_with_an_old_download_makes_it_young(tmp_path: Path) -> None:
    repo = Repo(dict(PARTS), breaks=[50_000, 10, *[0] * 6])
    with local_hub(me__mine=repo) as hub:
        fetching = Fetching(hub, tmp_path)
        with pytest.raises(HubUnreachable):
            fetching.fetch()
        for path in (tmp_path / ".downloads").iterdir():
            os.utime(path, (0, 0))
        repo.breaks = [0] * 7
        with pytest.raises(HubUnreachable):
            fetching.fetch()
    tidy_downloads(tmp_path)
    assert fetching.kept() == [10, 50_000]


def test_a_folder_is_busy_while_somebody_fetches_into_it(tmp_path: Path) -> None:
    with local_hub(me__mine=Repo({"m.gguf": DATA})) as hub:
        fetching = Fetching(hub, tmp_path)
        seen: list[bool] = []
        fetching.fetcher.fetch(
            fetching.plan(),
            lambda _: seen.append(Fetching(hub, tmp_path).fetcher.is_busy()),
            fetching.cancelled,
        )
        assert set(seen) == {True}
        assert not fetching.fetcher.is_busy()


def test_nothing_is_written_behind_a_gap_that_a_full_disk_left(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limits to files on this system")
    blocks = [bytes([number]) * BLOCK_BYTES for number in range(3)]
    size = len(blocks) * BLOCK_BYTES
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    part = Part(tmp_path / "m.part", HubFile("m.gguf", size, sha256="ab" * 32))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK_BYTES // 2, limits[1]))
        part.write(blocks[0])
        with pytest.raises(OSError, match="File too large"):
            part.write(blocks[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
        part.__exit__()  # when there is room again
    assert (tmp_path / "m.part").read_bytes() == blocks[0][: BLOCK_BYTES // 2]
