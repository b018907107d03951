"""A GGUF written anew with weights of another type, by llama.cpp's own quantiser."""

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from gguf import GGUFReader, ReaderTensor

from engine_room.errors import CannotStore
from engine_room.gguf import parts_of
from engine_room.llama_library import forget_reasons, reason

# The types whose matrices llama.cpp lays out anew for a CPU when it loads them ("repacking"), with the
# bits that a weight takes on average: scales, and the larger types of some layers, counted.
BITS = {"Q8_0": 8.5, "Q4_K_M": 5.2, "IQ4_NL": 4.9, "Q4_0": 4.9}
_FILE_TYPES = {
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "IQ4_NL": llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_NL,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}
LOOK_S = 0.2  # how often it is told how far it is; Ctrl-C is heard then too


def estimated_bytes(source: Path, type_: str) -> int:
    """How large the file will be, about. Raises ValueError where the source is no whole GGUF."""
    num_weights = sum(int(tensor.n_elements) for tensor in _tensors(source))
    return int(num_weights * BITS[type_] / 8)


def requantise(
    source: Path,
    target: Path,
    type_: str,
    num_threads: int,
    report: Callable[[int], None] = lambda _num_bytes: None,
) -> None:
    """Write the weights of `source` (of a split model the first part) as `target`, one file; `report` is told
    how many bytes are there. What is already quantised is rounded once more, so it loses. Raises CannotStore
    when it cannot be done; the target may then be there in part."""
    params, kept = _params(source, type_, num_threads)
    failures: list[str] = []
    is_over = threading.Event()

    def work() -> None:
        forget_reasons()  # each thread has its own
        names = str(source).encode(), str(target).encode()
        if llama_cpp.llama_model_quantize(*names, ctypes.byref(params)):
            failures.append(reason())
        is_over.set()

    # On a thread of its own: a call of the library cannot be interrupted, this function can.
    threading.Thread(target=work, name="requantise", daemon=True).start()
    while not is_over.wait(LOOK_S):
        report(target.stat().st_size if target.exists() else 0)
    del kept
    if failures:
        raise CannotStore(f"{source.name} could not be written as {type_}: {failures[0]}.")


def _params(source: Path, type_: str, num_threads: int) -> tuple[Any, Any]:
    """The parameters, and what they point to."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = _FILE_TYPES[type_]
    params.nthread = num_threads
    params.allow_requantize = True
    # With any importance, if the same everywhere, scales are fitted to all weights of a block rather than to
    # its largest one. The bundled model as Q4_0: perplexity 28.2 instead of 29.4.
    tensors = [tensor for tensor in _tensors(source) if len(tensor.shape) > 1]
    ones = np.ones(max((int(tensor.shape[0]) for tensor in tensors), default=1), np.float32)
    pointer = ones.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    entries = (llama_cpp.llama_model_imatrix_data * (len(tensors) + 1))()  # the last one ends it
    for entry, tensor in zip(entries, tensors, strict=False):
        entry.name = tensor.name.encode()
        entry.data = pointer
        entry.size = int(tensor.shape[0])
    params.imatrix = ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_model_imatrix_data))
    return params, (ones, entries)


def _tensors(source: Path) -> list[ReaderTensor]:
    return [tensor for part in parts_of(source) for tensor in GGUFReader(part).tensors]
