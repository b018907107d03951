"""Models elsewhere on this machine, taken into `models/` by a link: the files stay where they are."""

import os
import re
from pathlib import Path

from engine_room.errors import CannotStore, InvalidRequest, ModelExists
from engine_room.gguf import LATER_PART, parts_of
from engine_room.whisper_models import is_whisper
from engine_room.xtts.folder import is_xtts

MAGIC = b"GGUF"
# What begins so is a path whether it is there or not; a plain a/b may be a repository.
EXPLICIT = re.compile(r"^(?:[/\\~]|\.{1,2}[/\\]|[A-Za-z]:[/\\])")


def local_path(name: str) -> Path | None:
    """The path that a name is meant as; None for the name of a model or a repository. Raises InvalidRequest
    where nothing is there."""
    path = Path(name).expanduser()
    if EXPLICIT.match(name) and not path.exists():
        raise InvalidRequest(f"There is no file or folder {path}.", param="model")
    is_file = path.suffix.lower() == ".gguf" and path.is_file()
    # Not resolved: a file of the hub's cache is a link to one whose name is a hash.
    return Path(os.path.abspath(path)) if EXPLICIT.match(name) or is_file else None


def linked(path: Path, models_dir: Path) -> str:
    """Have a model in `models/`; its id there. Raises InvalidRequest, ModelExists, CannotStore."""
    paths = _checked(path)
    if path.parent.resolve() == models_dir.resolve():
        return path.stem if path.is_file() else path.name
    links = [models_dir / each.name for each in paths]
    for each, link in zip(paths, links, strict=True):
        if os.path.lexists(link) and link.resolve() != each.resolve():
            raise ModelExists(
                f"In {models_dir} there is something else named {link.name}. Remove or rename it first.",
                param="model",
            )
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        # The first part of a split model, by which it is seen, last.
        for each, link in reversed(list(zip(paths, links, strict=True))):
            if not os.path.lexists(link):
                link.symlink_to(each, target_is_directory=each.is_dir())
    except OSError as error:  # Windows lets few users make links
        raise CannotStore(
            f"{path} could not be linked in {models_dir}: {error.strerror}. Move or copy it there."
        ) from error
    return links[0].stem if path.is_file() else links[0].name


def _checked(path: Path) -> tuple[Path, ...]:
    """The files of a model, or its folder. Raises InvalidRequest when it is none."""
    if path.is_dir():
        if not (is_whisper(path) or is_xtts(path)):
            raise InvalidRequest(
                f"{path} is no folder of a model: it has neither the files of a faster-whisper model "
                "(model.bin, config.json and a vocabulary) nor those of an XTTS model.",
                param="model",
            )
        return (path,)
    try:
        with path.open("rb") as file:
            is_gguf = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.", param="model") from error
    if not is_gguf or path.suffix.lower() != ".gguf":
        raise InvalidRequest(f"{path} is no GGUF file (.gguf).", param="model")
    if LATER_PART.search(path.stem):
        raise InvalidRequest(f"{path} is a later part of a model; name the first.", param="model")
    return parts_of(path)
