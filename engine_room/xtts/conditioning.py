"""What makes each voice, computed once for its clips and kept: in memory, and on disk as safetensors.

On disk it lies under a hash of the clips' content, the model and how it is computed, so a clip that was
recorded anew is read anew, and a renamed voice is known. Belongs to one thread.
"""

import errno
import hashlib
import logging
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from engine_room.errors import InvalidRequest, quoted
from engine_room.folders import sha256_of
from engine_room.xtts.gpt import Conditioning

log = logging.getLogger(__name__)
RECIPE = "2"  # raise it when the same clips are to give something else
CONDITIONING = ".conditioning"  # the folder, in voice_clones/
MAX_IN_MEMORY = 64  # 133 kB each
CHECKSUM = "sha256"
# A file as it was when it was read: path, size, time of change in ns.
Seen = tuple[tuple[str, int, int], ...]


class ConditioningCache:
    """Conditioning by clips. `compute` makes it from the clips' paths; `model` is the model's hash."""

    def __init__(
        self, folder: Path, model: str, compute: Callable[[Sequence[Path]], Conditioning]
    ) -> None:
        self._folder = folder
        self._model = hashlib.sha256(model.encode()).hexdigest()[:16]
        self._compute = compute
        self._known: OrderedDict[Seen, Conditioning] = OrderedDict()
        _tidy(folder)

    def of(self, clips: Sequence[Path]) -> Conditioning:
        """The conditioning of a voice with these clips. Raises InvalidRequest, InvalidAudio when they
        cannot be read."""
        try:
            seen = tuple((str(c), c.stat().st_size, c.stat().st_mtime_ns) for c in clips)
            if seen not in self._known:
                self._known[seen] = self._kept_or_computed(clips)
        except OSError as error:
            name = quoted(os.path.basename(error.filename or ""))
            raise InvalidRequest(
                f"A clip of the voice, {name}, cannot be read: {error.strerror}.", param="voice"
            ) from error
        self._known.move_to_end(seen)
        if len(self._known) > MAX_IN_MEMORY:
            self._known.popitem(last=False)
        return self._known[seen]

    def _kept_or_computed(self, clips: Sequence[Path]) -> Conditioning:
        file = self._folder / f"{clips_key(clips)}-{self._model}.safetensors"
        if kept := _read(file):
            return kept
        conditioning = self._compute(clips)
        try:
            _write(file, conditioning)
        except OSError as error:  # it will be computed again, no more
            log.warning("a voice's conditioning is not kept in %s: %s", self._folder, error)
        return conditioning


def clips_key(clips: Sequence[Path]) -> str:
    """What a voice of these clips is kept under: a hash of their content. Raises OSError."""
    key = hashlib.sha256(RECIPE.encode())
    for clip in clips:
        key.update(sha256_of(clip).encode())
    return key.hexdigest()[:32]


def kept_of(folder: Path, clips: Sequence[Path]) -> list[Path]:
    """The files in which a voice of these clips is kept, one for each model that spoke in it."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    try:
        return list(folder.glob(f"{clips_key(clips)}-*.safetensors"))
    except OSError as error:
        log.warning("the conditioning of %s is not found: %s", clips[0], error.strerror)
        return []


def _read(file: Path) -> Conditioning | None:
    """What is kept in a file; None when there is nothing whole, or only a link."""
    from safetensors import SafetensorError, safe_open

    try:
        if file.is_symlink() or file.parent.is_symlink():
            return None
        with safe_open(file, "numpy") as arrays:
            kept = Conditioning(arrays.get_tensor("latents"), arrays.get_tensor("speaker"))
            is_whole = (arrays.metadata() or {}).get(CHECKSUM) == _checksum(kept)
    except (OSError, SafetensorError):
        return None
    return kept if is_whole else None


def _write(file: Path, conditioning: Conditioning) -> None:
    """The whole file or none: written beside its place, then renamed. Raises OSError, also where a link
    would lead out of the folder."""
    from safetensors.numpy import save

    folder = file.parent
    if folder.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, "is a link", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{file.name}.{uuid.uuid4().hex}.partial"
    arrays = {"latents": conditioning.latents, "speaker": conditioning.speaker}
    data = save(arrays, {CHECKSUM: _checksum(conditioning)})
    try:
        with partial.open("xb") as opened:
            opened.write(data)
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _checksum(conditioning: Conditioning) -> str:
    """By which a damaged file is known: its numbers would be noise to the GPT, or break it."""
    digest = hashlib.sha256(conditioning.latents.tobytes())
    digest.update(conditioning.speaker.tobytes())
    return digest.hexdigest()


def _tidy(folder: Path) -> None:
    """Remove what a crash in the middle of a write left."""
    try:
        for partial in folder.glob(".*.safetensors.*.partial"):
            partial.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot tidy up %s: %s", folder, error.strerror)
