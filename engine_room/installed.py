"""The models that lie on this machine, with all their files: what `models list` shows, and removing one.

Knows no network, and loads nothing.
"""

import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from engine_room import whisper_models
from engine_room.catalogue import Catalogue
from engine_room.errors import AmbiguousModel, CannotStore, Forbidden, ModelNotFound
from engine_room.fetched_voices import fetched_voices
from engine_room.gguf import QUANT_SUFFIX, parts_of
from engine_room.offers import OfferKind
from engine_room.xtts.folder import xtts_folders

log = logging.getLogger(__name__)
DOWNLOADS = ".downloads"  # in models/: what is not whole yet
PARTIAL = ".part"
ABANDONED_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that is there: its files, or its folder; `is_ours` if it came with the install. Several may
    see by one `projector`."""

    id: str
    kind: OfferKind
    paths: tuple[Path, ...]
    is_ours: bool = False
    projector: Path | None = None

    @property
    def all_paths(self) -> tuple[Path, ...]:
        """Its files, and that of its projector."""
        return (*self.paths, self.projector) if self.projector else self.paths

    @property
    def size_bytes(self) -> int:
        """What its files take on the disk."""
        return sum(_size_bytes(path) for path in self.all_paths)


def installed(catalogue: Catalogue, models_dir: Path) -> list[Installed]:
    """The models that are there, by kind."""
    found: list[Installed] = []
    for chat in catalogue.chat_files():
        is_ours = chat.path.parent != models_dir
        found.append(Installed(chat.id, "chat", parts_of(chat.path), is_ours, chat.mmproj))
    for file in catalogue.embedding_files():
        found.append(Installed(file.id, "embedding", parts_of(file.path)))
    for folder in catalogue.whisper.folders():
        is_ours = folder.id == whisper_models.BUNDLED
        found.append(Installed(folder.id, "transcription", (folder.path,), is_ours))
    for voice in fetched_voices(models_dir).values():
        found.append(Installed(voice.id, "voice", (voice.model.parent,)))
    for xtts in xtts_folders(models_dir):
        found.append(Installed(xtts.id, "voice cloning", (xtts.path,)))
    return found


def by_id(id_: str, models: Iterable[Installed]) -> Installed | None:
    """The model of exactly this file or id; of an id in another case where only one can be meant. Raises
    AmbiguousModel."""
    models = list(models)
    wanted = id_.lower().removesuffix(".gguf")
    found = [model for model in models if id_ == model.paths[0].name]
    found = found or [model for model in models if model.id == id_]
    found = found or [model for model in models if model.id.lower() == wanted]
    if len(found) > 1:
        raise AmbiguousModel(id_, [model.paths[0].name for model in found])
    return found[0] if found else None


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


def remove(
    id_: str,
    catalogue: Catalogue,
    models_dir: Path,
    release: Callable[[str], None] = lambda _id: None,
) -> Installed:
    """Remove a model by its own id, all its files but a projector by which another one sees, once `release`
    has let go of it; what it was. Raises ModelNotFound, AmbiguousModel, Forbidden, CannotStore, and what
    `release` raises."""
    models = installed(catalogue, models_dir)
    model = by_id(id_, models)
    if model is None:
        raise ModelNotFound(id_, [each.id for each in models if not each.is_ours])
    if model.is_ours:
        raise Forbidden(
            f"{model.id} came with the install and is not removed; it takes no other's place."
        )
    release(model.id)
    shared = {each.projector for each in models if each is not model}
    try:
        for path in model.all_paths:  # the first part first: it is the one that is listed
            if path in shared:
                continue
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


def tidy_downloads(models_dir: Path) -> None:
    """Remove what nobody has gone on with for a month; who does, makes all files of his download young."""
    for path in unfinished(models_dir):
        try:
            if time.time() - path.stat().st_mtime < ABANDONED_S:
                continue
            _remove(path, models_dir)
        except OSError as error:  # perhaps just finished by another program
            log.warning("%s could not be removed: %s", path, error.strerror)
        else:
            log.info("removed %s, of a download that was not finished for a month", path)


def _remove(path: Path, models_dir: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    gone = (
        models_dir / f".removed-{uuid.uuid4().hex}"
    )  # a folder goes in one step, whatever follows
    os.rename(path, gone)
    shutil.rmtree(gone)


def _size_bytes(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(_size_bytes(child) for child in path.iterdir())
        return path.stat().st_size
    except OSError:
        return 0
