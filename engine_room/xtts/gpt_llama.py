"""XTTS's GPT on llama.cpp, several sequences in one batch.

It is a plain GPT-2 whose token and position embeddings are added outside: the file (see `conversion`) has
a vocabulary that means nothing, and no tokenizer. Not thread-safe.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from engine_room.llama_library import batch_of, load_model, not_loaded
from engine_room.xtts.gpt import MAX_BATCH_POSITIONS, Floats, Span

WHAT = "XTTS GPT"


class LlamaGpt:
    """A `Gpt` from a GGUF. Raises Unavailable when it cannot be loaded."""

    def __init__(self, path: Path, num_sequences: int, num_positions: int) -> None:
        self.num_sequences, self.num_positions = num_sequences, num_positions
        self._model = load_model(path, WHAT, needs_tokenizer=False)
        self._width = llama_cpp.llama_model_n_embd(self._model)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = num_positions
        params.n_batch = params.n_ubatch = MAX_BATCH_POSITIONS
        params.n_seq_max = num_sequences
        params.kv_unified = True  # shared by all; else copying a prefix aborts the process
        params.embeddings = True
        params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_NONE
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            llama_cpp.llama_model_free(self._model)
            raise not_loaded(path, WHAT)
        self._memory = llama_cpp.llama_get_memory(self._context)

    def decode(self, spans: Sequence[Span], num_threads: int) -> Floats:
        """See `Gpt`."""
        llama_cpp.llama_set_n_threads(self._context, num_threads, num_threads)
        lengths = [len(span.embeddings) for span in spans]
        embeddings = np.ascontiguousarray(np.concatenate([span.embeddings for span in spans]))
        starts = [(span.position, span.position + len(span.embeddings)) for span in spans]
        positions = np.concatenate([np.arange(*start) for start in starts]).astype(np.int32)
        seq_ids = np.repeat([span.seq_id for span in spans], lengths).astype(np.int32)
        ends = np.cumsum(lengths) - 1
        wanted = np.zeros(len(positions), np.int8)
        wanted[ends] = 1
        batch = batch_of(seq_ids, positions, wanted, embeddings=embeddings)
        if code := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode returned {code}")
        return np.stack([self._hidden(int(end)) for end in ends])

    def _hidden(self, index: int) -> Floats:
        pointer = llama_cpp.llama_get_embeddings_ith(self._context, index)
        hidden: Floats = np.ctypeslib.as_array(
            ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self._width,)
        ).copy()
        return hidden

    def copy_prefix(self, source: int, target: int, num_positions: int) -> None:
        """See `Gpt`; takes no room."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, num_positions)

    def forget(self, seq_id: int) -> None:
        """See `Gpt`."""
        llama_cpp.llama_memory_seq_rm(self._memory, seq_id, -1, -1)

    def close(self) -> None:
        """See `Gpt`; it is not to be used any more."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)
