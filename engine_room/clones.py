"""The clips in `voice_clones/` as voices: which there are, and under which ids.

A file is a voice, and so is a folder with clips in it. The folder is looked at anew each time, so what is
dropped in is a voice without a restart. Opens no audio; links are followed only within the folder.
"""

import hashlib
import json
import logging
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from engine_room.clips import CLEAN_SUFFIX
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.voice_names import composed, folded

log = logging.getLogger(__name__)
# The last is what an upload without a known suffix is kept as.
CLIP_SUFFIXES = set(
    ".wav .mp3 .flac .m4a .ogg .opus .webm .aac .mp4 .aif .aiff .amr .asf .au .avi .caf .flv .m4b .m4v .mka "
    ".mkv .mov .mp2 .mpeg .mpg .mpga .oga .ogv .ts .w64 .weba .wma .wmv .3gp .audio".split()
)
NOTE_NAME = "voice.json"
MAX_ID_CHARS = 1000  # file systems hold 255 bytes; composed and marked they may be a little more
MAX_NOTE_BYTES = 100_000
# A folder that changed just now may change again without its time changing: FAT counts in steps of 2 s.
SETTLED_NS = 2_500_000_000


@dataclass(frozen=True, slots=True)
class ClonedVoice:
    """The recordings in `voice_clones/` that make a voice, in their order, and the id it has.

    `language` is a code such as `de` or `pt-BR`, empty when unknown; `name` is the file's or the folder's.
    """

    id: str
    paths: tuple[Path, ...]
    language: str = ""
    description: str = ""
    name: str = field(default="", compare=False)
    created_at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or folder that is a voice, before it has its id."""

    name: str
    is_folder: bool
    paths: tuple[Path, ...]
    created_at: int
    note: dict[str, Any]

    @property
    def short_name(self) -> str:
        return self.name if self.is_folder else os.path.splitext(self.name)[0]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file or folder as it was looked at last; as long as both times are the same, so is the entry."""

    changed_ns: int
    note_changed_ns: int
    entry: _Entry | None


class Clones:
    """The voices in one folder. Thread-safe: it remembers only how files and folders were last seen, which
    makes ten thousand of them a matter of a tenth of a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, _Seen] = {}
        self._last: tuple[list[_Entry], tuple[ClonedVoice, ...]] = ([], ())

    def all(self) -> tuple[ClonedVoice, ...]:
        """Every voice, by name; the same object as long as nothing changed. A folder that cannot be read
        holds none; that is logged."""
        entries = sorted(self._entries(), key=lambda entry: entry.name)
        last_entries, voices = self._last
        if entries != last_entries:
            voices = tuple(
                ClonedVoice(
                    id_,
                    entry.paths,
                    _text(entry.note, "language"),
                    _text(entry.note, "description"),
                    entry.name,
                    entry.created_at,
                )
                for id_, entry in zip(_ids(entries), entries, strict=True)
            )
            self._last = entries, voices
        return voices

    def find(self, name: str) -> list[ClonedVoice]:
        """The voice of this id or file name: in another case, without accents, without the suffix too
        where only one can be meant. Several when several can, none when none."""
        if len(name) > MAX_ID_CHARS:  # nothing is called so; and what is folded, is remembered
            return []
        voices = self.all()
        for alike in (composed, folded):
            wanted = alike(name)
            if exact := [voice for voice in voices if alike(voice.id) == wanted]:
                return exact
            found = [voice for voice in voices if wanted in _other_names(voice, alike)]
            if found:
                return found
        return []

    def _entries(self) -> list[_Entry]:
        seen: dict[str, _Seen] = {}
        try:
            with os.scandir(self._folder) as entries:
                found = [self._entry(entry, seen) for entry in entries if _is_visible(entry.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("%s cannot be read: %s", self._folder, error.strerror)
            return []
        self._seen = seen
        there = [entry for entry in found if entry]
        names = {entry.name for entry in there if not entry.is_folder}
        return [each for each in there if each.is_folder or not _is_kept_clean(each.name, names)]

    def _entry(self, entry: os.DirEntry[str], seen: dict[str, _Seen]) -> _Entry | None:
        """What a file or folder is as a voice; what was seen of it goes into `seen`."""
        try:
            if entry.is_dir(follow_symlinks=False):
                look = self._look(entry.path, entry.name)
            elif _is_clip(entry, self._folder):
                look = self._look_at_file(entry)
            else:
                return None
        except OSError as error:  # it went away meanwhile, or must not be read
            log.warning("%s cannot be read: %s", entry.path, error.strerror)
            return None
        seen[entry.name] = look
        return look.entry

    def _look_at_file(self, entry: os.DirEntry[str]) -> _Seen:
        changed_ns = entry.stat().st_mtime_ns
        seen = self._seen.get(entry.name)
        if seen and seen.changed_ns == changed_ns and seen.entry and not seen.entry.is_folder:
            return seen
        paths = (self._folder / entry.name,)
        return _Seen(changed_ns, 0, _Entry(entry.name, False, paths, changed_ns // 10**9, {}))

    def _look(self, path: str, name: str) -> _Seen:
        """What a folder holds, from memory if neither it nor its note changed. Raises OSError."""
        seen = self._seen.get(name)
        changed_ns, note_changed_ns = os.stat(path).st_mtime_ns, 0
        if seen and seen.note_changed_ns:
            note_changed_ns = _changed_ns(os.path.join(path, NOTE_NAME))
        if seen and (changed_ns, note_changed_ns) == (seen.changed_ns, seen.note_changed_ns):
            return seen
        seen = self._read(Path(path), name, changed_ns, changed_ns // 10**9)
        newest_ns = max(seen.changed_ns, seen.note_changed_ns)
        return seen if time.time_ns() - newest_ns > SETTLED_NS else _Seen(-1, 0, seen.entry)

    def _read(self, folder: Path, name: str, changed_ns: int, changed_s: int) -> _Seen:
        with os.scandir(folder) as entries:
            clips = [each.name for each in entries if _is_clip(each, self._folder)]
        clips = sorted((clip for clip in clips if not _is_kept_clean(clip, clips)), key=_natural)
        if not clips:
            return _Seen(changed_ns, 0, None)
        note_path = folder / NOTE_NAME
        note_changed_ns = _changed_ns(note_path)
        note = _note(note_path) if note_changed_ns else {}
        created_at = note.get("created_at")
        entry = _Entry(
            name,
            True,
            tuple(folder / clip for clip in clips),
            created_at if _is_time(created_at) else changed_s,
            note,
        )
        return _Seen(changed_ns, note_changed_ns, entry)


def is_own_file(name: str) -> bool:
    """Whether a file in a voice's folder belongs to the voice: a clip, a clip made ready, its note."""
    return name == NOTE_NAME or (_is_visible(name) and _suffix(name) in CLIP_SUFFIXES)


def _ids(entries: list[_Entry]) -> list[str]:
    """An id for each: its name, a file's without the suffix where that is unmistakable, so that a new file
    never takes another one's id."""
    short = Counter(folded(entry.short_name) for entry in entries)
    taken = {name for name, count in short.items() if count > 1} | set(STANDARD_VOICES)
    # bob.wav.ogg is not to be "bob.wav".
    taken |= {folded(entry.name) for entry in entries if not entry.is_folder}
    names = [
        entry.name if folded(entry.short_name) in taken else entry.short_name for entry in entries
    ]
    count = Counter(map(composed, names))
    return [
        composed(name)
        if (name == composed(name) or count[composed(name)] == 1)
        and folded(name) not in STANDARD_VOICES
        else f"{composed(name)}~{_mark(name)}"
        for name in names
    ]


def _mark(name: str) -> str:
    """Six characters that tell a name from others that look the same."""
    return hashlib.sha256(name.encode()).hexdigest()[:6]


def _other_names(voice: ClonedVoice, alike: Any) -> tuple[str, str]:
    return alike(voice.name), alike(os.path.splitext(voice.name)[0])


def _is_visible(name: str) -> bool:
    """Neither hidden, as unfinished files are, nor a name that is no text (which no JSON could carry)."""
    if name.startswith("."):
        return False
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_clip(entry: os.DirEntry[str], clones_dir: Path) -> bool:
    if _suffix(entry.name) not in CLIP_SUFFIXES or not _is_visible(entry.name):
        return False
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):  # its file is gone, or it leads in a circle
        return False
    return target.is_file() and target.is_relative_to(clones_dir.resolve())


def _is_kept_clean(name: str, names: Collection[str]) -> bool:
    """Whether this is a clip made ready, kept beside its recording."""
    return name.endswith(CLEAN_SUFFIX) and name.removesuffix(CLEAN_SUFFIX) in names


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts clip 2 before clip 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _changed_ns(path: str | Path) -> int:
    """When a file, no link, was last changed; 0 when there is none."""
    try:
        state = os.lstat(path)
    except OSError:
        return 0
    return state.st_mtime_ns if stat.S_ISREG(state.st_mode) else 0


def _note(path: Path) -> dict[str, Any]:
    """What `voice.json` says; a broken one says nothing."""
    try:
        with path.open("rb") as file:
            note = json.loads(file.read(MAX_NOTE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read: %s", path, error)
        return {}
    return note if isinstance(note, dict) else {}


def _is_time(value: object) -> TypeGuard[int]:
    """Whether a note's number can be a time: JavaScript reads whole numbers up to 2^53."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _text(note: dict[str, Any], name: str) -> str:
    value = note.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
