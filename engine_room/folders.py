"""The files of a folder that people drop things into; whatever they drop, a listing never fails."""

import hashlib
import logging
import os
import time
from collections.abc import Collection
from pathlib import Path

log = logging.getLogger(__name__)
# Past this nobody writes any more, whoever has that number now.
STALE_S = 3600
Version = tuple[int, int]


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files with one of these suffixes (lower case), by name. Left out are hidden files, folders,
    links whose file is gone, and names that are no text (which no JSON could carry)."""
    try:
        return sorted(path for path in folder.iterdir() if _counts(path, suffixes))
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("%s cannot be read: %s", folder, error.strerror)
        return []


def _counts(path: Path, suffixes: Collection[str]) -> bool:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return False
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def modified_at(path: Path) -> int:
    """When a file was last changed, in seconds since 1970; 0 when it went away meanwhile."""
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return 0


def version(path: Path) -> Version:
    """What differs for another file of the same name; the same while it is not there."""
    try:
        now = path.stat()
    except OSError:
        return (0, 0)
    return (now.st_size, now.st_mtime_ns)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal, read a part at a time. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def is_left_over(path: Path, pid: int) -> bool:
    """Whether nobody writes there: old, or begun by a process that is no more (or by one of this one's
    number, which has only begun; in a container every server has the same). Raises OSError."""
    is_old = time.time() - path.stat().st_mtime > STALE_S
    return is_old or pid == os.getpid() or not _is_running(pid)


def _is_running(pid: int) -> bool:
    if os.name == "nt" or pid <= 0:
        return pid > 0  # Windows has no signal that only asks: there age decides alone
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
