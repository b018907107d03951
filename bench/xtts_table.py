"""The table of the bench of cloned voices, and what its rows are measured on."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.xtts_sides import Librarys, Ours, Spoken, engine_of, scratch_settings
from engine_room.cores import Cores
from engine_room.jobs import Engine
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.studio import speaker_names
from engine_room.xtts.turn import XttsTurn
from tests.xtts_models import FULL, link_xtts, write_xtts

HEAD = "| | this server's engine | the library | ratio | reach |\n|---|---|---|---|---|"
SENTENCE_TOKENS = 150


@dataclass
class Bench:
    """What the rows are measured on: each part is made when a row first needs it, and closed at the end. The
    random weights end no sentence, those of `ending` each after SENTENCE_TOKENS."""

    num_runs: int
    model_dir: Path | None
    scratch: Path
    stack: ExitStack

    @cached_property
    def cores(self) -> Cores:
        """The budget that the engines share."""
        return Cores()

    @cached_property
    def folder(self) -> XttsFolder:
        """The model; a real one by links, so that nothing is written beside it."""
        path = self.scratch / "xtts_v2"
        if self.model_dir:
            return link_xtts(XttsFolder(self.model_dir), path)
        return XttsFolder(write_xtts(path, FULL))

    @cached_property
    def ending(self) -> XttsFolder:
        """The model that ends its sentences."""
        if self.model_dir:
            return self.folder
        return XttsFolder(write_xtts(self.scratch / "ending", FULL, SENTENCE_TOKENS))

    @property
    def speaker(self) -> str:
        """The studio speaker that speaks wherever no voice is cloned."""
        return speaker_names(self.folder)[0]

    @cached_property
    def engine(self) -> Engine[XttsTurn]:
        """Ours, open."""
        return self.stack.enter_context(engine_of(scratch_settings(self.scratch), self.cores))

    @cached_property
    def ours(self) -> Ours:
        """Our engine with the model, warm."""
        ours = Ours(self.engine, self.folder, self.speaker, is_endless=self.model_dir is None)
        ours.speak("warm")
        return ours

    @cached_property
    def library(self) -> Librarys:
        """The library's model, warm."""
        library = Librarys(self.folder, self.speaker)
        library.speak("warm", stream=False)
        return library


def print_row(label: str, ours: Sequence[float], theirs: Sequence[float], reach: str) -> None:
    """A line of the table, of medians; the ratio is ours to theirs."""
    ratio = "–"
    if theirs and all(theirs):
        ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    beside = _median(theirs) if theirs else "–"
    print(f"| {label} | {_median(ours)} | {beside} | {ratio} | {reach} |", flush=True)


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g}"


def in_turn(num_runs: int, *deeds: Callable[[], Spoken]) -> list[list[Spoken]]:
    """What each deed gives, in rounds, the first of a round another one each time."""
    results: list[list[Spoken]] = [[] for _ in deeds]
    for run in range(num_runs):
        order = [(run + i) % len(deeds) for i in range(len(deeds))]
        for i in order:
            results[i].append(deeds[i]())
    return results
