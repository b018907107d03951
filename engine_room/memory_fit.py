"""Whether a model fits the memory of this machine, and which of the offered ones is the best that does.

By estimates from the catalogue; what a loaded model takes, it tells itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from engine_room.chat.options import KV_BYTES, POOL_CONTEXTS
from engine_room.offers import Offer
from engine_room.settings import Settings

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

    def said(self, free_bytes: int) -> str:
        """The sum in words."""
        context = (
            f" + {_gb(self.context_bytes)} for {POOL_CONTEXTS} conversations of "
            f"{self.context_tokens:,} tokens"
            if self.context_bytes
            else ""
        )
        return (
            f"{_gb(self.file_bytes)} for the file{context} + {_gb(RESERVE_BYTES)} reserve = "
            f"{_gb(self.total_bytes)}, of {_gb(free_bytes)} free"
        )


def free_bytes() -> int:
    """The memory that programs can still get, in bytes."""
    return int(psutil.virtual_memory().available)


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


def best_that_fits(offers: Iterable[Offer], settings: Settings, free: int) -> Offer | None:
    """The best chat model for everything that fits this much memory: they are listed from small to large."""
    fitting = [
        offer
        for offer in offers
        if offer.auto and offer.kind == "chat" and need_of(offer, settings).total_bytes <= free
    ]
    return fitting[-1] if fitting else None


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
