"""XTTS's GPT in torch, for a GPU: each sequence has a cache of its own, so several may take turns.

Not thread-safe.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from engine_room.xtts.gpt import Floats, Span


class TorchGpt:
    """A `Gpt` from transformers' GPT2Model, on whatever device it is."""

    def __init__(self, model: Any, num_sequences: int, num_positions: int) -> None:
        self.num_sequences, self.num_positions = num_sequences, num_positions
        self._model = model
        self._caches: dict[int, Any] = {}

    def decode(self, spans: Sequence[Span], num_threads: int) -> Floats:
        """See `Gpt`; the threads are torch's, where it computes on a CPU."""
        torch.set_num_threads(num_threads)
        with torch.inference_mode():
            hidden = np.stack([self._hidden(span) for span in spans])
        if not np.isfinite(hidden).all():
            raise RuntimeError(
                f"XTTS's GPT leaves what {self._model.dtype} holds; set XTTS_DTYPE=float32"
            )
        return hidden

    def _hidden(self, span: Span) -> Floats:
        cache = self._caches.setdefault(span.seq_id, DynamicCache())
        embeddings = torch.from_numpy(span.embeddings)[None]
        embeddings = embeddings.to(self._model.device, self._model.dtype)
        out = self._model(inputs_embeds=embeddings, past_key_values=cache, use_cache=True)
        hidden: Floats = out.last_hidden_state[0, -1].float().cpu().numpy()
        return hidden

    def copy_prefix(self, source: int, target: int, num_positions: int) -> None:
        """See `Gpt`."""
        cache = copy.deepcopy(self._caches[source])
        if num_over := cache.get_seq_length() - num_positions:
            cache.crop(-num_over)
        self._caches[target] = cache

    def forget(self, seq_id: int) -> None:
        """See `Gpt`."""
        self._caches.pop(seq_id, None)

    def close(self) -> None:
        """See `Gpt`."""
        self._caches.clear()
