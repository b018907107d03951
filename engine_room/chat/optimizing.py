"""A chat model's weights in other types, tried on this machine's CPU against the file they come from.

Only what is kept becomes a file of `models/`.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine_room.chat.requantising import estimated_bytes, requantise
from engine_room.chat.trial import Trial
from engine_room.errors import CannotStore, InvalidRequest, Unavailable
from engine_room.fetching import RESERVE_BYTES
from engine_room.installed import DOWNLOADS, PARTIAL
from engine_room.memory_fit import free_bytes

# From the one that loses least to the one that is smallest.
TYPES = ("Q8_0", "Q4_K_M", "Q4_0")
# A large model waits for its bytes rather than for sums: more of them are not faster, and need no trial.
MAX_Q8_SOURCE_BYTES = 2_000_000_000
# Perplexity may rise by this share. Of the bundled model Q8_0 takes 0.5 %, Q4_K_M 5.7, Q4_0 18.
MAX_LOSS = 0.02
MIN_GAIN = 1.1  # a tenth faster, or it is not worth the disk
NUM_ROUNDS = 3  # the fastest counts: others compute too


@dataclass(frozen=True, slots=True)
class Result:
    """A type of weights tried: perplexity, and the seconds of one short answer, of before and now."""

    type: str
    num_bytes: int
    perplexity_before: float
    perplexity: float
    answer_before_s: float
    answer_s: float

    @property
    def gain(self) -> float:
        """How many times as fast it answers."""
        return self.answer_before_s / self.answer_s

    @property
    def loss(self) -> float:
        """By which share perplexity rose."""
        return self.perplexity / self.perplexity_before - 1

    @property
    def is_worth_it(self) -> bool:
        """Whether it gains, and loses little."""
        return self.gain >= MIN_GAIN and self.loss <= MAX_LOSS


def types_for(num_bytes: int) -> tuple[str, ...]:
    """The types worth trying for a model of this size."""
    return TYPES if num_bytes <= MAX_Q8_SOURCE_BYTES else TYPES[1:]


class Optimizer:
    """Tries types of weights for one model, `name`d without its quantisation; `with` it, which loads that,
    for what is not kept goes at the end. Not thread-safe. Raises Unavailable when it cannot be loaded."""

    def __init__(self, source: Path, name: str, models_dir: Path, num_threads: int) -> None:
        self._source, self._name, self._models_dir = source, name, models_dir
        self._num_threads = num_threads
        self._made: dict[str, Path] = {}

    def __enter__(self) -> "Optimizer":
        self._before = Trial(self._source, self._num_threads)
        self.perplexity_before = self._before.perplexity()
        return self

    def __exit__(self, *_error: object) -> None:
        self._before.close()
        for path in self._made.values():
            path.unlink(missing_ok=True)

    def target(self, type_: str) -> Path:
        """The file that this type becomes when it is kept."""
        return self._models_dir / f"{self._name}.{type_}.gguf"

    def missing(self, types: Sequence[str]) -> list[str]:
        """Those of the types whose file is not there yet. Raises InvalidRequest when there are none."""
        missing = [type_ for type_ in types if not self.target(type_).exists()]
        if not missing:
            there = ", ".join(str(self.target(type_)) for type_ in types)
            raise InvalidRequest(f"Nothing is to be made: {there} is there already.")
        return missing

    def attempt(self, type_: str, report: Callable[[int], None]) -> Result:
        """Make the file, and measure it; `report` is told how many bytes are written. Raises InvalidRequest
        when it is there, CannotStore, Unavailable without the memory for it."""
        self.missing([type_])
        folder = self._models_dir / DOWNLOADS
        path = folder / f"{uuid.uuid4().hex}-{self.target(type_).name}{PARTIAL}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise self._unwritten(type_, error) from error
        self._made[type_] = path
        self._check_room(type_)
        requantise(self._source, path, type_, self._num_threads, report)
        after = Trial(path, self._num_threads)
        try:
            return self._compared(type_, path.stat().st_size, after)
        finally:
            after.close()

    def _compared(self, type_: str, num_bytes: int, after: Trial) -> Result:
        rounds = [(self._before.answer_s(), after.answer_s()) for _ in range(NUM_ROUNDS)]
        before_s, after_s = map(min, zip(*rounds, strict=True))
        perplexity = after.perplexity()
        return Result(type_, num_bytes, self.perplexity_before, perplexity, before_s, after_s)

    def _check_room(self, type_: str) -> None:
        needed = estimated_bytes(self._source, type_)
        free = shutil.disk_usage(self._models_dir).free
        if free < needed + RESERVE_BYTES:
            raise CannotStore(
                f"{self.target(type_).name} takes {needed / 1e9:.1f} GB in {self._models_dir}, where "
                f"{free / 1e9:.1f} GB are free, of which {RESERVE_BYTES / 1e9:.0f} GB stay so."
            )
        if free_bytes() < needed:
            raise Unavailable(
                f"To try {self.target(type_).name} takes {needed / 1e9:.1f} GB of memory; "
                f"{free_bytes() / 1e9:.1f} GB are free.",
                "Unload what else is in memory, or stop the server meanwhile.",
            )

    def keep(self, type_: str) -> Path:
        """Let the file of a type that was tried appear in `models/`; where it is. Raises CannotStore."""
        try:
            os.replace(self._made[type_], self.target(type_))
        except OSError as error:
            raise self._unwritten(type_, error) from error
        return self.target(type_)

    def _unwritten(self, type_: str, error: OSError) -> CannotStore:
        return CannotStore(f"{self.target(type_)} cannot be written: {error.strerror}.")
