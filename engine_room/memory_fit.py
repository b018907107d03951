"""Whether a model fits the memory of this machine, and which of the offered ones is the best that does.

By estimates from the catalogue; what a loaded model takes, it tells itself.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from engine_room.chat.memory import Memory
from engine_room.chat.options import KV_BYTES, POOL_CONTEXTS
from engine_room.offers import Offer
from engine_room.settings import Settings

log = logging.getLogger(__name__)
# A conversation that is worth having; with less, a model is chosen smaller rather than its context.
USUAL_CONTEXT_TOKENS = 8192
# For what computes beside the weights (activations, voices, transcription) and for other programs.
RESERVE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Need:
    """The memory that a model takes: its file, its conversations, and a reserve."""

    file_bytes: int
    context_tokens: int
    context_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.file_bytes + self.context_bytes + RESERVE_BYTES

    def said(self, free: "Free") -> str:
        """The sum in words, with where it would be."""
        on_gpu = self.total_bytes <= free.gpu_bytes
        place = (
            f"{_gb(free.gpu_bytes)} free on the GPU" if on_gpu else f"{_gb(free.ram_bytes)} free"
        )
        context = (
            f" + {_gb(self.context_bytes)} for {POOL_CONTEXTS} conversations of "
            f"{self.context_tokens:,} tokens"
            if self.context_bytes
            else ""
        )
        return (
            f"{_gb(self.file_bytes)} for the file{context} + {_gb(RESERVE_BYTES)} reserve = "
            f"{_gb(self.total_bytes)}, of {place}"
        )


@dataclass(frozen=True, slots=True)
class Free:
    """The memory that can still be had, in bytes: the machine's own, and that of its GPUs."""

    ram_bytes: int
    gpu_bytes: int = 0

    def holds(self, need: Need) -> bool:
        """Whether a model fits, on the GPU or beside it."""
        return need.total_bytes <= max(self.ram_bytes, self.gpu_bytes)


def free_bytes() -> int:
    """The memory that programs can still get, in bytes."""
    return int(psutil.virtual_memory().available)


def free_memory(settings: Settings) -> Free:
    """What is free now; of GPUs only if the settings leave the chat model to them."""
    ram_bytes = free_bytes()
    return Free(ram_bytes, free_gpu_bytes() if settings.chat_gpu_layers else 0)


def free_now() -> Memory:
    """What is free now. The first time it loads llama.cpp, which takes a moment."""
    return Memory(free_bytes(), free_gpu_bytes())


def free_gpu_bytes() -> int:
    """What is free on all GPUs that llama.cpp computes on; 0 without one."""
    try:
        from engine_room import llama_devices  # late: it loads llama.cpp
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        log.debug("llama.cpp tells nothing of GPUs: %s", error)
        return 0
    return llama_devices.free_gpu_bytes()


def need_of(offer: Offer, settings: Settings, file_bytes: int = 0) -> Need:
    """What an offered model would take, with the context of the settings; `file_bytes` if it is known."""
    context = settings.chat_context_tokens or min(
        offer.context or USUAL_CONTEXT_TOKENS, USUAL_CONTEXT_TOKENS
    )
    # The catalogue's figure is for 16 bits.
    per_token = offer.kv_bytes * KV_BYTES[settings.chat_kv_type] / KV_BYTES["f16"]
    is_chat = offer.kind == "chat"
    return Need(
        file_bytes or offer.size_bytes,
        context if is_chat else 0,
        int(POOL_CONTEXTS * context * per_token) if is_chat else 0,
    )


def best_that_fits(offers: Iterable[Offer], settings: Settings, free: Free) -> Offer | None:
    """The best chat model for everything that fits the GPU's memory whole, for there it is many times as
    fast; without one, this machine's. They are listed from small to large."""
    candidates = [
        (need_of(offer, settings).total_bytes, offer)
        for offer in offers
        if offer.auto and offer.kind == "chat"
    ]
    for num_bytes in (free.gpu_bytes, free.ram_bytes):
        fitting = [offer for needed, offer in candidates if needed <= num_bytes]
        if fitting:
            return fitting[-1]
    return None


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
