"""How many threads write fastest, found out by trying.

Threads that compute a token together wait for each other at every layer, so one that finds its core
taken holds up the others, if only by the client that reads the answer. Measured on two cores, tokens/s
with one thread and with two: a stream alone 135 and 150, beside a program that takes a tenth of a core
137 and 130, beside one that takes a third 142 and 96; eight streams 147 and 261, 147 and 227, 145 and 155.
"""

# Prompts gain from every thread, even from one that has half a core.
MAX_TOKENS = 16
# After so many batches of a size, a few are decoded with one thread more or fewer. The first of them also
# starts or ends a thread, and does not count. What was far worse is tried again after twice as many.
TRY_AFTER, MAX_TRY_AFTER, TRY_FOR = 20, 640, 3
FAR_WORSE = 1.15
NEWEST_SHARE = 0.25  # in the running mean of the seconds that a batch takes
# Threads that spin while they wait use all of the time; less than this, and somebody else has their cores.
# Measured on two: 0.98 alone, 0.94 with eight clients on the machine, 0.5 beside one busy program.
USED_SHARE = 0.85


class Pace:
    """Chooses for each size of batch by itself. Belongs to the engine's thread."""

    def __init__(self) -> None:
        self._searches: dict[int, _Search] = {}  # by tokens

    def num_threads(self, num_tokens: int, max_threads: int) -> int:
        """With how many threads to decode a batch of so many tokens."""
        if num_tokens > MAX_TOKENS or max_threads == 1:
            return max_threads
        search = self._searches.setdefault(num_tokens, _Search(max_threads))
        return search.choice(max_threads)

    def took(self, num_tokens: int, num_threads: int, seconds: float, cpu_s: float) -> None:
        """Learn from a batch: how long it took, and how much CPU time of this process."""
        if search := self._searches.get(num_tokens):
            search.took(num_threads, seconds, cpu_s)


class _Search:
    """The best number of threads for batches of one size, looked for a step up or down at a time."""

    def __init__(self, best: int) -> None:
        self._best = best
        self._step = -1
        self._means: dict[int, float] = {}  # seconds by threads
        self._last = 0
        self._try_after = TRY_AFTER
        self._num_batches = 0  # since the last try
        self._used_share = 1.0  # running mean, of the time of all threads

    def choice(self, max_threads: int) -> int:
        best = min(self._best, max_threads)
        if self._num_batches >= self._try_after + TRY_FOR:
            self._conclude(best, self._other(best, max_threads))
            best = min(self._best, max_threads)
        self._num_batches += 1
        return best if self._num_batches <= self._try_after else self._other(best, max_threads)

    def _other(self, best: int, max_threads: int) -> int:
        return best + self._step if 1 <= best + self._step <= max_threads else best - self._step

    def _conclude(self, best: int, other: int) -> None:
        """Keep the better of the two, and try the other side next time."""
        usual = self._means.get(best, 0.0)
        tried = self._means.get(other, usual)
        is_far_worse = tried > usual * FAR_WORSE
        self._try_after = min(self._try_after * 2, MAX_TRY_AFTER) if is_far_worse else TRY_AFTER
        if tried < usual:
            self._best, usual = other, tried
        else:
            self._step = -self._step
        self._means = {self._best: usual}  # each try is judged by itself
        self._num_batches = 0

    def took(self, num_threads: int, seconds: float, cpu_s: float) -> None:
        if num_threads == self._last:
            mean = self._means.get(num_threads, seconds)
            self._means[num_threads] = mean + (seconds - mean) * NEWEST_SHARE
            used_share = cpu_s / (seconds * num_threads)
            self._used_share += (used_share - self._used_share) * NEWEST_SHARE
            if self._used_share < USED_SHARE:
                # Cores are taken: whatever was far worse may be better now.
                self._try_after = min(self._try_after, TRY_AFTER)
        self._last = num_threads
