"""The prompts the model has seen: a new one starts from the longest prefix that any of them shares.

A live sequence's tokens are copied for nothing, inside the model's memory. Of the finished ones the
last few stay there; the others are kept as bytes in RAM, for what lies in the model's memory slows
down every token (measured: 2,000 stale tokens 7 %, 8,000 25 %; 500 tokens move in or out in 1–2 ms).
Past prompts lie in the order of their bytes, so the one that shares most is a neighbour of the place
where a new one belongs: a search in 3,000 of 2,000 tokens takes 12 µs, and needs no tree.
"""

from bisect import bisect, insort
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine_room.chat.embedded import whole
from engine_room.chat.sequence import Sequence, Tokens

State = NDArray[np.uint8]
MAX_STALE_TOKENS = 256
# Waiting for a live sequence to get further costs a step at most, for its prompt goes first anyhow; a
# step of one token takes as long as about this many tokens of a prompt.
MIN_GAIN_TOKENS = 16


class Memory(Protocol):
    """The model's memory of sequences, by id."""

    @property
    def shares_prefixes(self) -> bool:
        """False when it is one state and not tokens, of which no part can be taken."""

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Let the target begin with the source's first tokens; takes no room."""

    def forget(self, seq_id: int, from_position: int = 0) -> None:
        """Drop a sequence's tokens from a position on."""

    def save(self, seq_id: int) -> State:
        """A sequence's memory as bytes."""

    def restore(self, seq_id: int, state: State) -> bool:
        """Put them back; False when there is no room."""


@dataclass(eq=False, slots=True)
class Past:
    """A finished sequence: in the model's memory under `seq_id`, or in RAM as `state`."""

    tokens: Tokens
    last_used: int
    seq_id: int | None = None
    state: State | None = None

    @property
    def key(self) -> bytes:
        """What orders them: those that begin alike stand together."""
        return self.tokens.tobytes()


@dataclass(frozen=True, slots=True)
class Match:
    """The longest prefix of a prompt that is there now: whose, and how many tokens."""

    source: Past | Sequence | None
    num_tokens: int


_key = attrgetter("key")
_last_used = attrgetter("last_used")


class PrefixCache:
    """Past prompts and the sequence ids of the model's memory. Belongs to the engine's thread."""

    def __init__(self, memory: Memory, num_ids: int, max_bytes: int) -> None:
        self._memory = memory
        self._free_ids = list(range(num_ids))
        self._max_bytes = max_bytes
        self._pasts: list[Past] = []  # by their bytes
        self._clock = 0

    @property
    def num_stale_tokens(self) -> int:
        """Tokens of finished sequences in the model's memory (shared ones counted each time)."""
        return sum(len(past.tokens) for past in self._pasts if past.seq_id is not None)

    @property
    def num_bytes(self) -> int:
        """RAM that past prompts take."""
        return sum(past.state.nbytes for past in self._pasts if past.state is not None)

    def match(self, prompt: Tokens, live: Iterable[Sequence], with_past: bool = True) -> Match:
        """The longest prefix there is, no image cut in two; one token at least is left to decode, for its
        logits."""
        best = Match(None, 0)
        if not self._memory.shares_prefixes:
            return best
        limit = len(prompt) - 1
        for past in self._neighbours(prompt) if with_past else ():
            length = whole(prompt, min(num_common(prompt, past.tokens), limit))
            if length > best.num_tokens:
                best = Match(past, length)
        for sequence in live:
            common = min(num_common(prompt, sequence.prompt), sequence.num_decoded, limit)
            length = whole(prompt, common)
            if length >= best.num_tokens and length > 0:
                best = Match(sequence, length)
        return best

    def is_worth_waiting(self, prompt: Tokens, match: Match, live: Iterable[Sequence]) -> bool:
        """True while a live sequence is still decoding a longer prefix of this prompt."""
        for sequence in live if self._memory.shares_prefixes else ():
            length = min(num_common(prompt, sequence.prompt), len(prompt) - 1)
            if sequence.num_decoded < length >= match.num_tokens + MIN_GAIN_TOKENS:
                return True
        return False

    def begin(self, sequence: Sequence, match: Match) -> None:
        """Give the sequence an id, and the tokens of the match."""
        self._clock += 1
        seq_id = self._free_id()
        sequence.seq_id, sequence.num_decoded = seq_id, 0
        source = match.source
        if source is None:
            return
        if isinstance(source, Past):
            source.last_used = self._clock
            if source.seq_id is None:
                assert source.state is not None
                if self._memory.restore(seq_id, source.state):
                    self._memory.forget(seq_id, match.num_tokens)
                    sequence.num_decoded = match.num_tokens
                return
        assert source.seq_id is not None
        self._memory.copy_prefix(source.seq_id, seq_id, match.num_tokens)
        sequence.num_decoded = match.num_tokens
        if isinstance(source, Past) and match.num_tokens == len(source.tokens):
            self._drop(source)  # the new sequence holds all of it

    def end(self, sequence: Sequence) -> None:
        """Take the sequence's id back, and keep what it decoded as a past prompt."""
        seq_id, num_decoded = sequence.seq_id, sequence.num_decoded
        assert seq_id is not None
        sequence.seq_id, sequence.num_decoded = None, 0
        if sequence.num_image_decoded:  # a part of an image is of no use
            self._memory.forget(seq_id, num_decoded)
            sequence.num_image_decoded = 0
        self._clock += 1
        tokens = np.array(sequence.tokens[:num_decoded], np.int32)
        if not (num_decoded and self._memory.shares_prefixes):
            self._release(seq_id)
            return
        for past in self._neighbours(tokens):
            if num_common(past.tokens, tokens) == len(past.tokens):
                self._drop(past)  # a prefix of this one
        insort(self._pasts, Past(tokens, self._clock, seq_id), key=_key)
        self.move_out(MAX_STALE_TOKENS)

    def _neighbours(self, tokens: Tokens) -> list[Past]:
        """The past prompts between which this one belongs."""
        place = bisect(self._pasts, tokens.tobytes(), key=_key)
        return self._pasts[max(place - 1, 0) : place + 1]

    def move_out(self, max_stale_tokens: int = 0) -> None:
        """Move the longest unused past prompts from the model's memory to RAM, and forget what is over
        the limit there."""
        num_stale_tokens = self.num_stale_tokens
        for past in sorted(self._pasts, key=_last_used):
            if num_stale_tokens <= max_stale_tokens:
                break
            if past.seq_id is not None:
                past.state = self._memory.save(past.seq_id)
                self._release(past.seq_id)
                past.seq_id = None
                num_stale_tokens -= len(past.tokens)
        while self.num_bytes > self._max_bytes:
            self._pasts.remove(min((p for p in self._pasts if p.state is not None), key=_last_used))

    def _free_id(self) -> int:
        if not self._free_ids:
            self.move_out()
        return self._free_ids.pop()

    def _drop(self, past: Past) -> None:
        self._pasts.remove(past)
        if past.seq_id is not None:
            self._release(past.seq_id)

    def _release(self, seq_id: int) -> None:
        self._memory.forget(seq_id)
        self._free_ids.append(seq_id)


def num_held(sequences: Iterable[Sequence]) -> int:
    """About how many tokens the model's memory holds for sequences that run at once: those that their
    prompts have in common are there once."""
    ordered = sorted(sequences, key=lambda sequence: sequence.prompt.tobytes())
    shared = sum(num_common(one.prompt, next_.prompt) for one, next_ in pairwise(ordered))
    return sum(sequence.num_held_tokens for sequence in ordered) - shared


def num_common(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences have in common at their beginning."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
