"""The newest speech, kept as files in `audio/` under readable names, to be found again by a key.

A thread of its own writes and removes, so that no answer waits for the disk. Only files named as this
module names them are ever removed.
"""

import contextlib
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engine_room.encoding import FORMATS
from engine_room.errors import NotFound, quoted
from engine_room.schemas_speech import KeptSpeech
from engine_room.settings import Settings

log = logging.getLogger(__name__)
OWN_NAME = re.compile(r"^\d{8}-\d{6}-\d{3}_[\w.-]+_[\w-]*\.(?:mp3|wav|flac|opus|aac|pcm)$")
MAX_WORDS_CHARS = 35
# With the time, 35 characters of four bytes and a key a name has 243 bytes, ".partial" has 9; file systems
# hold 255.
MAX_VOICE_BYTES = 60
KEY_CHARS = 16  # hexadecimal digits
KEY = re.compile(rf"_[0-9a-f]{{{KEY_CHARS}}}$")


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of speech, and its content type."""

    data: bytes
    media_type: str


class Recordings:
    """Keeps at most `audio_keep_files` files and `audio_keep_mb` megabytes; 0 of either keeps nothing."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.audio_dir
        self._max_files = settings.audio_keep_files
        self._max_bytes = settings.audio_keep_mb * 1_000_000
        self._queue: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_s: float = 5) -> None:
        """Write what is still queued, and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def keep(self, data: bytes, voice: str, text: str, format_name: str, key: str = "") -> None:
        """Have a finished file kept; returns at once. Callable from any thread. The `key`, hexadecimal,
        stands for all that makes it what it is."""
        if self._max_files and self._max_bytes:
            now = datetime.now()
            stamp = f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}"
            words = re.sub(r"[^\w]+", "-", text)[:MAX_WORDS_CHARS].strip("-").lower()
            voice = (
                re.sub(r"[^\w.-]+", "-", voice).encode()[:MAX_VOICE_BYTES].decode("utf-8", "ignore")
            )
            end = f"_{key[:KEY_CHARS]}" if key else ""
            self._queue.put((f"{stamp}_{voice}_{words}{end}.{format_name}", data))

    def found(self, key: str, format_name: str) -> bytes | None:
        """The newest file that was kept under this key; None when there is none. Reads the disk: not for the
        event loop."""
        try:
            names = [path for path in self._folder.iterdir() if OWN_NAME.match(path.name)]
            same = [p for p in names if p.name.endswith(f"_{key[:KEY_CHARS]}.{format_name}")]
            return max(same).read_bytes() if same else None
        except OSError:  # there is no folder, or the file went away just now
            return None

    def all(self) -> list[KeptSpeech]:
        """What is kept, the newest first. Reads the disk: not for the event loop."""
        return sorted(self._shown(), key=lambda kept: kept.id, reverse=True)

    def _shown(self) -> Iterator[KeptSpeech]:
        try:
            paths = [path for path in self._folder.iterdir() if OWN_NAME.match(path.name)]
        except OSError:  # nothing was kept yet
            return
        for path in paths:
            with contextlib.suppress(OSError):  # it went away just now
                yield _shown(path)

    def read(self, id_: str) -> KeptFile:
        """A file that is kept. Reads the disk: not for the event loop. Raises NotFound."""
        try:
            data = (self._folder / id_).read_bytes() if OWN_NAME.match(id_) else None
        except OSError:
            data = None
        if data is None:
            raise NotFound(
                f"There is no kept speech {quoted(id_)}, or no more: the oldest makes room for the newest. "
                "GET /v1/audio/speech/kept lists what there is.",
                param="kept_id",
            )
        # Which rate it has, a file of bare samples does not say.
        return KeptFile(data, FORMATS[id_.rpartition(".")[2]].media_type.partition(";")[0])

    def _run(self) -> None:
        try:
            self._remove_partials()
        except OSError as error:
            log.warning("cannot tidy up %s: %s", self._folder, error)
        while (item := self._queue.get()) is not None:
            try:
                self._write(*item)
                self._prune()
            except OSError as error:
                log.warning("speech is not kept in %s: %s", self._folder, error)

    def _write(self, name: str, data: bytes) -> None:
        """The whole file or none: written beside its place, then renamed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f".{name}.partial"
        try:
            partial.write_bytes(data)
            os.replace(partial, self._folder / name)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def _prune(self) -> None:
        own = sorted(path for path in self._folder.iterdir() if OWN_NAME.match(path.name))
        sizes = [path.stat().st_size for path in own]
        total, count = sum(sizes), len(own)
        for path, size in zip(own, sizes, strict=True):
            if count <= self._max_files and total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total, count = total - size, count - 1

    def _remove_partials(self) -> None:
        """Remove what a crash in the middle of a write left; a young one may be another server's."""
        for path in self._folder.glob(".*.partial"):
            age_s = time.time() - path.stat().st_mtime
            if age_s > 3600 and OWN_NAME.match(path.name[1:].removesuffix(".partial")):
                path.unlink(missing_ok=True)


def _shown(path: Path) -> KeptSpeech:
    """A file by what its name says. Voices may have underscores in their names, words rarely do."""
    stem, _, format_name = path.name.rpartition(".")
    voice, _, words = KEY.sub("", stem).partition("_")[2].rpartition("_")
    state = path.stat()
    return KeptSpeech(
        id=path.name,
        created=int(state.st_mtime),
        voice=voice,
        words=words.replace("-", " "),
        format=format_name,
        size_bytes=state.st_size,
    )
