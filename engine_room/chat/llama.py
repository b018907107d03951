"""The chat model on llama_cpp: tokenize, decode.

Written on the library's low-level bindings, whose calls release the GIL. A context belongs to one
thread: nothing here is thread-safe.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from engine_room.chat.embedded import Embedded
from engine_room.chat.grammar import Constraint, tokenizer_of
from engine_room.chat.logprobs import Spelling
from engine_room.chat.lora import use_loras
from engine_room.chat.memory import STATE_BYTES, conversations_of
from engine_room.chat.options import (
    KV_BYTES,
    POOL_CONTEXTS,
    ModelOptions,
    fitted_context,
    fitted_freq_scale,
)
from engine_room.chat.sampler import Candidates, Sampler
from engine_room.chat.turn import Sampling
from engine_room.chat.vision import Vision, decode_embedded
from engine_room.chat.vocabulary import InfillTokens
from engine_room.cores import Cores
from engine_room.errors import Unavailable
from engine_room.llama_library import is_done, load_model, reason

MAX_BATCH_TOKENS = 512
# A context that nobody asked for may shrink to this, where a GPU has no memory for more.
SMALL_CONTEXT_TOKENS = 4096
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


@dataclass(frozen=True, slots=True)
class Slice:
    """Tokens of one sequence in a batch, beginning at a position of it."""

    seq_id: int
    position: int
    tokens: Sequence[int]
    wants_logits: bool


class LlamaModel:
    """A GGUF in memory with one context for many sequences, and with a projector (`mmproj`) that sees.
    Raises Unavailable when it cannot be loaded.

    A conversation may have `num_context_tokens`; all together share `num_pool_tokens`.
    """

    def __init__(
        self,
        path: Path,
        options: ModelOptions,
        mmproj: Path | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        cores: Cores | None = None,
    ) -> None:
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = options.num_gpu_layers
        self._model = load_model(path, "chat model", params, should_stop=should_stop)
        self._context: Any = None
        try:
            self._open_context(path, options)
            use_loras(self._model, self._context, options.loras)
        except BaseException:
            self._free()
            raise
        self._num_threads = options.num_threads
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        # How many kinds of tokens there are; their ids begin at 0.
        self.num_vocab: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = _Batch()
        self.vision = (
            Vision(mmproj, self._model, options, MAX_BATCH_TOKENS, cores) if mmproj else None
        )
        texts = [self._token_text(token) for token in range(self.num_vocab)]
        # A text of n bytes has at least n / max_token_bytes tokens.
        self.max_token_bytes = max(len(text.encode()) for text in texts)
        # The tokens that are no text, by how they are written.
        self.control_tokens = {
            text: token
            for token, text in enumerate(texts)
            if llama_cpp.llama_vocab_is_control(self._vocab, token)
        }
        self._end_tokens = {
            token
            for token in range(self.num_vocab)
            if llama_cpp.llama_vocab_is_eog(self._vocab, token)
        }
        self._pieces: dict[tuple[int, bool], bytes] = {}
        self._candidates = Candidates(self._context, self._vocab)

    def _open_context(self, path: Path, options: ModelOptions) -> None:
        """Set the context and the two sizes."""
        self.num_trained_tokens = trained = llama_cpp.llama_model_n_ctx_train(self._model)
        in_ram = options.num_gpu_layers == 0 or not llama_cpp.llama_supports_gpu_offload()
        held = conversations_of(path)
        num_values = held.values_per_token or self._num_values()
        state_bytes = options.num_sequences * held.values_per_sequence * STATE_BYTES
        num_tokens = fitted_context(options, trained, num_values, in_ram)
        while True:
            self.num_context_tokens = num_tokens
            self.num_pool_tokens = POOL_CONTEXTS * num_tokens
            self.memory_bytes = int(
                llama_cpp.llama_model_size(self._model)
                + self.num_pool_tokens * num_values * KV_BYTES[options.kv_type]
                + state_bytes
            )
            freq_scale = fitted_freq_scale(options.rope, trained, num_tokens)
            params = _context_params(self.num_pool_tokens, options, freq_scale)
            self._context = llama_cpp.llama_init_from_model(self._model, params)
            if self._context:
                return
            if options.context_tokens or num_tokens <= SMALL_CONTEXT_TOKENS:
                raise _no_context(path, options)
            num_tokens = max(num_tokens // 2, SMALL_CONTEXT_TOKENS)

    def _num_values(self) -> int:
        """Numbers in the memory for each token, where the file's header tells too little: in every layer
        those of the first one, as the usual sizes have it."""
        num_heads = llama_cpp.llama_model_n_head_kv(self._model)
        all_heads = max(llama_cpp.llama_model_n_head(self._model), 1)
        size = llama_cpp.llama_model_n_embd(self._model) // all_heads
        return int(llama_cpp.llama_model_n_layer(self._model) * num_heads * 2 * size)

    def use_threads(self, num_threads: int) -> None:
        """Decode with this many threads from now on; asking for the same again costs nothing."""
        if num_threads != self._num_threads:
            llama_cpp.llama_set_n_threads(self._context, num_threads, num_threads)
            self._num_threads = num_threads

    def close(self) -> None:
        """Free the memory; the model is not to be used any more."""
        self._candidates.close()
        if self.vision:
            self.vision.close()
        self._free()

    def _free(self) -> None:
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

    def tokenize(self, text: str, with_bos: bool = True, with_control: bool = True) -> list[int]:
        """The tokens of a prompt or a part of one, with a BOS if the model wants one, the names of control
        tokens read as these or as text."""
        bos = self.bos_text
        add_bos = with_bos and not (bos and text.startswith(bos))
        tokens: list[int] = self.token_ids(text, add_bos, with_control).tolist()
        return tokens

    def token_ids(self, text: str, add_special: bool, parse_special: bool) -> NDArray[np.int32]:
        """The tokens of a text, int32, (tokens,): with those that the model wants around it, and with the
        names of special tokens read as these. Any thread may call it, as everything down to `piece`."""
        data = text.encode()
        # Hardly ever more tokens than bytes, and some around the text; else it says how many.
        count = -len(data) - 8
        while count < 0:
            buffer = np.empty(-count, np.int32)
            pointer = buffer.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token))
            count = llama_cpp.llama_tokenize(
                self._vocab, data, len(data), pointer, len(buffer), add_special, parse_special
            )
        tokens: NDArray[np.int32] = buffer[:count].copy()
        return tokens

    @property
    def bos(self) -> int | None:
        """The beginning-of-sequence token."""
        return _present(llama_cpp.llama_vocab_bos(self._vocab))

    @property
    def infill_tokens(self) -> InfillTokens | None:
        """The tokens for filling in the middle, of a model that was trained for it."""
        prefix = _present(llama_cpp.llama_vocab_fim_pre(self._vocab))
        suffix = _present(llama_cpp.llama_vocab_fim_suf(self._vocab))
        middle = _present(llama_cpp.llama_vocab_fim_mid(self._vocab))
        if prefix is None or suffix is None or middle is None:
            return None
        return InfillTokens(prefix, suffix, middle)

    def piece(self, token: int, with_special: bool = False) -> bytes:
        """The bytes a token stands for: often a part of a UTF-8 character; none for control tokens, unless
        their names are asked for."""
        known = self._pieces.get((token, with_special))
        if known is None:
            known = self._pieces[token, with_special] = self._read_piece(token, with_special)
        return known

    def _read_piece(self, token: int, with_special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_token_to_piece(
                self._vocab, token, buffer, size, 0, with_special
            )
            if length >= 0:
                return buffer.raw[:length]
            size = -length  # what it takes

    def is_end(self, token: int) -> bool:
        """True for the tokens with which the model ends its answer."""
        return token in self._end_tokens

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
        return is_done(llama_cpp.llama_decode(self._context, self._batch.of(slices)))

    def decode_image(
        self, seq_id: int, position: int, embedded: Embedded, begin: int, count: int
    ) -> bool:
        """The same for some tokens of an image that begins at this position; leaves no logits."""
        return is_done(decode_embedded(self._context, seq_id, position, embedded, begin, count))

    def sampler(
        self,
        sampling: Sampling,
        constraint: Constraint | None = None,
        prompt: Sequence[int] = (),
    ) -> Sampler:
        """A sampler for one answer to this prompt. Raises InvalidRequest."""
        return Sampler(self._candidates, sampling, constraint, prompt)

    def logits(self, logits_index: int) -> NDArray[np.float32]:
        """What the last batch left at this index, for reading until the next: float32, (vocabulary,)."""
        return self._candidates.logits(logits_index)

    def spelling(self, token: int) -> Spelling:
        """The token as text and bytes."""
        if piece := self.piece(token):
            return Spelling(piece.decode("utf-8", "replace"), piece)
        return Spelling(self._token_text(token), None)

    def constraint_tokenizer(self) -> Any:
        """llguidance's view of the tokens; reads only what never changes, so any thread may call it."""
        pointer = ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
        return tokenizer_of(
            [self._marked_piece(token) for token in range(self.num_vocab)],
            list(self._end_tokens),
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


def _present(token: int) -> int | None:
    return None if token == llama_cpp.LLAMA_TOKEN_NULL else int(token)


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


def _no_context(path: Path, options: ModelOptions) -> Unavailable:
    return Unavailable(
        f"The chat model {path.name} has no place for conversations "
        f"(CHAT_CONTEXT_TOKENS={options.context_tokens}, CHAT_KV_TYPE={options.kv_type}): {reason()}.",
        "Lower CHAT_CONTEXT_TOKENS or CHAT_GPU_LAYERS, or set CHAT_KV_TYPE=f16.",
    )
