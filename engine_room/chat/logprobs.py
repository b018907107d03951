"""How likely the model found each token that it wrote: log probabilities, kept until their text goes out.

They are of the model's own logits, before penalties, temperature and constraints. Knows no model library.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What OpenAI sends for a token without any chance: JSON has no infinity.
MIN_LOGPROB = -9999.0


@dataclass(frozen=True, slots=True)
class Spelling:
    """A token as text, and as the bytes it stands for; control tokens have a name and no bytes."""

    text: str
    bytes: bytes | None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was drawn, the natural logarithm of its probability, and the likeliest in its place."""

    spelling: Spelling
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


def token_logprob(
    logits: NDArray[np.float32], token: int, num_top: int, spelled: Callable[[int], Spelling]
) -> TokenLogprob:
    """What is known of a token drawn by these logits: float32, (vocabulary,). Keeps no array."""
    highest = logits.max()
    log_sum = float(highest) + math.log(np.exp(logits - highest).sum(dtype=np.float64))

    def known(token: int, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        logprob = max(float(logits[token]) - log_sum, MIN_LOGPROB)
        return TokenLogprob(spelled(token), min(logprob, 0.0), top)

    return known(int(token), tuple(known(other) for other in _likeliest(logits, num_top)))


def _likeliest(logits: NDArray[np.float32], num_top: int) -> list[int]:
    """The tokens of the highest logits, highest first; the lowest id first among equals."""
    num_top = min(num_top, len(logits))
    if num_top == 0:
        return []
    found = np.argpartition(logits, -num_top)[-num_top:]
    order = np.lexsort((found, -logits[found]))
    return [int(token) for token in found[order]]


class HeldLogprobs:
    """Those of the tokens whose text has not gone out yet. A token goes with the first of its text."""

    def __init__(self) -> None:
        self._held: deque[tuple[int, TokenLogprob]] = deque()
        self._num_written = 0

    def add(self, logprob: TokenLogprob) -> None:
        """Hold that of the token just drawn; call `written` with its text after."""
        self._held.append((self._num_written, logprob))

    def written(self, num_chars: int) -> None:
        """The token just drawn made so many characters of text: none, while a character is incomplete."""
        self._num_written += num_chars

    def sent_until(self, num_chars: int) -> tuple[TokenLogprob, ...]:
        """Those of the tokens that had a part in the text that goes out, up to so many characters in all."""
        released = []
        while self._held and self._held[0][0] < num_chars:
            released.append(self._held.popleft()[1])
        return tuple(released)

    def rest(self) -> tuple[TokenLogprob, ...]:
        """All that are left, when the answer ended by itself."""
        released = tuple(logprob for _, logprob in self._held)
        self._held.clear()
        return released


def wire(logprobs: Sequence[TokenLogprob]) -> dict[str, Any] | None:
    """OpenAI's `choices[].logprobs`, or None without any."""
    if not logprobs:
        return None
    content = [
        _entry(each) | {"top_logprobs": [_entry(other) for other in each.top]} for each in logprobs
    ]
    return {"content": content, "refusal": None}


def _entry(each: TokenLogprob) -> dict[str, Any]:
    spelling = each.spelling
    data = None if spelling.bytes is None else list(spelling.bytes)
    return {"token": spelling.text, "logprob": each.logprob, "bytes": data}
