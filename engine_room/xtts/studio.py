"""The studio speakers that come with XTTS, and which of them speak for OpenAI's voice names.

Their names are read without torch, so that they can be listed before any model is loaded.
"""

import pickle
import stat
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine_room.errors import Unavailable
from engine_room.xtts.folder import SPEAKERS, XttsFolder

MAP_FILE = "studio_voices.tsv"  # in voice_clones/: a line for each name, a tab or spaces, a speaker
DEFAULT_MAP = {
    "alloy": "Alison Dietlinde",
    "ash": "Damien Black",
    "ballad": "Viktor Menelaos",
    "cedar": "Craig Gutsy",
    "coral": "Gracie Wise",
    "echo": "Andrew Chipper",
    "fable": "Royston Min",
    "marin": "Ana Florence",
    "nova": "Daisy Studious",
    "onyx": "Viktor Eka",
    "sage": "Tammie Ema",
    "shimmer": "Brenda Stern",
    "verse": "Luis Moray",
}


@dataclass(frozen=True, slots=True)
class StudioVoice:
    """One of the speakers that came with an XTTS model, by its name there."""

    id: str


def studio_speaker(name: str, voice_clones_dir: Path) -> str:
    """The studio speaker for one of OpenAI's voice names: by the user's own map, else by ours. Raises
    Unavailable when there is a map that is no text."""
    path = voice_clones_dir / MAP_FILE
    try:  # a link may lead out of the folder, a pipe would be waited for
        is_file = stat.S_ISREG(path.lstat().st_mode)
        # Editors on Windows begin UTF-8 with a mark.
        lines = path.read_text("utf-8-sig").splitlines() if is_file else []
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(
            f"The map of studio speakers, {path}, cannot be read: {error}.",
            "Save it as UTF-8, or remove it.",
        ) from error
    entries = (line.split(None, 1) for line in lines)  # no voice's name has a space in it
    own = {entry[0].lower(): entry[1].strip() for entry in entries if len(entry) == 2}
    return own.get(name, DEFAULT_MAP[name])


def speaker_names(folder: XttsFolder) -> list[str]:
    """The names of a model's studio speakers; none where their file is missing or broken."""
    path = folder.path / SPEAKERS
    try:
        return list(_names(path, path.stat().st_mtime_ns))
    except OSError:
        return []


@lru_cache(maxsize=8)
def _names(path: Path, _mtime_ns: int) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            entry = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(entry) as data:
                known = _Names(data).load()
    except Exception:  # noqa: BLE001  a broken pickle raises whatever it likes
        return ()
    return tuple(name for name in known if isinstance(name, str)) if isinstance(known, dict) else ()


class _Names(pickle.Unpickler):
    """Reads the keys of a checkpoint and makes nothing of the rest: no class of the file's is ever used."""

    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _nothing

    def persistent_load(self, pid: Any) -> None:
        return None


def _nothing(*_: Any) -> None:
    return None
