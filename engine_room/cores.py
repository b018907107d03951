"""One budget of cores: which parts of the server compute now, and how many threads each may use.

Left alone, every library takes all cores, and threads that wait for each other at each layer collapse
when one of them finds its core taken. So whoever is alone has all cores, and several share them. Other
programs are not looked at: where their load matters, chat finds out by trying (`chat.pace`). Knows no
model library.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# How long OpenMP's threads spin before they sleep. Chat tokens/s on two cores, alone and beside two busy
# programs: spinning as by default 165 and 13, this 155 and 31, not at all 50 and 75. Read when the OpenMP
# library loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# The same for Intel's OpenMP, in milliseconds; CTranslate2 brings that on Windows, GNU's on Linux.
os.environ.setdefault("KMP_BLOCKTIME", "1")


def num_usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Cores:
    """The cores of one server and the parts that share them. Any thread may call any of it."""

    def __init__(self, total: int | None = None) -> None:
        self.total = total or num_usable_cores()
        self._lock = threading.Lock()
        self._max_threads: dict[str, int] = {}  # of each part that works now

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
            left = self.total
            modest_first = sorted(self._max_threads.items(), key=lambda item: item[1])
            for index, (name, max_threads) in enumerate(modest_first):
                threads = max(1, min(max_threads, left // (len(modest_first) - index)))
                if name == part:
                    return threads
                left -= threads
        raise ValueError(f"{part} does not work now")
