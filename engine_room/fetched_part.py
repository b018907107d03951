"""A file as far as it was fetched, written and hashed as its bytes come."""

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from engine_room.errors import BadHub
from engine_room.hub import HubFile

BLOCK_BYTES = 1 << 20


class Part:
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

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._out.closed:
            try:
                self.flush()
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

    def flush(self) -> None:
        """Have all of it written. Raises OSError."""
        self._hand_over()
        self._wait()

    def clear(self) -> None:
        """Begin anew."""
        self.flush()
        self._out.truncate(0)
        self.num_bytes = 0
        self._digest = self._new_digest()

    def check(self) -> None:
        """Have it on the disk, and let it pass if its hash is right; else it is removed. Raises BadHub."""
        self.flush()
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

    def _close(self) -> None:
        self._storing.shutdown()
        self._out.close()

    def _refuse(self, why: str) -> None:
        self._close()
        self._path.unlink(missing_ok=True)
        raise BadHub(
            f"{self._file.name} is not the file that it should be: {why}. It was removed; fetch it again, "
            "and do not trust its source if this is said again.",
            code="wrong_file",
        )
