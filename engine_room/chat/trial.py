"""What a chat model is worth: how well it foretells a text, and how long an answer takes.

The text is `perplexity.txt`: prose, dialogue, instructions, code and letters of our own, mostly English, so
that no model has learnt it. Perplexities of one text compare models of one tokenizer, no others.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine_room.chat.llama import LlamaModel, Slice
from engine_room.chat.options import ModelOptions
from engine_room.errors import Unavailable

TEXT = Path(__file__).with_name("perplexity.txt")
WINDOW_TOKENS = 512  # a token is foretold from those before it in its window
UNSCORED_TOKENS = 64  # the first ones of a window are guesses for any model
# Logits of this many tokens are held at once: 80 MB for the largest vocabularies.
BATCH_TOKENS = 128
# An exchange as chats have it: a question, and a short answer.
PROMPT_TOKENS = 256
ANSWER_TOKENS = 64


class Trial:
    """A model loaded on the CPU, to be tried. Not thread-safe. Raises Unavailable where it cannot be."""

    def __init__(self, path: Path, num_threads: int) -> None:
        options = ModelOptions(
            num_threads=num_threads, context_tokens=WINDOW_TOKENS, num_gpu_layers=0
        )
        self._model = LlamaModel(path, options)
        self._text = self._model.tokenize(TEXT.read_text(encoding="utf-8"), with_bos=False)
        if min(self._model.num_context_tokens, len(self._text)) < WINDOW_TOKENS:
            self.close()
            raise Unavailable(f"{path.name} is no model of texts of {WINDOW_TOKENS} tokens.")

    def close(self) -> None:
        """Free the memory."""
        self._model.close()

    def perplexity(self) -> float:
        """Among how many tokens, all as likely, the model hesitates at each: 1 would foretell all."""
        bos = [] if self._model.bos is None else [self._model.bos]
        step = WINDOW_TOKENS - len(bos)
        losses: list[float] = []
        for begin in range(0, len(self._text), step):
            losses += self._losses(bos + self._text[begin : begin + step])
        return math.exp(math.fsum(losses) / len(losses))

    def _losses(self, window: Sequence[int]) -> list[float]:
        """The negative log-likelihood of each scored token of a window."""
        self._model.forget(0)
        losses = []
        for begin in range(0, len(window) - 1, BATCH_TOKENS):
            tokens = window[begin : begin + BATCH_TOKENS]
            self._decode([Slice(0, begin + i, [token], True) for i, token in enumerate(tokens)])
            for index in range(len(tokens)):
                following = begin + index + 1
                if UNSCORED_TOKENS <= following < len(window):
                    logits = self._model.logits(index).astype(np.float64)
                    top = logits.max()
                    total = top + math.log(np.exp(logits - top).sum())
                    losses.append(float(total - logits[window[following]]))
        return losses

    def answer_s(self) -> float:
        """Seconds for reading a question and writing an answer, of tokens that do not matter."""
        self._model.forget(0)
        prompt = self._text[:PROMPT_TOKENS]
        began = time.perf_counter()
        self._decode([Slice(0, 0, prompt, True)])
        for position in range(len(prompt), len(prompt) + ANSWER_TOKENS):
            self._decode([Slice(0, position, [self._text[position]], True)])
            self._model.logits(0)[0]  # decoding is over when they can be read
        return time.perf_counter() - began

    def _decode(self, slices: Sequence[Slice]) -> None:
        if not self._model.decode(slices):
            raise RuntimeError("The memory has no room for a window.")
