"""Draws the tokens of an answer by llama.cpp's samplers, in llama-server's order and with its defaults.

A model's samplers share one array of candidates, and with the model they belong to one thread.
"""

import ctypes
import secrets
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from engine_room.chat.grammar import Constraint
from engine_room.chat.turn import Sampling
from engine_room.errors import InvalidRequest

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
# Below this only the likeliest token has a chance; and dividing by less overflows a float32.
MIN_TEMPERATURE = 1e-6
MIROSTAT_TOKENS = 100  # that version 1 estimates from, as llama-server has it
MAX_DRY_KINDS = 8


class Candidates:
    """The tokens that may be drawn next, as llama.cpp's samplers want them: made once for a model, filled
    anew for each draw."""

    def __init__(self, context: Any, vocab: Any) -> None:
        self.context = context
        self.vocab = vocab
        self.num_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self._ids = np.arange(self.num_vocab, dtype=np.int32)
        self._data = np.zeros(self.num_vocab, CANDIDATE)
        self._pointer = ctypes.cast(self._data.ctypes.data, llama_cpp.llama_token_data_p)
        self._dry_kinds: dict[Any, Any] = {}

    def logits(self, logits_index: int) -> NDArray[np.float32]:
        """What the last batch left at this index, for reading: float32, (vocabulary,)."""
        pointer = llama_cpp.llama_get_logits_ith(self.context, logits_index)
        return np.ctypeslib.as_array(pointer, (self.num_vocab,))

    def drawn(
        self, chain: Any, logits: NDArray[np.float32], allowed: NDArray[np.int64] | None = None
    ) -> int:
        """The token that a chain picks, of all or of the allowed ones; the chain is not told so."""
        ids = self._ids if allowed is None else allowed
        self._data["id"][: len(ids)] = ids
        self._data["logit"][: len(ids)] = logits if allowed is None else logits[allowed]
        # The samplers sort the data, and cut the array short at its end and, XTC, at its beginning.
        array = llama_cpp.llama_token_data_array(self._pointer, len(ids), -1, False)
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def dry(self, sampling: Sampling, window: int) -> Any:
        """A DRY sampler. The first of a kind looks at every token for the breakers, which takes 15 ms for
        49,000 tokens; those after it are copies."""
        breakers = [text.encode() for text in sampling.dry_sequence_breakers]
        numbers = (sampling.dry_multiplier, sampling.dry_base, sampling.dry_allowed_length, window)
        kind = (numbers, tuple(breakers))
        if kind not in self._dry_kinds:
            if len(self._dry_kinds) == MAX_DRY_KINDS:
                oldest = next(iter(self._dry_kinds))
                llama_cpp.llama_sampler_free(self._dry_kinds.pop(oldest))
            texts = (ctypes.c_char_p * len(breakers))(*breakers)
            self._dry_kinds[kind] = llama_cpp.llama_sampler_init_dry(
                self.vocab, *numbers, texts, len(breakers)
            )
        return llama_cpp.llama_sampler_clone(self._dry_kinds[kind])

    def close(self) -> None:
        """Free the memory."""
        for link in self._dry_kinds.values():
            llama_cpp.llama_sampler_free(link)
        self._dry_kinds.clear()


class Sampler:
    """Draws the tokens of one answer, which begins with the tokens of its prompt.

    Under a constraint a token is first drawn as if there were none, and only when it is not allowed again
    among the allowed ones: the chances are the same, but for what top-k and its like cut off before, and
    the mask, which costs the most, is seldom needed. Raises InvalidRequest for a bias on a token that the
    model does not have.
    """

    def __init__(
        self,
        candidates: Candidates,
        sampling: Sampling,
        constraint: Constraint | None = None,
        prompt: Sequence[int] = (),
    ) -> None:
        self._candidates = candidates
        self._constraint = constraint
        # A draw changes mirostat's state, so one that is taken back would count.
        self._masks_first = sampling.mirostat != 0
        links = _links(candidates, sampling)
        self._chain = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        for link in links:
            llama_cpp.llama_sampler_chain_add(self._chain, link)
        if num_back := _num_looked_back(candidates, sampling):
            for token in prompt[-num_back:]:
                if token >= 0:  # else it is a part of an image
                    llama_cpp.llama_sampler_accept(self._chain, token)

    def sample(self, logits_index: int) -> int:
        """The next token, by the logits that the last batch left at this index. Raises InvalidRequest when
        the constraint lets none follow."""
        candidates = self._candidates
        if self._constraint is None:
            return int(
                llama_cpp.llama_sampler_sample(self._chain, candidates.context, logits_index)
            )
        logits = candidates.logits(logits_index)
        token = -1 if self._masks_first else candidates.drawn(self._chain, logits)
        if token < 0 or not self._constraint.allows(token):
            token = candidates.drawn(self._chain, logits, self._constraint.allowed(len(logits)))
        llama_cpp.llama_sampler_accept(self._chain, token)
        self._constraint.accept(token)
        return token

    def close(self) -> None:
        """Free the memory."""
        llama_cpp.llama_sampler_free(self._chain)


def _links(candidates: Candidates, sampling: Sampling) -> list[Any]:
    """The samplers, in llama-server's order; those that would do nothing are left out."""
    links = [*_biases(candidates, sampling)]
    seed = sampling.seed & 0xFFFF_FFFF if sampling.seed >= 0 else secrets.randbits(32)
    if sampling.mirostat and sampling.temperature >= MIN_TEMPERATURE:
        return [*links, *_mirostat(candidates, sampling, seed)]
    if not sampling.mirostat:
        links += _penalties(candidates, sampling)
        # The likeliest token stays whatever else is cut off, but for these two.
        may_lose_the_likeliest = sampling.typical_p < 1 or sampling.xtc_probability > 0
        if sampling.temperature >= MIN_TEMPERATURE or may_lose_the_likeliest:
            links += _cuts(sampling, seed)
    if sampling.temperature < MIN_TEMPERATURE:
        return [*links, llama_cpp.llama_sampler_init_greedy()]
    return [
        *links,
        llama_cpp.llama_sampler_init_temp(sampling.temperature),
        llama_cpp.llama_sampler_init_dist(seed),
    ]


def _biases(candidates: Candidates, sampling: Sampling) -> list[Any]:
    if not sampling.logit_bias:
        return []
    for token, _ in sampling.logit_bias:
        if token >= candidates.num_vocab:
            raise InvalidRequest(
                f"logit_bias names token {token}, but this model's tokens are 0 to "
                f"{candidates.num_vocab - 1}.",
                param="logit_bias",
            )
    size = len(sampling.logit_bias)
    each = [llama_cpp.llama_logit_bias(token, bias) for token, bias in sampling.logit_bias]
    biases = (llama_cpp.llama_logit_bias * size)(*each)
    return [llama_cpp.llama_sampler_init_logit_bias(candidates.num_vocab, size, biases)]


def _mirostat(candidates: Candidates, sampling: Sampling, seed: int) -> list[Any]:
    numbers = (seed, sampling.mirostat_tau, sampling.mirostat_eta)
    temperature = llama_cpp.llama_sampler_init_temp(sampling.temperature)
    if sampling.mirostat == 2:
        return [temperature, llama_cpp.llama_sampler_init_mirostat_v2(*numbers)]
    num_vocab = candidates.num_vocab
    return [
        temperature,
        llama_cpp.llama_sampler_init_mirostat(num_vocab, *numbers, MIROSTAT_TOKENS),
    ]


def _penalties(candidates: Candidates, sampling: Sampling) -> list[Any]:
    links = []
    if window := _penalty_window(candidates, sampling):
        links.append(
            llama_cpp.llama_sampler_init_penalties(
                candidates.num_vocab,
                window,
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        )
    if window := _dry_window(candidates, sampling):
        links.append(candidates.dry(sampling, window))
    return links


def _cuts(sampling: Sampling, seed: int) -> list[Any]:
    """What takes unlikely tokens out, and for XTC the likeliest ones."""
    links = []
    if sampling.top_n_sigma > 0:
        links.append(llama_cpp.llama_sampler_init_top_n_sigma(sampling.top_n_sigma))
    links.append(llama_cpp.llama_sampler_init_top_k(max(sampling.top_k, 0)))
    if sampling.typical_p < 1:
        links.append(llama_cpp.llama_sampler_init_typical(sampling.typical_p, 1))
    links.append(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
    links.append(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
    if sampling.xtc_probability > 0:
        links.append(
            llama_cpp.llama_sampler_init_xtc(
                sampling.xtc_probability, sampling.xtc_threshold, 1, seed
            )
        )
    return links


def _num_looked_back(candidates: Candidates, sampling: Sampling) -> int:
    """How many of the tokens so far make a difference to the next."""
    if sampling.mirostat:
        return 0
    return max(_penalty_window(candidates, sampling), _dry_window(candidates, sampling))


def _penalty_window(candidates: Candidates, sampling: Sampling) -> int:
    penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
    return _window(candidates, sampling.repeat_last_n) if penalties != (1, 0, 0) else 0


def _dry_window(candidates: Candidates, sampling: Sampling) -> int:
    return _window(candidates, sampling.dry_penalty_last_n) if sampling.dry_multiplier else 0


def _window(candidates: Candidates, num_tokens: int) -> int:
    """No more than the model's memory holds, for which llama.cpp takes room at once."""
    num_all: int = llama_cpp.llama_n_ctx(candidates.context)
    return num_all if num_tokens < 0 else min(num_tokens, num_all)
