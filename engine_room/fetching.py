"""Fetching a model into `models/`, where it appears only when it is whole and checked.

Files are written in `models/.downloads/` under the hash of what they are to become, so that whoever asks
for the same content goes on where the last one stopped, and nobody goes on with something else.
"""

import errno
import hashlib
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import filelock

from engine_room.errors import ApiError, BadHub, CannotStore, HubUnreachable, ModelExists
from engine_room.fetch_plan import Plan
from engine_room.hub import Hub, HubFile, Repository
from engine_room.installed import DOWNLOADS, PARTIAL

log = logging.getLogger(__name__)
# Stays free on the disk: what else runs there needs some, and a full system disk stops a machine.
RESERVE_BYTES = 1_000_000_000
# So often a broken connection is taken up again without a byte coming meanwhile; then it is an error.
MAX_RETRIES = 5
REPORT_EVERY_S = 0.25
RATE_OVER_S = 10.0
BLOCK_BYTES = 1 << 20


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


class Fetcher:
    """Fetches into one folder. Callable from any thread; each call takes as long as the network does."""

    def __init__(self, hub: Hub, models_dir: Path, retry_s: float = 1.0) -> None:
        self._hub = hub
        self._models_dir = models_dir
        self._folder = models_dir / DOWNLOADS
        self._retry_s = retry_s

    def place(self, plan: Plan) -> Path:
        """Where the model will be: its folder, or its file, of a split model the first."""
        return self._models_dir / (plan.folder or _name(plan.files[0]))

    def is_there(self, plan: Plan) -> bool:
        """Whether the model is in `models/` already, by its names and sizes. Raises ModelExists when
        something else is in its place."""
        places = [self._place_of(plan, file) for file in plan.files]
        if not any(os.path.lexists(place) for place in [self.place(plan), *places]):
            return False
        for place, file in zip(places, plan.files, strict=True):
            if not place.is_file() or place.stat().st_size != file.size_bytes:
                raise ModelExists(
                    f"In {self._models_dir} there is something else named {self.place(plan).name} ("
                    f"{place.name} is missing, or not as long as the hub's). Remove or rename it first.",
                    param="model",
                )
        return True

    def left_bytes(self, plan: Plan) -> int:
        """What is still to be fetched."""
        return sum(file.size_bytes - self._have_bytes(file) for file in plan.files)

    def fetch(self, plan: Plan, report: Report, cancelled: threading.Event) -> Path:
        """Fetch a model; where it is then. `report` is called four times a second. Raises Cancelled,
        ModelExists, CannotStore, BadHub, and what the hub raises; what was fetched is kept but for a file
        that turned out wrong."""
        if self.is_there(plan):
            return self.place(plan)
        self._check_space(plan)
        with self._written(plan), self._alone(plan):
            meter = _Meter(plan.size_bytes, plan.size_bytes - self.left_bytes(plan), report)
            for file in plan.files:
                self._fetch_file(plan.repository, file, meter, cancelled)
            self._put(plan)
        return self.place(plan)

    def _fetch_file(
        self, repository: Repository, file: HubFile, meter: "_Meter", cancelled: threading.Event
    ) -> None:
        """Have a file's content whole and checked in the folder of downloads."""
        if self._whole(file).is_file():
            return
        with _Part(self._partial(file), file) as part:
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
                log.info("%s; going on at byte %d", problem.message, part.num_bytes)
                if cancelled.wait(self._retry_s * 2**num_retries):
                    raise Cancelled
            part.check()
        os.replace(self._partial(file), self._whole(file))

    def _read_on(
        self,
        repository: Repository,
        file: HubFile,
        part: "_Part",
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

    def _put(self, plan: Plan) -> None:
        """Let a model appear, in one step for a folder, else with the file that is looked for last."""
        if plan.folder:
            whole = self._folder / f"{plan.folder}.whole"
            shutil.rmtree(whole, ignore_errors=True)  # of a crash between two of these lines
            whole.mkdir()
            for file in plan.files:
                os.replace(self._whole(file), whole / _name(file))
            os.rename(whole, self.place(plan))
            return
        for file in reversed(plan.files):
            os.replace(self._whole(file), self._place_of(plan, file))

    def _check_space(self, plan: Plan) -> None:
        self._models_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._models_dir).free
        left = self.left_bytes(plan)
        if free < left + RESERVE_BYTES:
            raise CannotStore(
                f"{plan.id} needs {left / 1e9:.1f} GB in {self._models_dir}, where {free / 1e9:.1f} GB are "
                f"free, of which {RESERVE_BYTES / 1e9:.0f} GB stays so. Nothing was fetched."
            )

    @contextmanager
    def _written(self, plan: Plan) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
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
        lock = filelock.FileLock(f"{self._whole(plan.files[0])}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise ModelExists(
                f"{plan.id} is being fetched by another program already (the server, perhaps).",
                param="model",
                code="download_running",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _whole(self, file: HubFile) -> Path:
        return self._folder / f"{(file.sha256 or file.git_sha1)[:16]}-{_name(file)}"

    def _partial(self, file: HubFile) -> Path:
        whole = self._whole(file)
        return whole.with_name(f"{whole.name}{PARTIAL}")

    def _place_of(self, plan: Plan, file: HubFile) -> Path:
        folder = self._models_dir / plan.folder if plan.folder else self._models_dir
        return folder / _name(file)

    def _have_bytes(self, file: HubFile) -> int:
        if self._whole(file).is_file():
            return file.size_bytes
        try:
            return min(self._partial(file).stat().st_size, file.size_bytes)
        except OSError:
            return 0


def _name(file: HubFile) -> str:
    return PurePosixPath(file.path).name


class _Part:
    """A file as far as it was fetched, and the hash of that. Not thread-safe; a context manager.

    A block is written on a thread of its own while it is hashed and the next one is received, for either
    takes as long; no more than two of them are in memory.
    """

    def __init__(self, path: Path, file: HubFile) -> None:
        self._path = path
        self._file = file
        self._out = path.open("ab", buffering=0)
        self._storing = ThreadPoolExecutor(1, "download to disk")
        self._stored: Future[None] | None = None
        self._block: list[bytes] = []
        self._block_bytes = 0
        self.num_bytes = 0
        self._digest = self._new_digest()
        with path.open("rb") as before:
            while block := before.read(BLOCK_BYTES):
                self._digest.update(block)
                self.num_bytes += len(block)

    def _new_digest(self) -> Any:
        if self._file.sha256:
            return hashlib.sha256()
        return hashlib.sha1(
            b"blob %d\0" % self._file.size_bytes, usedforsecurity=False
        )  # as git does

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._out.closed:
            try:
                self._flush()
            finally:
                self._close()

    def write(self, chunk: bytes) -> None:
        """Append some bytes. Raises BadHub when they are more than the file has, and OSError (perhaps of
        bytes before these)."""
        self._block.append(chunk)
        self._block_bytes += len(chunk)
        self.num_bytes += len(chunk)
        if self.num_bytes > self._file.size_bytes:
            self._refuse(f"it is longer than {self._file.size_bytes:,} bytes")
        if self._block_bytes >= BLOCK_BYTES:
            self._hand_over()

    def clear(self) -> None:
        """Begin anew."""
        self._flush()
        self._out.truncate(0)
        self.num_bytes = 0
        self._digest = self._new_digest()

    def check(self) -> None:
        """Have it on the disk, and let it pass if its hash is right; else it is removed. Raises BadHub."""
        self._flush()
        os.fsync(self._out.fileno())
        wanted, found = self._file.sha256 or self._file.git_sha1, self._digest.hexdigest()
        if found != wanted:
            kind = "SHA-256" if self._file.sha256 else "git SHA-1"
            self._refuse(f"its {kind} is {found}, not {wanted}")

    def _hand_over(self) -> None:
        self._wait()
        block, self._block, self._block_bytes = b"".join(self._block), [], 0
        self._stored = self._storing.submit(self._store, block)
        self._digest.update(block)

    def _store(self, block: bytes) -> None:
        left = memoryview(block)
        while left:  # a disk that fills up takes a part of it first
            left = left[self._out.write(left) :]
        if hasattr(
            os, "posix_fadvise"
        ):  # Linux then begins to bring it to the disk, which `check` waits for
            start = self._out.tell() - len(block)
            os.posix_fadvise(self._out.fileno(), start, len(block), os.POSIX_FADV_DONTNEED)

    def _wait(self) -> None:
        if self._stored is None:
            return
        try:
            self._stored.result()
        except OSError:
            self._close()  # what was written behind the gap would be wrong
            raise
        self._stored = None

    def _flush(self) -> None:
        self._hand_over()
        self._wait()

    def _close(self) -> None:
        self._storing.shutdown()
        self._out.close()

    def _refuse(self, why: str) -> None:
        self._close()
        self._path.unlink(missing_ok=True)
        raise BadHub(
            f"{_name(self._file)} is not the file that it should be: {why}. It was removed; fetch it again, "
            "and do not trust its source if this is said again.",
            code="wrong_file",
        )


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
