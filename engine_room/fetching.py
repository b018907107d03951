"""Fetching a model into `models/`, where it appears only when it is whole and checked.

Files are written in `models/.downloads/` under the hash of what they are to become, so that whoever asks
for the same content goes on where the last one stopped, and nobody goes on with something else.
"""

import errno
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from engine_room.errors import ApiError, BadHub, CannotStore, HubUnreachable, ModelExists
from engine_room.fetch_plan import Plan
from engine_room.fetched_part import Part
from engine_room.hub import Hub, HubFile, Repository
from engine_room.installed import DOWNLOADS, PARTIAL

log = logging.getLogger(__name__)
# Stays free on the disk: what else runs there needs some, and a full system disk stops a machine.
RESERVE_BYTES = 1_000_000_000
# So often a broken connection is taken up again without a byte coming meanwhile; then it is an error.
MAX_RETRIES = 5
REPORT_EVERY_S = 0.25
RATE_OVER_S = 10.0
LOOK_AGAIN_S = 0.25  # whether another program is done with a file


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is; the rate is that of the last seconds, 0 and None while it is not known."""

    done_bytes: int
    total_bytes: int
    bytes_per_s: float = 0
    seconds_left: float | None = None


class Cancelled(Exception):
    """Somebody stopped the download; what was fetched is kept."""


Report = Callable[[Progress], None]
# The downloads of this program, which all count on the same disk.
_under_way: list[tuple["Fetcher", Plan]] = []
_under_way_lock = threading.Lock()


class Fetcher:
    """Fetches into one folder. Callable from any thread; each call takes as long as the network does."""

    def __init__(self, hub: Hub, models_dir: Path, retry_s: float = 1.0) -> None:
        self._hub = hub
        self._models_dir = models_dir
        self._folder = models_dir / DOWNLOADS
        self._retry_s = retry_s

    def place(self, plan: Plan) -> Path:
        """Where the model will be: its folder, or its file, of a split model the first."""
        return self._models_dir / (plan.folder or plan.files[0].name)

    def is_there(self, plan: Plan) -> bool:
        """Whether the model is in `models/` already, by its names and sizes. Raises ModelExists when
        something else is in its place."""
        own = [file for file in plan.files if file is not plan.projector]
        projectors = [plan.projector] if plan.projector else []
        return all([self._are_there(plan, own), *(self._are_there(plan, [p]) for p in projectors)])

    def _are_there(self, plan: Plan, files: list[HubFile]) -> bool:
        """Whether all of these are in `models/` or none is. Raises ModelExists."""
        places = [self._place_of(plan, file) for file in files]
        whole = places if plan.folder == "" else [self.place(plan)]
        if not any(os.path.lexists(place) for place in whole):
            return False
        for place, file in zip(places, files, strict=True):
            if not self._is_in_place(plan, file):
                raise ModelExists(
                    f"In {self._models_dir} there is something else named {whole[0].name} ("
                    f"{place.name} is missing, or not as long as the hub's). Remove or rename it first.",
                    param="model",
                )
        return True

    def _is_in_place(self, plan: Plan, file: HubFile) -> bool:
        place = self._place_of(plan, file)
        return place.is_file() and place.stat().st_size == file.size_bytes

    def left_bytes(self, plan: Plan) -> int:
        """What is still to be fetched."""
        return sum(
            file.size_bytes - self._have_bytes(file)
            for file in plan.files
            if not self._is_in_place(plan, file)
        )

    def fetch(self, plan: Plan, report: Report, cancelled: threading.Event) -> Path:
        """Fetch a model; where it is then. `report` is called four times a second. Raises Cancelled,
        ModelExists, CannotStore, BadHub, and what the hub raises; what was fetched is kept but for a file
        that turned out wrong."""
        if self.is_there(plan):
            return self.place(plan)
        with self._written(plan), self._room_for(plan), self._alone(plan):
            self._make_young(plan)
            meter = _Meter(plan.size_bytes, plan.size_bytes - self.left_bytes(plan), report)
            own = [file for file in plan.files if not self._is_in_place(plan, file)]
            if plan.projector in own:
                own.remove(plan.projector)
            for file in own:
                self._fetch_file(plan.repository, file, meter, cancelled)
            if plan.projector:
                self._fetch_projector(plan, plan.projector, meter, cancelled)
            self._put(plan, own)
        return self.place(plan)

    def _fetch_projector(
        self, plan: Plan, file: HubFile, meter: "_Meter", cancelled: threading.Event
    ) -> None:
        """Have a projector in its place, which another quantisation of the model may need just now too."""
        while not self._is_in_place(plan, file):
            with self._locked(file) as is_ours:
                if is_ours and not self._is_in_place(plan, file):
                    self._fetch_file(plan.repository, file, meter, cancelled)
                    os.replace(self._whole(file), self._place_of(plan, file))
            if not is_ours and cancelled.wait(LOOK_AGAIN_S):
                raise Cancelled

    def _fetch_file(
        self, repository: Repository, file: HubFile, meter: "_Meter", cancelled: threading.Event
    ) -> None:
        """Have a file's content whole and checked in the folder of downloads."""
        if self._whole(file).is_file():
            return
        with Part(self._partial(file), file) as part:
            num_retries, furthest = 0, part.num_bytes
            while part.num_bytes < file.size_bytes:
                try:
                    self._read_on(repository, file, part, meter, cancelled)
                except HubUnreachable as error:
                    problem: ApiError = error
                else:  # it ended too early without a word
                    problem = BadHub(
                        f"{file.path} ends after {part.num_bytes:,} of {file.size_bytes:,} bytes."
                    )
                if part.num_bytes >= file.size_bytes:
                    break
                num_retries = 0 if part.num_bytes > furthest else num_retries + 1
                furthest = max(furthest, part.num_bytes)
                if num_retries > MAX_RETRIES:
                    raise problem
                part.flush()  # a hub that breaks off may keep silent next, until somebody ends the program
                log.info("%s; going on at byte %d", problem.message, part.num_bytes)
                if cancelled.wait(self._retry_s * 2**num_retries):
                    raise Cancelled
            part.check()
        os.replace(self._partial(file), self._whole(file))

    def _read_on(
        self,
        repository: Repository,
        file: HubFile,
        part: Part,
        meter: "_Meter",
        cancelled: threading.Event,
    ) -> None:
        with self._hub.opened(repository, file, part.num_bytes) as body:
            if body.start != part.num_bytes:  # the hub sends all of it again
                meter.add(-part.num_bytes)
                part.clear()
            for chunk in body.chunks:
                if cancelled.is_set():
                    raise Cancelled
                part.write(chunk)
                meter.add(len(chunk))

    def _put(self, plan: Plan, files: list[HubFile]) -> None:
        """Let a model appear, in one step for a folder, else with the file that is looked for last."""
        if plan.folder:
            whole = self._folder / f"{plan.folder}.whole"
            shutil.rmtree(whole, ignore_errors=True)  # of a crash between two of these lines
            whole.mkdir()
            for file in files:
                os.replace(self._whole(file), whole / file.name)
            os.rename(whole, self.place(plan))
            return
        for file in reversed(files):
            os.replace(self._whole(file), self._place_of(plan, file))

    @contextmanager
    def _room_for(self, plan: Plan) -> Iterator[None]:
        """Raise CannotStore unless the disk holds this download and what is left of this program's others."""
        with _under_way_lock:
            self._models_dir.mkdir(parents=True, exist_ok=True)
            others = sum(fetcher.left_bytes(other) for fetcher, other in _under_way)
            free = shutil.disk_usage(self._models_dir).free - others
            left = self.left_bytes(plan)
            if free < left + RESERVE_BYTES:
                promised = f" ({others / 1e9:.1f} GB are for other downloads)" if others else ""
                raise CannotStore(
                    f"{plan.id} needs {left / 1e9:.1f} GB in {self._models_dir}, where "
                    f"{max(free, 0) / 1e9:.1f} GB are free{promised}, of which {RESERVE_BYTES / 1e9:.0f} GB "
                    "stays so. Nothing was fetched."
                )
            self._folder.mkdir(exist_ok=True)
            _under_way.append((self, plan))
        try:
            yield
        finally:
            with _under_way_lock:
                _under_way.remove((self, plan))

    def _make_young(self, plan: Plan) -> None:
        """So that nobody takes what is there for abandoned."""
        for file in plan.files:
            for path in (self._whole(file), self._partial(file)):
                if path.exists():
                    os.utime(path)

    def is_busy(self) -> bool:
        """Whether some program fetches into this folder just now."""
        for path in self._folder.glob("*.lock"):
            lock = filelock.FileLock(path, timeout=0)
            try:
                lock.acquire()
            except filelock.Timeout:
                return True
            lock.release()
        return False

    @contextmanager
    def _written(self, plan: Plan) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            mend = "Make room there" if full else "Mend that"
            raise CannotStore(
                f"{plan.id} could not be written into {self._models_dir}: {error.strerror}. {mend}, and "
                "fetch it again: what was fetched so far is kept, and it goes on from there."
            ) from error

    @contextmanager
    def _alone(self, plan: Plan) -> Iterator[None]:
        """Keep other programs from the same files; within one, Downloads does."""
        with self._locked(plan.files[0]) as is_ours:
            if not is_ours:
                raise ModelExists(
                    f"{plan.id} is being fetched by another program already (the server, perhaps).",
                    param="model",
                    code="download_running",
                )
            yield

    @contextmanager
    def _locked(self, file: HubFile) -> Iterator[bool]:
        """Whether a file is ours, and no other program's, within the context."""
        lock = filelock.FileLock(f"{self._whole(file)}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _whole(self, file: HubFile) -> Path:
        return self._folder / f"{(file.sha256 or file.git_sha1)[:16]}-{file.name}"

    def _partial(self, file: HubFile) -> Path:
        whole = self._whole(file)
        return whole.with_name(f"{whole.name}{PARTIAL}")

    def _place_of(self, plan: Plan, file: HubFile) -> Path:
        folder = self._models_dir / plan.folder if plan.folder else self._models_dir
        return folder / file.name

    def _have_bytes(self, file: HubFile) -> int:
        if self._whole(file).is_file():
            return file.size_bytes
        try:
            return min(self._partial(file).stat().st_size, file.size_bytes)
        except OSError:
            return 0


class _Meter:
    """Counts bytes, and reports now and then."""

    def __init__(self, total_bytes: int, done_bytes: int, report: Report) -> None:
        self._total = total_bytes
        self._done = done_bytes
        self._report = report
        self._marks = deque([(time.monotonic(), done_bytes)])
        report(Progress(done_bytes, total_bytes))

    def add(self, num_bytes: int) -> None:
        """Some bytes more; less than none where a file begins anew."""
        self._done += num_bytes
        now = time.monotonic()
        if num_bytes < 0:
            self._marks = deque([(now, self._done)])
        if now - self._marks[-1][0] < REPORT_EVERY_S and self._done < self._total:
            return
        self._marks.append((now, self._done))
        while now - self._marks[0][0] > RATE_OVER_S and len(self._marks) > 2:
            self._marks.popleft()
        (since, before), left = self._marks[0], self._total - self._done
        rate = (self._done - before) / (now - since) if now > since else 0
        self._report(Progress(self._done, self._total, rate, left / rate if rate else None))
