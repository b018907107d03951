"""The memory that a chat model will take, from its file's header, before it is loaded."""

from pathlib import Path

from engine_room.chat.options import KV_BYTES, POOL_CONTEXTS, ModelOptions, fitted_context
from engine_room.errors import Unavailable
from engine_room.gguf import Value, metadata_of, parts_of


def file_bytes(path: Path) -> int:
    """What a model's file takes, all parts of a split one; 0 when it is gone."""
    total = 0
    for part in parts_of(path):
        try:
            total += part.stat().st_size
        except OSError:  # removed just now: loading it will say so
            continue
    return total


def needed_bytes(path: Path, options: ModelOptions) -> int:
    """The weights and the memory of conversations. Where the header says too little, or too long a context
    is asked for, the weights alone: loading it will say what is wrong."""
    weights_bytes = file_bytes(path)
    found = metadata_of(path)
    num_trained_tokens = _number(found, "context_length")
    num_values = _num_values(found)
    if not (num_trained_tokens and num_values):
        return weights_bytes
    try:
        num_tokens = fitted_context(options, num_trained_tokens, num_values)
    except Unavailable:
        return weights_bytes
    kv_bytes = POOL_CONTEXTS * num_tokens * num_values * KV_BYTES[options.kv_type]
    return weights_bytes + int(kv_bytes)


def _num_values(found: dict[str, Value]) -> int:
    """Numbers in the memory for each token: keys and values, in every layer."""
    num_heads = _number(found, "attention.head_count")
    size = _number(found, "embedding_length") // max(num_heads, 1)
    # Where layers differ, the header has a list, which is not read: then this is too much.
    num_kv_heads = _number(found, "attention.head_count_kv") or num_heads
    sizes = (_number(found, f"attention.{kind}_length") or size for kind in ("key", "value"))
    return _number(found, "block_count") * num_kv_heads * sum(sizes)


def _number(found: dict[str, Value], name: str) -> int:
    value = found.get(f"{found.get('general.architecture')}.{name}")
    return value if isinstance(value, int) else 0
