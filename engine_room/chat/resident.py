"""A chat model in memory, or on the way there, and how long it stays when others want its room."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine_room.catalogue import ChatFile
from engine_room.chat.memory import Memory
from engine_room.chat.turn import ModelTurn
from engine_room.jobs import Engine, Serve

# One in use stays for so many times its loading while others wait: so a tenth of the time is lost to that.
STAY_LOADS = 10


@dataclass(frozen=True, slots=True)
class Patience:
    """How long others wait for a model's room: while it is in use STAY_LOADS times what its loading took,
    once it is idle as long as that took, for who asks one thing after the other is back by then. Both
    between a least and a most, in seconds."""

    min_stay_s: float = 5.0
    max_stay_s: float = 30.0
    min_pause_s: float = 0.1
    max_pause_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory: what serves its turns, and how much it takes."""

    serve: Serve[ModelTurn]
    memory: Memory


# Loads a model, on the thread that is to own it; the second argument is asked meanwhile whether to stop.
# Raises Unavailable.
Load = Callable[[ChatFile, Callable[[], bool]], Loaded]


@dataclass(eq=False, slots=True)
class Resident:
    """A model in memory, or on the way there. Times are those of time.perf_counter()."""

    file: ChatFile
    memory: Memory
    keep_alive_s: float
    is_preloaded: bool  # wanted, though nobody waits for it
    started_at: float = field(default_factory=time.perf_counter)
    loaded_at: float = math.inf
    used_at: float = math.inf  # when a turn came or ended last
    is_leaving: bool = False  # takes no turns any more; gone when it is idle
    is_draining: bool = False  # takes no turns while others wait for its room
    engine: Engine[ModelTurn] = field(init=False)

    @property
    def takes_turns(self) -> bool:
        """Whether a turn may be given to it now."""
        return not (self.is_leaving or self.is_draining)

    def stays_until(self, since: float, patience: Patience) -> float:
        """How long it is used while somebody waits for its room since then."""
        stay_s = STAY_LOADS * (self.loaded_at - self.started_at)
        stay_s = min(max(stay_s, patience.min_stay_s), patience.max_stay_s)
        return max(self.loaded_at, since) + stay_s

    def pauses_until(self, patience: Patience) -> float:
        """How long it stays idle before it makes room."""
        pause_s = max(self.loaded_at - self.started_at, patience.min_pause_s)
        return self.used_at + min(pause_s, patience.max_pause_s)
