"""llama.cpp as every engine on it needs it: started once, its log in ours, its errors at hand.

Importing this loads the library. It knows no model.
"""

import ctypes
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp
from numpy.typing import NDArray

from engine_room.errors import LoadingStopped, Unavailable

log = logging.getLogger(__name__)
NO_ROOM = 1  # what llama_decode returns then
GGML_LOG_LEVEL_ERROR = 4  # ggml.h; the bindings do not carry it


class _RecentErrors(threading.local):
    """The last errors that llama.cpp logged on a thread: each engine has its own."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=3)


_recent_errors = _RecentErrors()


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _log(level: int, text: bytes, _user_data: Any) -> None:
    """llama.cpp is talkative: all of it is for our debug log; errors are kept for `Unavailable` too."""
    line = text.decode("utf-8", "replace").strip()
    if level == GGML_LOG_LEVEL_ERROR:
        _recent_errors.lines.append(line)
    if line.strip("."):
        log.debug("%s", line)


llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))
mtmd_cpp.mtmd_helper_log_set(_log, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()


def load_model(
    path: Path,
    what: str,
    params: Any = None,
    needs_tokenizer: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Any:
    """A llama_model from a GGUF; `what` it is ("chat model") is for the error, `params` the library's
    own if there are none; `should_stop` is asked while it loads. Raises Unavailable."""
    forget_reasons()
    params = params or llama_cpp.llama_model_default_params()
    was_stopped = False

    @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
    def goes_on(_share: float, _user_data: Any) -> bool:
        nonlocal was_stopped
        was_stopped = was_stopped or should_stop()
        return not was_stopped

    params.progress_callback = goes_on
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if was_stopped:
        if model:
            llama_cpp.llama_model_free(model)
        raise LoadingStopped(f"Loading the {what} {path.name} was stopped: nobody waits for it.")
    if not model:
        raise not_loaded(path, what)
    vocab = llama_cpp.llama_model_get_vocab(model)
    has_none = llama_cpp.llama_vocab_type(vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE
    if needs_tokenizer and has_none:
        llama_cpp.llama_model_free(model)  # to tokenize with it would abort the process
        raise Unavailable(f"The {what} {path.name} has no tokenizer.", f"Remove {path.name}.")
    return model


def batch_of(
    seq_ids: NDArray[np.int32],
    positions: NDArray[np.int32],
    wants_output: NDArray[np.int8],
    tokens: NDArray[np.int32] | None = None,
    embeddings: NDArray[np.float32] | None = None,
) -> Any:
    """A llama_batch over arrays, each (tokens,), that it keeps alive: of tokens, or of embeddings, (tokens,
    channels), whose positions may be several each: (sections, tokens)."""
    ones = np.ones_like(seq_ids)
    pointers = seq_ids.ctypes.data + 4 * np.arange(len(seq_ids), dtype=np.uint64)
    kinds: dict[str, Any] = {name: kind for name, kind, *_ in llama_cpp.llama_batch._fields_}
    arrays = {
        "token": tokens,
        "embd": embeddings,
        "pos": positions,
        "n_seq_id": ones,
        "seq_id": pointers,
        "logits": wants_output,
    }
    fields = {
        name: array.ctypes.data_as(kinds[name])
        for name, array in arrays.items()
        if array is not None
    }
    batch = llama_cpp.llama_batch(n_tokens=len(seq_ids), **fields)
    batch.arrays = (seq_ids, arrays)
    return batch


def is_done(code: int) -> bool:
    """Whether llama_decode did it; False when the memory has no room. Raises RuntimeError when the model
    cannot compute."""
    if code not in (0, NO_ROOM):
        raise RuntimeError(f"llama_decode returned {code}")
    return code == 0


def not_loaded(path: Path, what: str) -> Unavailable:
    """The error for a model that this thread could not load, with llama.cpp's reason."""
    return Unavailable(
        f"The {what} {path.name} cannot be loaded: {reason()}.",
        f"Put a whole GGUF file that this llama.cpp knows in its place, or remove {path.name}.",
    )


def forget_reasons() -> None:
    """What this thread tries now has reasons of its own."""
    _recent_errors.lines.clear()


def reason() -> str:
    """What llama.cpp said last on this thread, of the errors since the last model was loaded."""
    return "; ".join(_recent_errors.lines) or "llama.cpp gives no reason"
