"""The devices that llama.cpp could compute on, and their memory. Importing this loads the library."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

import llama_cpp
from llama_cpp import _ggml
from llama_cpp._ctypes_extensions import load_shared_library

import engine_room.llama_library  # noqa: F401 what llama.cpp says of the devices it finds goes to our log

# Instructions by which a CPU multiplies whole blocks of small integers: of PCs since 2013, of ARM since 2018.
BLOCK_INSTRUCTIONS = ("AVX2 = 1", "DOTPROD = 1")
GPU = 1  # ggml-backend.h: a GPU with memory of its own, or Apple's; 0 is the CPU, 2 a GPU that shares the RAM


@dataclass(frozen=True, slots=True)
class Device:
    """A device as ggml knows it; `type` is ggml's number."""

    name: str
    type: int
    free_bytes: int
    total_bytes: int


def devices() -> Iterator[Device]:
    """All of them, the CPU too."""
    ggml = _ggml.libggml
    base = load_shared_library("ggml-base", _ggml.libggml_base_path)
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    base.ggml_backend_dev_name.restype = ctypes.c_char_p
    base.ggml_backend_dev_name.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_memory.restype = None
    base.ggml_backend_dev_memory.argtypes = [
        ctypes.c_void_p,
        *[ctypes.POINTER(ctypes.c_size_t)] * 2,
    ]
    for number in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(number)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = base.ggml_backend_dev_name(device).decode()
        yield Device(name, base.ggml_backend_dev_type(device), free.value, total.value)


def free_gpu_bytes() -> int:
    """What is free on all GPUs together, over which llama.cpp spreads a model; 0 without one."""
    return sum(device.free_bytes for device in devices() if device.type == GPU)


def multiplies_blocks() -> bool:
    """Whether the CPU is one on which the type of the weights makes models much faster or slower."""
    told = llama_cpp.llama_print_system_info().decode()
    return any(each in told for each in BLOCK_INSTRUCTIONS)
