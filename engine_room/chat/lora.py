"""LoRA adapters on a chat model, by llama_cpp."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp

from engine_room.chat.options import Lora
from engine_room.errors import Unavailable
from engine_room.llama_library import reason


def use_loras(model: Any, context: Any, loras: Sequence[Lora]) -> None:
    """Let adapters count in a context; they are freed with the model. Raises Unavailable."""
    adapters = []
    for lora in loras:
        if not lora.path.is_file():
            raise _no_lora(lora.path, "there is no such file")
        adapter = llama_cpp.llama_adapter_lora_init(model, str(lora.path).encode())
        if not adapter:
            raise _no_lora(lora.path, reason())
        adapters.append(adapter)
    if adapters:
        pointers = (llama_cpp.llama_adapter_lora_p_ctypes * len(adapters))(*adapters)
        scales = (ctypes.c_float * len(adapters))(*(lora.scale for lora in loras))
        llama_cpp.llama_set_adapters_lora(context, pointers, len(adapters), scales)


def _no_lora(path: Path, why: str) -> Unavailable:
    return Unavailable(
        f"The LoRA {path} cannot be used: {why}.",
        "Put an adapter (GGUF) made for this chat model there, or take it out of CHAT_LORA.",
    )
