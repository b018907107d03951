"""What makes each voice, computed once for its clips and kept: in memory, and on disk as safetensors.

On disk it lies under a hash of the clips' content, the model and how it is computed, so a clip that was
recorded anew is read anew, and a renamed voice is known. Belongs to one thread.
"""

import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from engine_room.errors import InvalidRequest, quoted
from engine_room.folders import sha256_of
from engine_room.xtts.gpt import Conditioning

log = logging.getLogger(__name__)
RECIPE = "2"  # raise it when the same clips are to give something else
MAX_IN_MEMORY = 64  # 133 kB each
# A file as it was when it was read: path, size, time of change in ns.
Seen = tuple[tuple[str, int, int], ...]


class ConditioningCache:
    """Conditioning by clips. `compute` makes it from the clips' paths; `model` is the model's hash."""

    def __init__(
        self, folder: Path, model: str, compute: Callable[[Sequence[Path]], Conditioning]
    ) -> None:
        self._folder = folder
        self._model = model
        self._compute = compute
        self._known: OrderedDict[Seen, Conditioning] = OrderedDict()

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
        file = self._folder / f"{self._key(clips)}.safetensors"
        if kept := _read(file):
            return kept
        conditioning = self._compute(clips)
        try:
            _write(file, conditioning)
        except OSError as error:  # it will be computed again, no more
            log.warning("a voice's conditioning is not kept in %s: %s", self._folder, error)
        return conditioning

    def _key(self, clips: Sequence[Path]) -> str:
        key = hashlib.sha256(f"{RECIPE} {self._model}".encode())
        for clip in clips:
            key.update(sha256_of(clip).encode())
        return key.hexdigest()[:32]


def _read(file: Path) -> Conditioning | None:
    """What is kept in a file; None when there is nothing whole."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(file)
        return Conditioning(arrays["latents"], arrays["speaker"])
    except (OSError, KeyError, SafetensorError):
        return None


def _write(file: Path, conditioning: Conditioning) -> None:
    """The whole file or none: written beside its place, then renamed."""
    from safetensors.numpy import save

    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        data = save({"latents": conditioning.latents, "speaker": conditioning.speaker})
        partial.write_bytes(data)
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
