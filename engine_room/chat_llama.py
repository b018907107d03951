"""The only importer of llama_cpp: load a model, tokenize, decode, sample.

Written on the library's low-level bindings, whose calls release the GIL. A context belongs to one
thread: nothing here is thread-safe.
"""

import ctypes
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp

from engine_room.chat_turn import Sampling
from engine_room.errors import Unavailable

log = logging.getLogger(__name__)
MAX_BATCH_TOKENS = 512
PENALTY_WINDOW_TOKENS = 64
GGML_LOG_LEVEL_ERROR = 4  # ggml.h; the bindings do not carry it
_recent_errors: deque[str] = deque(maxlen=3)


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _log(level: int, text: bytes, _user_data: Any) -> None:
    """llama.cpp is talkative: all of it is for our debug log; errors are kept for `Unavailable` too."""
    line = text.decode("utf-8", "replace").strip()
    if level == GGML_LOG_LEVEL_ERROR:
        _recent_errors.append(line)
    if line.strip("."):
        log.debug("%s", line)


llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))


class LlamaModel:
    """A GGUF in memory with one context for one sequence. Raises Unavailable when it cannot be loaded."""

    def __init__(self, path: Path, max_context_tokens: int, num_threads: int) -> None:
        llama_cpp.llama_backend_init()
        _recent_errors.clear()
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise _not_loaded(path)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = min(max_context_tokens, llama_cpp.llama_model_n_ctx_train(self._model))
        params.n_batch = params.n_ubatch = MAX_BATCH_TOKENS
        params.n_threads = params.n_threads_batch = num_threads
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            llama_cpp.llama_model_free(self._model)
            raise _not_loaded(path)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._memory = llama_cpp.llama_get_memory(self._context)
        # llama.cpp rounds the size up to a multiple of its own; what the model was trained on counts.
        self.num_context_tokens = int(params.n_ctx)

    def close(self) -> None:
        """Free the memory; the model is not to be used any more."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    @property
    def template(self) -> str:
        """The chat template (Jinja) that the file carries, or an empty string."""
        source = llama_cpp.llama_model_chat_template(self._model, None)
        return source.decode("utf-8", "replace") if source else ""

    @property
    def bos_text(self) -> str:
        """The beginning-of-sequence token as text, or an empty string."""
        return self._token_text(llama_cpp.llama_vocab_bos(self._vocab))

    @property
    def eos_text(self) -> str:
        """The end-of-sequence token as text, or an empty string."""
        return self._token_text(llama_cpp.llama_vocab_eos(self._vocab))

    def _token_text(self, token: int) -> str:
        if token == llama_cpp.LLAMA_TOKEN_NULL:
            return ""
        text: bytes = llama_cpp.llama_vocab_get_text(self._vocab, token)
        return text.decode("utf-8", "replace")

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a prompt, special ones recognised, with a BOS if the model wants one."""
        data = text.encode()
        bos = self.bos_text
        add_bos = not (bos and text.startswith(bos))
        size = len(data) + 2
        buffer = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), buffer, size, add_bos, True)
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for: often a part of a UTF-8 character; none for control tokens."""
        buffer = ctypes.create_string_buffer(256)
        size = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(size, 0)]

    def is_end(self, token: int) -> bool:
        """True for the tokens with which the model ends its answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    def forget(self, from_position: int = 0) -> None:
        """Drop what was decoded from a position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, from_position, -1)

    def decode(self, tokens: Sequence[int]) -> None:
        """Append up to MAX_BATCH_TOKENS tokens to the sequence; the last one's logits are there after."""
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        code = llama_cpp.llama_decode(
            self._context, llama_cpp.llama_batch_get_one(array, len(tokens))
        )
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code}")

    def sampler(self, sampling: Sampling) -> "Sampler":
        """A sampler for one answer."""
        return Sampler(self._context, self._vocab, sampling)


class Sampler:
    """Draws one token at a time: penalties, then top-k, top-p, min-p, temperature, chance."""

    def __init__(self, context: Any, vocab: Any, sampling: Sampling) -> None:
        self._context = context
        self._chain = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        for link in _links(vocab, sampling):
            llama_cpp.llama_sampler_chain_add(self._chain, link)

    def sample(self) -> int:
        """The next token, after the logits of the last decode."""
        return int(llama_cpp.llama_sampler_sample(self._chain, self._context, -1))

    def close(self) -> None:
        """Free the memory."""
        llama_cpp.llama_sampler_free(self._chain)


def _links(vocab: Any, sampling: Sampling) -> list[Any]:
    penalties = (
        sampling.repeat_penalty,
        sampling.frequency_penalty,
        sampling.presence_penalty,
    )
    links = []
    if penalties != (1, 0, 0):
        num_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        links.append(
            llama_cpp.llama_sampler_init_penalties(num_vocab, PENALTY_WINDOW_TOKENS, *penalties)
        )
    if sampling.temperature == 0:
        return [*links, llama_cpp.llama_sampler_init_greedy()]
    seed = sampling.seed & 0xFFFF_FFFF if sampling.seed >= 0 else secrets.randbits(32)
    return [
        *links,
        llama_cpp.llama_sampler_init_top_k(max(sampling.top_k, 0)),
        llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1),
        llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
        llama_cpp.llama_sampler_init_temp(sampling.temperature),
        llama_cpp.llama_sampler_init_dist(seed),
    ]


def _not_loaded(path: Path) -> Unavailable:
    why = "; ".join(_recent_errors) or "llama.cpp gives no reason"
    return Unavailable(
        f"The chat model {path.name} cannot be loaded: {why}.",
        f"Put a whole GGUF file that this llama.cpp knows in its place, or remove {path.name}.",
    )
