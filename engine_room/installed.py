"""The models that lie on this machine, with all their files: what `models list` shows, and removing one.

Knows no network, and loads nothing.
"""

import os
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine_room import whisper_models
from engine_room.catalogue import LATER_SPLIT, Catalogue
from engine_room.errors import CannotStore, Forbidden, ModelNotFound
from engine_room.gguf import QUANT_SUFFIX
from engine_room.offers import OfferKind
from engine_room.xtts.folder import xtts_folders

DOWNLOADS = ".downloads"  # in models/: what is not whole yet
PARTIAL = ".part"
FIRST_PART = "-00001-of-"


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that is there: its files, or its folder; `is_ours` if it came with the install."""

    id: str
    kind: OfferKind
    paths: tuple[Path, ...]
    is_ours: bool = False

    @property
    def size_bytes(self) -> int:
        """What its files take on the disk."""
        return sum(_size_bytes(path) for path in self.paths)


def installed(catalogue: Catalogue, models_dir: Path) -> list[Installed]:
    """The models that are there, by kind."""
    found: list[Installed] = []
    ggufs = [(file.id, file.path, "chat") for file in catalogue.chat_files()]
    ggufs += [(file.id, file.path, "embedding") for file in catalogue.embedding_files()]
    for id_, path, kind in ggufs:
        is_chat = kind == "chat"
        parts = _parts(path)
        found.append(
            Installed(id_, "chat" if is_chat else "embedding", parts, path.parent != models_dir)
        )
    for folder in catalogue.whisper.folders():
        is_ours = folder.id == whisper_models.BUNDLED
        found.append(Installed(folder.id, "transcription", (folder.path,), is_ours))
    for xtts in xtts_folders(models_dir):
        found.append(Installed(xtts.id, "voice cloning", (xtts.path,)))
    return found


def by_id(id_: str, models: Iterable[Installed]) -> Installed | None:
    """The model of exactly this id, with or without `.gguf`, in whatever case."""
    wanted = id_.lower().removesuffix(".gguf")
    return next((model for model in models if model.id.lower() == wanted), None)


def by_name(name: str, models: Iterable[Installed]) -> Installed | None:
    """The model of this id, or the only one that is a quantisation or a size of that name."""
    models = list(models)
    wanted = name.lower()
    like = [
        model
        for model in models
        if model.id.lower() == f"faster-whisper-{wanted}"
        or (
            model.id.lower().startswith(wanted)
            and QUANT_SUFFIX.match(model.id.lower(), len(wanted))
        )
    ]
    return by_id(name, models) or (like[0] if len(like) == 1 else None)


def remove(id_: str, catalogue: Catalogue, models_dir: Path) -> Installed:
    """Remove a model by its own id, all its files; what it was. Raises ModelNotFound, Forbidden,
    CannotStore."""
    models = installed(catalogue, models_dir)
    model = by_id(id_, models)
    if model is None:
        raise ModelNotFound(id_, [each.id for each in models if not each.is_ours])
    if model.is_ours:
        raise Forbidden(
            f"{model.id} came with the install and is not removed; it takes no other's place."
        )
    try:
        for path in model.paths:  # the first part first: it is the one that is listed
            _remove(path, models_dir)
    except OSError as error:
        raise CannotStore(
            f"{model.id} could not be removed from {models_dir}: {error.strerror}."
        ) from error
    return model


def unfinished(models_dir: Path) -> list[Path]:
    """The files of downloads that were begun and are not over."""
    try:
        paths = sorted((models_dir / DOWNLOADS).iterdir())
    except OSError:
        return []
    return [path for path in paths if path.suffix != ".lock"]


def _remove(path: Path, models_dir: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    gone = (
        models_dir / f".removed-{uuid.uuid4().hex}"
    )  # a folder goes in one step, whatever follows
    os.rename(path, gone)
    shutil.rmtree(gone)


def _parts(path: Path) -> tuple[Path, ...]:
    """All files of a split model, the first one first."""
    stem, split, rest = path.stem.partition(FIRST_PART)
    if not split:
        return (path,)
    others = [
        other
        for other in path.parent.glob("*.gguf")
        if LATER_SPLIT.search(other.stem)
        and other.stem.startswith(f"{stem}-")
        and other.stem.endswith(f"-of-{rest}")
        and len(other.stem) == len(path.stem)
    ]
    return (path, *sorted(others))


def _size_bytes(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(_size_bytes(child) for child in path.iterdir())
        return path.stat().st_size
    except OSError:
        return 0
