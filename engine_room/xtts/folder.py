"""A folder with an XTTS model: what is in it, and what is missing."""

import json
from dataclasses import dataclass
from pathlib import Path

CONFIG, VOCABULARY, SPEAKERS = "config.json", "vocab.json", "speakers_xtts.pth"
# The original's name for its weights first; fine-tuning writes the other.
CHECKPOINTS = ("model.pth", "best_model.pth")
NAME = "xtts_v2"  # the folder that the standard names stand for


@dataclass(frozen=True, slots=True)
class XttsFolder:
    """A model folder; `id` is its name."""

    path: Path

    @property
    def id(self) -> str:
        """The folder's name, under which its model is asked for."""
        return self.path.name

    @property
    def checkpoint(self) -> Path:
        """The file of the weights."""
        found = [self.path / name for name in CHECKPOINTS if (self.path / name).is_file()]
        return found[0] if found else self.path / CHECKPOINTS[0]

    @property
    def converted(self) -> Path:
        """Where the parts of it that were converted for a CPU are, unless it cannot be written."""
        return self.path / "converted"

    def places_of_converted(self, models_dir: Path, sha256: str) -> tuple[Path, Path]:
        """Where they may be: in the folder itself, else in the server's own, under the checkpoint's hash."""
        return self.converted, models_dir / ".converted" / sha256[:16]

    @property
    def missing(self) -> list[str]:
        """The files that it needs and has not; the studio speakers' may be missing."""
        needed = [self.path / CONFIG, self.checkpoint, self.path / VOCABULARY]
        return [path.name for path in needed if not path.is_file()]


def xtts_folders(models_dir: Path) -> list[XttsFolder]:
    """The folders with an XTTS model, whole or with something missing, by name."""
    try:
        paths = sorted(path for path in models_dir.iterdir() if path.is_dir())
    except OSError:
        return []
    return [XttsFolder(path) for path in paths if path.name == NAME or is_xtts(path)]


def default_folder(models_dir: Path) -> XttsFolder:
    """The model that speaks where none is named: `xtts_v2`, or the only other one; it may be missing."""
    folders = xtts_folders(models_dir)
    if len(folders) == 1:
        return folders[0]
    return XttsFolder(models_dir / NAME)


def is_xtts(path: Path) -> bool:
    """Whether a folder holds an XTTS model, by its config."""
    try:
        return bool(json.loads((path / CONFIG).read_text("utf-8")).get("model") == "xtts")
    except (OSError, ValueError, AttributeError):
        return False
