"""How a chat model is loaded: from the settings, fitted to the model and to the memory there is.

Knows the sizes of llama.cpp's memory of conversations (KV cache), not the library.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine_room.errors import Unavailable
from engine_room.model_settings import Loading
from engine_room.settings import KvType, Settings, in_project

# Bytes per element: a block of 32 has a scale of two bytes besides.
KV_BYTES: dict[KvType, float] = {"f16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
POOL_CONTEXTS = 2  # the memory holds this many conversations of full length
# Of the free RAM, what that memory may take where no setting says how long a context is wanted: it is
# taken whole at the start (three seconds for a gigabyte), though it fills only with use.
FREE_MEMORY_SHARE = 0.125
# Where not even this many fit, loading goes wrong honestly.
MIN_CONTEXT_TOKENS = 2048
MAX_CONTEXT_TOKENS = 100_000_000


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter file, and how strongly it counts (1: as it was trained)."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions are turned into rotations, where that is not to be as the file says."""

    scaling: Literal["model", "none", "linear", "yarn"] = "model"
    freq_base: float = 0  # 0: the model's
    freq_scale: float = 0  # 0: the model's; 0.25 reaches four times as far


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What a LlamaModel is loaded with; the defaults suit any model."""

    num_sequences: int = 1
    num_threads: int = 1
    context_tokens: int = 0  # 0: as many as the model was trained on, and as fit
    free_bytes: float = math.inf  # that conversations may take once the weights are there
    num_gpu_layers: int = -1  # negative: all
    kv_type: KvType = "f16"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    rope: Rope = Rope()
    loras: tuple[Lora, ...] = ()


def model_options(
    settings: Settings,
    num_sequences: int,
    num_threads: int,
    is_default: bool,
    loading: Loading,
) -> ModelOptions:
    """The options by the settings, and what is set for the model; LoRA and RoPE, which suit one model, for
    the default one only."""
    context_tokens, gpu_layers = loading.context_tokens, loading.gpu_layers
    rope = Rope(
        settings.chat_rope_scaling,
        settings.chat_rope_freq_base,
        settings.chat_rope_freq_scale,
    )
    return ModelOptions(
        num_sequences=num_sequences,
        num_threads=num_threads,
        context_tokens=(settings.chat_context_tokens if context_tokens is None else context_tokens),
        num_gpu_layers=settings.chat_gpu_layers if gpu_layers is None else gpu_layers,
        kv_type=loading.kv_type or settings.chat_kv_type,
        flash_attention=settings.chat_flash_attention,
        rope=rope if is_default else Rope(),
        loras=tuple(map(_lora, settings.chat_lora)) if is_default else (),
    )


def _lora(text: str) -> Lora:
    """The adapter of `path` or `path=scale`."""
    path, _, scale = text.rpartition("=")
    try:
        return Lora(in_project(Path(path)), float(scale)) if path else Lora(in_project(Path(text)))
    except ValueError:  # a path with a "=" in it
        return Lora(in_project(Path(text)))


def fitted_context(
    options: ModelOptions, trained_tokens: int, num_values: int, in_ram: bool = True
) -> int:
    """How many tokens a conversation may have. `num_values` is how many numbers the model's memory holds
    for each token. Raises Unavailable when a context asked for does not fit the free RAM; when it is not
    to lie there, the GPU's driver will tell."""
    reach = _reach(options, trained_tokens)
    bytes_per_token = POOL_CONTEXTS * KV_BYTES[options.kv_type] * max(num_values, 1)
    if options.context_tokens == 0:
        # In steps of 256, which are llama.cpp's own.
        fitting = min(FREE_MEMORY_SHARE * options.free_bytes / bytes_per_token, MAX_CONTEXT_TOKENS)
        return min(reach, max(int(fitting) // 256 * 256, MIN_CONTEXT_TOKENS))
    num_tokens = min(options.context_tokens, reach)
    needed_bytes = num_tokens * bytes_per_token
    if in_ram and needed_bytes > options.free_bytes:
        raise Unavailable(
            f"{POOL_CONTEXTS} conversations of {num_tokens:,} tokens take {needed_bytes / 1e9:.1f} GB "
            f"of memory; {max(options.free_bytes, 0) / 1e9:.1f} GB are free.",
            "Lower the setting CHAT_CONTEXT_TOKENS, or set CHAT_KV_TYPE=q8_0; where "
            "models/settings.toml sets context_tokens or kv_type for this model, change them there.",
        )
    return num_tokens


def _reach(options: ModelOptions, trained_tokens: int) -> int:
    """How far the model understands positions: what it was trained on, or what scaling makes of that."""
    rope = options.rope
    if rope.scaling == "none":
        return trained_tokens
    if rope.freq_scale:
        return min(int(trained_tokens / rope.freq_scale), MAX_CONTEXT_TOKENS)
    if rope.scaling != "model" or rope.freq_base:
        return options.context_tokens or trained_tokens
    return trained_tokens


def fitted_freq_scale(rope: Rope, trained_tokens: int, num_tokens: int) -> float:
    """The frequency scale by which a scaling reaches this far; 0 where it is the model's own."""
    if rope.freq_scale or rope.scaling in ("model", "none"):
        return rope.freq_scale
    return min(1.0, trained_tokens / num_tokens)
