"""Draws audio tokens as the library does: its processors, in its order, on 1,026 logits.

The order is that of transformers' `generate`: repetition penalty, temperature, top-k, top-p.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# The library feeds its GPT made-up ids for the part of a prompt that is no audio token, all of them this
# one; the repetition penalty sees them, and so it does here.
PROMPT_TOKEN = 1
LEAST_TEMPERATURE = 1e-3  # below it there is no chance left, and soon no number either


@dataclass(frozen=True, slots=True)
class AudioSampling:
    """How audio tokens are drawn; a `temperature` of 0 takes the likeliest."""

    temperature: float = 0.75
    top_k: int = 50
    top_p: float = 0.85
    repetition_penalty: float = 5.0


@dataclass(frozen=True, slots=True)
class SamplingChanges:
    """What a request wants otherwise than its model's config has it; None: as there."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None

    def of(self, own: AudioSampling) -> AudioSampling:
        """The model's own sampling with these changes."""
        wanted = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(own, **wanted)


class AudioSampler:
    """Draws the tokens of one sentence. `start_token` is the one that every sentence begins with."""

    def __init__(self, sampling: AudioSampling, seed: int, start_token: int) -> None:
        self._sampling = sampling
        self._rng = np.random.default_rng(seed)
        self._seen = {PROMPT_TOKEN, start_token}

    def sample(self, logits: Floats) -> int:
        """The next token, by float32 (tokens,), which is not changed."""
        sampling = self._sampling
        scores = logits.astype(np.float64)
        seen = np.fromiter(self._seen, np.intp)
        penalty = sampling.repetition_penalty
        scores[seen] = np.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
        if sampling.temperature < LEAST_TEMPERATURE:
            token = int(np.argmax(scores))
        else:
            token = self._drawn(scores / sampling.temperature)
        self._seen.add(token)
        return token

    def _drawn(self, scores: NDArray[np.float64]) -> int:
        likeliest = np.argsort(-scores, kind="stable")
        if self._sampling.top_k > 0:
            likeliest = likeliest[: self._sampling.top_k]
        chances = np.exp(scores[likeliest] - scores[likeliest[0]])
        chances /= chances.sum()
        if self._sampling.top_p < 1:
            # The token that reaches the sum is kept, as is the first, even at a top_p of 0.
            before = np.cumsum(chances) - chances
            kept = before < self._sampling.top_p
            kept[0] = True
            likeliest, chances = likeliest[kept], chances[kept] / chances[kept].sum()
        return int(self._rng.choice(likeliest, p=chances))
