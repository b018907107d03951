"""An embedding model on llama_cpp: tokenize, and turn batches of token lists into vectors.

A context belongs to one thread: nothing here is thread-safe.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from engine_room.embedding_turn import Vectors
from engine_room.llama_library import batch_of, load_model, not_loaded

log = logging.getLogger(__name__)
Tokens = NDArray[np.int32]
WHAT = "embedding model"
# What a batch holds; one longer input is a batch of its own.
MAX_BATCH_TOKENS = 512
MAX_BATCH_INPUTS = 64
# OpenAI's limit too. Models trained on more take it, in memory that a desktop does not have.
MAX_INPUT_TOKENS = 8192


class EmbeddingModel:
    """A GGUF in memory with a context that grows to the longest input. Raises Unavailable when it cannot
    be loaded. An input may have `max_input_tokens`; a vector has `num_dimensions`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._model = load_model(path, WHAT)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.num_vocab = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self.num_dimensions = int(llama_cpp.llama_model_n_embd_out(self._model))
        trained = llama_cpp.llama_model_n_ctx_train(self._model)
        self.max_input_tokens = min(trained, MAX_INPUT_TOKENS)
        self._context: Any = None
        self._pooling = llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED  # the file's own
        self._reads_last_token_only = False
        try:
            self._begin, self._end = self._frame()
            self._open_context(MAX_BATCH_TOKENS)
            self._choose_pooling()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the memory; the model is not to be used any more."""
        self._close_context()
        llama_cpp.llama_model_free(self._model)

    # ------------------------------------------------------------ tokens

    def tokenize(self, text: str) -> Tokens:
        """The tokens of a text between the model's begin and end tokens; no text stands for those."""
        return np.array(self._tokens(text, add_special=True), np.int32)

    def framed(self, ids: Sequence[int]) -> Tokens:
        """Token ids with the model's begin and end tokens, where they are not there."""
        begin = [] if list(ids[: len(self._begin)]) == self._begin else self._begin
        end = [] if list(ids[len(ids) - len(self._end) :]) == self._end else self._end
        return np.array([*begin, *ids, *end], np.int32)

    def _tokens(self, text: str, add_special: bool) -> list[int]:
        data = text.encode()
        size = len(data) + 16  # a token stands for a byte at least, but those that are added
        buffer = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(
            self._vocab, data, len(data), buffer, size, add_special, False
        )
        if count < 0:
            raise RuntimeError(f"llama_tokenize needs {-count} tokens for {len(data)} bytes")
        return list(buffer[:count])

    def _frame(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and after a text; seen from what it does with one."""
        bare, framed = self._tokens("a", add_special=False), self._tokens("a", add_special=True)
        for begin in range(len(framed) - len(bare) + 1):
            if framed[begin : begin + len(bare)] == bare:
                return framed[:begin], framed[begin + len(bare) :]
        return [], []

    # ------------------------------------------------------------ vectors

    def embed(self, inputs: Sequence[Tokens], num_threads: int) -> Vectors:
        """A vector of length 1 for each input, float32, (inputs, dimensions); at most MAX_BATCH_INPUTS of
        them, none empty or longer than `max_input_tokens`. Raises RuntimeError when the model cannot
        compute, Unavailable when there is no memory for so long an input."""
        num_tokens = sum(map(len, inputs))
        if num_tokens > self._num_context_tokens:
            self._open_context(num_tokens)
        llama_cpp.llama_set_n_threads(self._context, num_threads, num_threads)
        if self._memory:
            llama_cpp.llama_memory_clear(self._memory, False)
        starts = [0] * len(inputs)
        if self._reads_last_token_only:
            # llama.cpp computes the likelihood of every word after every token whose vector is wanted:
            # for 8,192 tokens and 150,000 words 5 GB. Only the last token of each input is wanted.
            if any(len(tokens) > 1 for tokens in inputs):
                self._compute([tokens[:-1] for tokens in inputs], starts, wants_vectors=False)
            ends = [len(tokens) - 1 for tokens in inputs]
            self._compute([tokens[-1:] for tokens in inputs], ends, wants_vectors=True)
        else:
            self._compute(inputs, starts, wants_vectors=True)
        vectors = np.stack([self._vector(seq_id) for seq_id in range(len(inputs))])
        return of_length_one(vectors)

    def _compute(
        self, slices: Sequence[Tokens], starts: Sequence[int], wants_vectors: bool
    ) -> None:
        """Have the model read a slice of each sequence, beginning at these positions."""
        lengths = [len(tokens) for tokens in slices]
        tokens = np.concatenate(slices).astype(np.int32)
        positions = np.concatenate(
            [np.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)]
        ).astype(np.int32)
        seq_ids = np.repeat(np.arange(len(slices)), lengths).astype(np.int32)
        flags = np.full(len(tokens), wants_vectors, np.int8)
        batch = batch_of(seq_ids, positions, flags, tokens=tokens)
        llama_cpp.llama_set_embeddings(self._context, wants_vectors)
        compute = llama_cpp.llama_encode if self._is_encoder else llama_cpp.llama_decode
        if code := compute(self._context, batch):
            raise RuntimeError(f"{compute.__name__} returned {code}")

    def _vector(self, seq_id: int) -> Vectors:
        pointer = llama_cpp.llama_get_embeddings_seq(self._context, seq_id)
        if not pointer:
            raise RuntimeError("the model gives no vector")
        vector: Vectors = np.ctypeslib.as_array(pointer, (self.num_dimensions,)).copy()
        if not np.isfinite(vector).all():
            raise RuntimeError("the model's vector is not of finite numbers")
        return vector

    # ------------------------------------------------------------ context

    def _choose_pooling(self) -> None:
        """Keep to the pooling that the file names; the mean, where it names none."""
        self._pooling = llama_cpp.llama_pooling_type(self._context)
        if self._pooling == llama_cpp.LLAMA_POOLING_TYPE_NONE:
            log.info("%s does not say how to pool: the mean is taken", self._path.name)
            self._pooling = llama_cpp.LLAMA_POOLING_TYPE_MEAN
            self._open_context(MAX_BATCH_TOKENS)
        is_causal = llama_cpp.llama_get_causal_attn(self._context)
        is_last = self._pooling == llama_cpp.LLAMA_POOLING_TYPE_LAST
        self._reads_last_token_only = is_causal and is_last

    def _open_context(self, num_tokens: int) -> None:
        """A context for batches of so many tokens, in place of the one before. Raises Unavailable."""
        self._close_context()
        # Powers of two: of numbers that MAX_BATCH_INPUTS does not divide, mean pooling aborts the process.
        size = power_of_two(num_tokens)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = size
        if (
            self._reads_last_token_only
        ):  # only then a batch can be computed in pieces, in less memory
            params.n_ubatch = min(size, MAX_BATCH_TOKENS)
        params.n_seq_max = MAX_BATCH_INPUTS
        params.kv_unified = True  # else each input gets a 64th of the context
        params.embeddings = True
        params.pooling_type = self._pooling
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise not_loaded(self._path, WHAT)
        self._num_context_tokens = size
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._is_encoder = not self._memory or llama_cpp.llama_model_has_encoder(self._model)

    def _close_context(self) -> None:
        if self._context:
            llama_cpp.llama_free(self._context)
        self._context = None
        self._num_context_tokens = 0


def power_of_two(number: int) -> int:
    """The smallest one that is no smaller."""
    return 1 << (number - 1).bit_length()


def of_length_one(vectors: Vectors) -> Vectors:
    """Each vector divided by its length; one of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.where(lengths == 0, np.float32(1), lengths)
    return scaled.astype(np.float32)
