"""The files of a folder that people drop things into; whatever they drop, a listing never fails."""

import hashlib
import logging
from collections.abc import Collection
from pathlib import Path

log = logging.getLogger(__name__)


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


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal, read a part at a time. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
