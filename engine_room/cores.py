"""One budget of cores: which parts of the server compute now, and how many threads each may use.

Left alone, every library takes all cores, and threads that wait for each other at each layer (chat's)
collapse when one of them finds its core taken: two of them beside a busy program write a third of what
one alone writes there. So whoever is alone has all cores, several share them, and what other programs
keep busy is left to them. Knows no model library.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

# How often the load of other programs is looked at, and over about which time it counts.
LOOK_S = 0.25
SMOOTH_S = 0.5
# A core counts as taken from the first share of it on, and as free again below the second. Chat tokens/s
# on two cores beside a program that takes 0.15 of one: 136 with one thread, 127 with two; 0.3: 144 and 92.
TAKEN_FROM, FREE_BELOW = 0.3, 0.15


def num_usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_elsewhere_s() -> float:
    """Seconds of these cores that other programs have used so far. Programs that run at a lower priority
    (`nice`) than this one do not count: they give way by themselves."""
    each = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity") and len(each) > num_usable_cores():
        usable = os.sched_getaffinity(0)
        each = [times for number, times in enumerate(each) if number in usable]
    kinds = ["user", "system", "irq", "softirq", "steal"]
    if hasattr(os, "nice") and os.nice(0) > 0:
        kinds.append("nice")
    busy_s = sum(getattr(times, kind, 0.0) for times in each for kind in kinds)
    return (
        float(busy_s) - time.process_time()
    )  # all our threads, not those of ours that were started


class Cores:
    """The cores of one server and the parts that share them. Any thread may call any of it."""

    def __init__(
        self,
        total: int | None = None,
        elsewhere_s: Callable[[], float] = busy_elsewhere_s,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total or num_usable_cores()
        self._elsewhere_s, self._clock = elsewhere_s, clock
        self._lock = threading.Lock()
        self._max_threads: dict[str, int] = {}  # of each part that works now
        self._looked_at, self._seen_s = clock(), elsewhere_s()
        self._load = 0.0
        self._num_taken = 0

    def start(self, part: str, max_threads: int = 0) -> None:
        """This part computes from now on, with that many threads at most (0: as many as it gets)."""
        with self._lock:
            self._max_threads[part] = max_threads or self.total

    def stop(self, part: str) -> None:
        """This part computes no more; once more does no harm."""
        with self._lock:
            self._max_threads.pop(part, None)

    @contextmanager
    def working(self, part: str, max_threads: int = 0) -> Iterator[None]:
        """`start` and `stop` around a piece of work."""
        self.start(part, max_threads)
        try:
            yield
        finally:
            self.stop(part)

    def share(self, part: str) -> int:
        """How many threads a part that works may use now, one at least. Cheap: ask at every step."""
        with self._lock:
            self._look()
            left = self.total - self._num_taken
            modest_first = sorted(self._max_threads.items(), key=lambda item: item[1])
            for index, (name, max_threads) in enumerate(modest_first):
                threads = max(1, min(max_threads, left // (len(modest_first) - index)))
                if name == part:
                    return threads
                left -= threads
        raise ValueError(f"{part} does not work now")

    def _look(self) -> None:
        """See every LOOK_S how many cores other programs keep busy."""
        elapsed_s = self._clock() - self._looked_at
        if elapsed_s < LOOK_S:
            return
        seen_s = self._elsewhere_s()
        load = (seen_s - self._seen_s) / elapsed_s
        # After a long pause its average tells more than what was before.
        self._load += (load - self._load) * (1 - math.exp(-elapsed_s / SMOOTH_S))
        self._looked_at, self._seen_s = self._looked_at + elapsed_s, seen_s
        at_least = math.ceil(self._load - TAKEN_FROM)
        at_most = max(0, math.ceil(self._load - FREE_BELOW))
        self._num_taken = min(max(self._num_taken, at_least), at_most)
