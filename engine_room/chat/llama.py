"""The only importer of llama_cpp: load a model, tokenize, decode, sample.

Written on the library's low-level bindings, whose calls release the GIL. A context belongs to one
thread: nothing here is thread-safe.
"""

import ctypes
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from engine_room.chat.grammar import Constraint, tokenizer_of
from engine_room.chat.options import POOL_CONTEXTS, ModelOptions, fitted_context, fitted_freq_scale
from engine_room.chat.turn import Sampling
from engine_room.errors import Unavailable

log = logging.getLogger(__name__)
MAX_BATCH_TOKENS = 512
NO_ROOM = 1  # what llama_decode returns then
# A context that nobody asked for may shrink to this, where a GPU has no memory for more.
SMALL_CONTEXT_TOKENS = 4096
PENALTY_WINDOW_TOKENS = 64
GGML_LOG_LEVEL_ERROR = 4  # ggml.h; the bindings do not carry it
FLASH_ATTENTION = {
    "auto": llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
ROPE_SCALINGS = {
    "model": llama_cpp.LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED,
    "none": llama_cpp.LLAMA_ROPE_SCALING_TYPE_NONE,
    "linear": llama_cpp.LLAMA_ROPE_SCALING_TYPE_LINEAR,
    "yarn": llama_cpp.LLAMA_ROPE_SCALING_TYPE_YARN,
}
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


@dataclass(frozen=True, slots=True)
class Slice:
    """Tokens of one sequence in a batch, beginning at a position of it."""

    seq_id: int
    position: int
    tokens: Sequence[int]
    wants_logits: bool


class LlamaModel:
    """A GGUF in memory with one context for many sequences. Raises Unavailable when it cannot be loaded.

    A conversation may have `num_context_tokens`; all together share `num_pool_tokens`.
    """

    def __init__(self, path: Path, options: ModelOptions) -> None:
        llama_cpp.llama_backend_init()
        _recent_errors.clear()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = options.num_gpu_layers
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise _not_loaded(path)
        self._context: Any = None
        try:
            self._open_context(path, options)
            self._use_loras(options)
        except BaseException:
            self.close()
            raise
        self._num_threads = options.num_threads
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = _Batch()

    def _open_context(self, path: Path, options: ModelOptions) -> None:
        """Set the context and the two sizes."""
        self.num_trained_tokens = trained = llama_cpp.llama_model_n_ctx_train(self._model)
        in_ram = options.num_gpu_layers == 0 or not llama_cpp.llama_supports_gpu_offload()
        num_tokens = fitted_context(options, trained, self._num_values(), in_ram)
        while True:
            self.num_context_tokens = num_tokens
            self.num_pool_tokens = POOL_CONTEXTS * num_tokens
            freq_scale = fitted_freq_scale(options.rope, trained, num_tokens)
            params = _context_params(self.num_pool_tokens, options, freq_scale)
            self._context = llama_cpp.llama_init_from_model(self._model, params)
            if self._context:
                return
            if options.context_tokens or num_tokens <= SMALL_CONTEXT_TOKENS:
                raise _no_context(path, options)
            num_tokens = max(num_tokens // 2, SMALL_CONTEXT_TOKENS)

    def _num_values(self) -> int:
        """Numbers in the memory for each token: keys and values, in every layer."""
        num_heads = llama_cpp.llama_model_n_head_kv(self._model)
        all_heads = max(llama_cpp.llama_model_n_head(self._model), 1)
        size = llama_cpp.llama_model_n_embd(self._model) // all_heads
        sizes = (self._number(f"attention.{kind}_length") or size for kind in ("key", "value"))
        return int(llama_cpp.llama_model_n_layer(self._model) * num_heads * sum(sizes))

    def _number(self, name: str) -> int:
        """A number that the file tells of its architecture; 0 where it does not."""
        text = self._told(f"{self._told('general.architecture')}.{name}")
        return int(text) if text.isdecimal() else 0

    def _told(self, name: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        llama_cpp.llama_model_meta_val_str(self._model, name.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def _use_loras(self, options: ModelOptions) -> None:
        """Add the adapters; they are freed with the model. Raises Unavailable."""
        adapters = []
        for lora in options.loras:
            if not lora.path.is_file():
                raise _no_lora(lora.path, "there is no such file")
            adapter = llama_cpp.llama_adapter_lora_init(self._model, str(lora.path).encode())
            if not adapter:
                raise _no_lora(
                    lora.path, "; ".join(_recent_errors) or "it is no adapter for this model"
                )
            adapters.append(adapter)
        if adapters:
            pointers = (llama_cpp.llama_adapter_lora_p_ctypes * len(adapters))(*adapters)
            scales = (ctypes.c_float * len(adapters))(*(lora.scale for lora in options.loras))
            llama_cpp.llama_set_adapters_lora(self._context, pointers, len(adapters), scales)

    def use_threads(self, num_threads: int) -> None:
        """Decode with this many threads from now on; asking for the same again costs nothing."""
        if num_threads != self._num_threads:
            llama_cpp.llama_set_n_threads(self._context, num_threads, num_threads)
            self._num_threads = num_threads

    def close(self) -> None:
        """Free the memory; the model is not to be used any more."""
        if self._context:
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

    @property
    def shares_prefixes(self) -> bool:
        """False for models whose memory is one state and not tokens: there no part can be taken out."""
        return not (
            llama_cpp.llama_model_is_recurrent(self._model)
            or llama_cpp.llama_model_is_hybrid(self._model)
        )

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        """Let the target sequence begin with the source's first tokens; takes no room."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, num_tokens)

    def forget(self, seq_id: int, from_position: int = 0) -> None:
        """Drop a sequence's tokens from a position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, seq_id, from_position, -1)

    def save(self, seq_id: int) -> NDArray[np.uint8]:
        """A sequence's memory as bytes."""
        size = llama_cpp.llama_state_seq_get_size(self._context, seq_id)
        state = np.empty(size, np.uint8)
        llama_cpp.llama_state_seq_get_data(self._context, _bytes_of(state), size, seq_id)
        return state

    def restore(self, seq_id: int, state: NDArray[np.uint8]) -> bool:
        """Put a saved memory under a sequence id; False when there is no room for it."""
        return bool(
            llama_cpp.llama_state_seq_set_data(
                self._context, _bytes_of(state), state.nbytes, seq_id
            )
        )

    def decode(self, slices: Sequence[Slice]) -> bool:
        """Decode a batch of up to MAX_BATCH_TOKENS tokens; False, and nothing done, when the memory has
        no room for them. The logits of a slice that wants them are under the index of its last token in
        the batch. Raises RuntimeError when the model cannot compute."""
        code = llama_cpp.llama_decode(self._context, self._batch.of(slices))
        if code not in (0, NO_ROOM):
            raise RuntimeError(f"llama_decode returned {code}")
        return bool(code == 0)

    def sampler(self, sampling: Sampling, constraint: Constraint | None = None) -> "Sampler":
        """A sampler for one answer."""
        return Sampler(self._context, self._vocab, sampling, constraint)

    def constraint_tokenizer(self) -> Any:
        """llguidance's view of the tokens; reads only what never changes, so any thread may call it."""
        num_vocab = llama_cpp.llama_vocab_n_tokens(self._vocab)
        pointer = ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
        return tokenizer_of(
            [self._marked_piece(token) for token in range(num_vocab)],
            [token for token in range(num_vocab) if self.is_end(token)],
            self._vocab,
            pointer or 0,
        )

    def _marked_piece(self, token: int) -> bytes:
        if llama_cpp.llama_vocab_is_control(self._vocab, token):
            return b"\xff" + self._token_text(token).encode()
        return self.piece(token)


class _Batch:
    """A llama_batch over numpy arrays, made once; filling it token by token costs a tenth of the speed."""

    def __init__(self) -> None:
        size = MAX_BATCH_TOKENS
        self._tokens, self._positions = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self._seq_ids, self._one = np.zeros(size, np.int32), np.ones(size, np.int32)
        self._logits = np.zeros(size, np.int8)
        at = self._seq_ids.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        self._pointers = at.astype(np.uint64)
        fields: dict[str, Any] = {name: kind for name, kind, *_ in llama_cpp.llama_batch._fields_}
        self._batch = llama_cpp.llama_batch(
            token=self._tokens.ctypes.data_as(fields["token"]),
            pos=self._positions.ctypes.data_as(fields["pos"]),
            n_seq_id=self._one.ctypes.data_as(fields["n_seq_id"]),
            seq_id=self._pointers.ctypes.data_as(fields["seq_id"]),
            logits=self._logits.ctypes.data_as(fields["logits"]),
        )

    def of(self, slices: Sequence[Slice]) -> Any:
        """The batch for these slices; valid until the next call."""
        end = 0
        for slice_ in slices:
            begin, end = end, end + len(slice_.tokens)
            self._tokens[begin:end] = slice_.tokens
            self._positions[begin:end] = np.arange(slice_.position, slice_.position + end - begin)
            self._seq_ids[begin:end] = slice_.seq_id
            self._logits[begin:end] = 0
            self._logits[end - 1] = slice_.wants_logits
        self._batch.n_tokens = end
        return self._batch


def _context_params(num_tokens: int, options: ModelOptions, freq_scale: float) -> Any:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = num_tokens
    params.n_batch = params.n_ubatch = MAX_BATCH_TOKENS
    params.n_seq_max = options.num_sequences
    params.n_threads = params.n_threads_batch = options.num_threads
    # Shared by all sequences: without it each gets a part, and copying a prefix aborts the process.
    params.kv_unified = True
    # Skips what belongs to other sequences; without it, 2,000 such tokens cost a third of the speed. Auto is
    # on wherever the device can, the CPU always.
    params.flash_attn_type = FLASH_ATTENTION[options.flash_attention]
    params.type_k = params.type_v = getattr(llama_cpp, f"GGML_TYPE_{options.kv_type.upper()}")
    params.rope_scaling_type = ROPE_SCALINGS[options.rope.scaling]
    params.rope_freq_base, params.rope_freq_scale = options.rope.freq_base, freq_scale
    params.swa_full = True  # else a sliding window forgets what a prefix needs
    params.no_perf = True
    return params


def _bytes_of(array: NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


class Sampler:
    """Draws one token at a time: penalties, then top-k, top-p, min-p, temperature, chance."""

    def __init__(
        self, context: Any, vocab: Any, sampling: Sampling, constraint: Constraint | None = None
    ) -> None:
        self._context = context
        self._constraint = constraint
        self._num_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self._chain = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        for link in _links(vocab, sampling):
            llama_cpp.llama_sampler_chain_add(self._chain, link)

    def sample(self, logits_index: int) -> int:
        """The next token, by the logits that the last batch left at this index."""
        if self._constraint is None:
            return int(llama_cpp.llama_sampler_sample(self._chain, self._context, logits_index))
        pointer = llama_cpp.llama_get_logits_ith(self._context, logits_index)
        self._constraint.mask(np.ctypeslib.as_array(pointer, (self._num_vocab,)))
        token = int(llama_cpp.llama_sampler_sample(self._chain, self._context, logits_index))
        self._constraint.accept(token)
        return token

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


def _no_context(path: Path, options: ModelOptions) -> Unavailable:
    why = "; ".join(_recent_errors) or "llama.cpp gives no reason"
    return Unavailable(
        f"The chat model {path.name} has no place for conversations "
        f"(CHAT_CONTEXT_TOKENS={options.context_tokens}, CHAT_KV_TYPE={options.kv_type}): {why}.",
        "Lower CHAT_CONTEXT_TOKENS or CHAT_GPU_LAYERS, or set CHAT_KV_TYPE=f16.",
    )


def _no_lora(path: Path, why: str) -> Unavailable:
    return Unavailable(
        f"The LoRA {path} cannot be used: {why}.",
        "Put an adapter (GGUF) made for this chat model there, or take it out of CHAT_LORA.",
    )
