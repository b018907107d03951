"""Voices kept in `voice_clones/`: each written whole or not at all, and deleted with its own files only."""

import errno
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine_room import clips
from engine_room.clones import CLIP_SUFFIXES, NOTE_NAME, ClonedVoice, is_own_file
from engine_room.encoding import encode
from engine_room.errors import CannotStore, VoiceExists
from engine_room.folders import is_left_over
from engine_room.voice_names import checked_name

log = logging.getLogger(__name__)
# Hidden, so that no listing shows them; the process's number tells whether somebody still writes there.
PARTIAL = ".voice-{pid}-{unique}.partial"


@dataclass(frozen=True, slots=True)
class Clip:
    """One uploaded recording: the file's name on the client, and its bytes."""

    file_name: str
    data: bytes

    @property
    def suffix(self) -> str:
        """The name's suffix if it is one of a clip; what the file really is, is in its content."""
        suffix = os.path.splitext(self.file_name)[1].lower()
        return suffix if suffix in CLIP_SUFFIXES else ".audio"


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice to be kept."""

    name: str
    clips: tuple[Clip, ...]
    language: str = ""
    description: str = ""
    consent: str = ""


class CloneStore:
    """Keeps and deletes voices in one folder. Callable from any thread; each call may take seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, voice: NewVoice) -> str:
        """Check the clips, make them ready, and write `voice_clones/<name>/`; its name as kept. Raises
        InvalidRequest, InvalidAudio, VoiceExists, CannotStore."""
        name = checked_name(voice.name)
        if os.path.lexists(self._folder / name):
            raise VoiceExists(name)
        partial = self._folder / PARTIAL.format(pid=os.getpid(), unique=uuid.uuid4().hex)
        try:
            partial.mkdir(parents=True)
            self._write(partial, name, voice)
            _move(partial, self._folder / name, name)
        except OSError as error:
            raise CannotStore(
                f"The voice {name!r} could not be written into {self._folder}: {error.strerror}. Nothing "
                "of it was kept; make room there, or set VOICE_CLONES_DIR to another folder."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return name

    def _write(self, folder: Path, name: str, voice: NewVoice) -> None:
        paths = [
            folder / f"clip-{number}{clip.suffix}" for number, clip in enumerate(voice.clips, 1)
        ]
        findings: list[clips.Findings] = []
        for path, clip in zip(
            paths, voice.clips, strict=True
        ):  # one at a time: minutes of sound each
            _write_through(path, clip.data)
            sound = clips.decoded(path, clip.file_name)
            findings.append(clips.checked(sound))
            clips.check_sounding(clip.file_name, findings[-1])
            _write_through(clips.clean_path(path), encode(clips.cleaned(sound), "wav"))
            clips.mark_kept(path)
        clips.check_usable([clip.file_name for clip in voice.clips], findings)
        _write_through(folder / NOTE_NAME, _note(name, voice, paths))
        _sync_folder(folder)

    def delete(self, voice: ClonedVoice) -> None:
        """Remove the voice's files, and its folder unless something else is in it. Raises CannotStore."""
        try:
            home = voice.paths[0].parent
            if home == self._folder:
                clean = clips.clean_path(voice.paths[0])
                if not clean.is_dir():  # a folder of that name is another voice
                    clean.unlink(missing_ok=True)
                voice.paths[0].unlink(missing_ok=True)
                return
            inside = list(home.iterdir())
            own = [path for path in inside if is_own_file(path.name) and not path.is_dir()]
            if len(own) == len(inside):
                self._delete_at_once(home)
                return
            for path in own:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # somebody else was faster
        except OSError as error:
            raise CannotStore(
                f"The voice {voice.id!r} could not be deleted from {self._folder}: {error.strerror}."
            ) from error

    def _delete_at_once(self, home: Path) -> None:
        """A whole folder: gone from the voices in one step, whatever happens after it."""
        gone = self._folder / PARTIAL.format(pid=os.getpid(), unique=uuid.uuid4().hex)
        os.rename(home, gone)
        shutil.rmtree(gone)

    def tidy(self) -> None:
        """Remove what a crash in the middle of a write or a deletion left. Called at the start, before
        this process writes anything."""
        try:
            for path in self._folder.glob(PARTIAL.format(pid="*", unique="*")):
                if not path.is_symlink() and is_left_over(path, _writer(path)):
                    log.info("removing the left-over %s", path)
                    shutil.rmtree(path, ignore_errors=True)
        except OSError as error:
            log.warning("cannot tidy up %s: %s", self._folder, error.strerror)


def _note(name: str, voice: NewVoice, paths: Sequence[Path]) -> bytes:
    sent_as = {path.name: clip.file_name for path, clip in zip(paths, voice.clips, strict=True)}
    note = {
        "name": name,
        "language": voice.language,
        "description": voice.description,
        "consent": voice.consent,
        "created_at": int(time.time()),
        "clips": sent_as,
    }
    return json.dumps(note, ensure_ascii=False, indent=2).encode("utf-8", "replace")


def _write_through(path: Path, data: bytes) -> None:
    """Write a file that is on the disk when this returns."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _move(partial: Path, place: Path, name: str) -> None:
    """Put the finished folder into its place, in one step. Raises VoiceExists when it is taken."""
    try:
        os.rename(partial, place)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise VoiceExists(name) from error
        raise
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk too; Windows does that by itself, and opens no folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writer(path: Path) -> int:
    """The number of the process that writes there; 0 when its name does not say."""
    number = path.name.split("-")[1]
    return int(number) if number.isdigit() else 0
