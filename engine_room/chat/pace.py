"""How many threads write fastest, found out by trying.

Threads that compute a token together wait for each other at every layer, so one that finds its core
taken holds up the others, if only by the client that reads the answer. Measured on two cores, tokens/s
with one thread and with two: a stream alone 135 and 150, beside a program that takes a tenth of a core
137 and 130, beside one that takes a third 142 and 96; eight streams 147 and 261, 147 and 227, 145 and 155.
"""

# Prompts gain from every thread, even from one that has half a core.
MAX_TOKENS = 16
# Every so many batches of a size, a few are decoded with one thread more or fewer. The first of them also
# starts or ends a thread, and does not count.
TRY_EVERY, TRY_FOR = 40, 4
NEWEST_SHARE = 0.25  # in the running mean of the seconds that a batch takes


class Pace:
    """Looks for the best number of threads for each size of batch by itself, a step up or down at a time.
    Belongs to the engine's thread."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], float] = {}  # by tokens and threads
        self._num_batches: dict[int, int] = {}  # by tokens
        self._best: dict[int, int] = {}  # by tokens
        self._last = (0, 0)

    def num_threads(self, num_tokens: int, max_threads: int) -> int:
        """With how many threads to decode a batch of so many tokens."""
        if num_tokens > MAX_TOKENS or max_threads == 1:
            return max_threads
        best = min(self._best.get(num_tokens, max_threads), max_threads)
        num_tries, place = divmod(self._num_batches.get(num_tokens, 0), TRY_EVERY)
        self._num_batches[num_tokens] = num_tries * TRY_EVERY + place + 1
        if place < TRY_EVERY - TRY_FOR:
            return best
        other = best - 1 if num_tries % 2 == 0 else best + 1
        if not 1 <= other <= max_threads:
            other = best + 1 if other < 1 else best - 1
        return other

    def took(self, num_tokens: int, num_threads: int, seconds: float) -> None:
        """Learn from a batch."""
        if num_tokens > MAX_TOKENS:
            return
        batch = (num_tokens, num_threads)
        if batch == self._last:
            mean = self._seconds.get(batch, seconds)
            mean += (seconds - mean) * NEWEST_SHARE
            self._seconds[batch] = mean
            best = self._best.setdefault(num_tokens, num_threads)
            if mean < self._seconds.get((num_tokens, best), mean):
                self._best[num_tokens] = num_threads
        self._last = batch
