"""Which sequences run in the next batch, and how many tokens each.

Those that write go first, a token each; what is left of the batch is prompt, first come first
served, and no more of it than takes a moment: so that a long prompt does not stall those who are
talking, and a hang-up is noticed soon. Imports no model library.
"""

from collections import deque

from engine_room.chat.sequence import Sequence

# A batch takes about this long: while somebody's answer is being written, and while nobody's is.
BESIDE_WRITING_S = 0.1
ALONE_S = 0.3
MIN_PROMPT_TOKENS = 16
# Small pieces of a long prompt cost more the longer it is (measured 4,000 tokens into one: 18 tokens take
# 0.28 s, 113 take 0.96 s), so where nobody waits for a token they stay larger.
MIN_PROMPT_TOKENS_ALONE = 64
# A prompt with a seed is cut into pieces of this size, however fast the machine is now: the last bits of a
# logit depend on where it is cut.
SEEDED_PROMPT_TOKENS = 128


class Scheduler:
    """The sequences that wait and those that run. Belongs to the engine's thread."""

    def __init__(self, max_running: int, max_batch_tokens: int) -> None:
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._max_running = max_running
        self._max_batch_tokens = max_batch_tokens
        self._is_full = False
        self._prompt_tokens_per_s = 300.0  # a first guess; `took` learns

    @property
    def all(self) -> list[Sequence]:
        """Those that wait and those that run."""
        return [*self.waiting, *self.running]

    @property
    def has_place(self) -> bool:
        """True while one more sequence may run."""
        return len(self.running) < self._max_running and not self._is_full

    def start(self, sequence: Sequence) -> None:
        """Let one that waits run."""
        self.waiting.remove(sequence)
        self.running.append(sequence)

    def pause_youngest(self) -> Sequence:
        """Let the one that was started last wait, before all others. Until one of those that go on has
        left, nobody is started: else the same lack of room would stop them again and again."""
        youngest = self.running.pop()
        self.waiting.appendleft(youngest)
        self._is_full = True
        return youngest

    def leave(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._is_full = False
        else:
            self.waiting.remove(sequence)

    def clear(self) -> None:
        """Take all out."""
        self.waiting.clear()
        self.running.clear()
        self._is_full = False

    @property
    def num_wanted(self) -> int:
        """How many more it would look at: a few beyond those that can run, to see what they share."""
        return max(0, 2 * self._max_running - len(self.running) - len(self.waiting))

    def plan(self) -> list[tuple[Sequence, int]]:
        """The next batch: sequences, and how many of its pending tokens each one decodes."""
        writing = [sequence for sequence in self.running if sequence.num_pending == 1]
        batch = [(sequence, 1) for sequence in writing[: self._max_batch_tokens]]
        room = min(self._max_batch_tokens - len(batch), self._prompt_tokens)
        for sequence in self.running:
            # A prompt's last token goes among the writers, in a batch of its own size: so that the
            # same request draws from the same numbers, whether its prompt was cached or not.
            num_tokens = min(sequence.num_pending - 1, sequence.num_plain, room)
            if num_tokens > 0:
                batch.append((sequence, num_tokens))
                room -= num_tokens
        return batch

    def plan_image(self) -> tuple[Sequence, int] | None:
        """The first sequence that comes to an image, and how many of its tokens are decoded next, in a batch
        of their own."""
        for sequence in self.running:
            if image := sequence.next_image:
                num_left = image.num_tokens - sequence.num_image_decoded
                room = min(self._max_batch_tokens, self._prompt_tokens)
                return sequence, num_left if image.sees_ahead else min(num_left, room)
        return None

    @property
    def _prompt_tokens(self) -> int:
        """How many tokens of prompts are decoded at once."""
        if all(sequence.is_seeded for sequence in self.running):
            return SEEDED_PROMPT_TOKENS
        if any(sequence.num_pending == 1 for sequence in self.running):
            return self._prompt_tokens_in(BESIDE_WRITING_S, MIN_PROMPT_TOKENS)
        return self._prompt_tokens_in(ALONE_S, MIN_PROMPT_TOKENS_ALONE)

    def _prompt_tokens_in(self, seconds: float, least: int) -> int:
        return max(least, int(self._prompt_tokens_per_s * seconds))

    def took(self, num_tokens: int, seconds: float) -> None:
        """Learn from a batch how long tokens take."""
        if num_tokens >= MIN_PROMPT_TOKENS:
            self._prompt_tokens_per_s = num_tokens / max(seconds, 1e-6)
