"""The memory that a chat model will take, from its file's header, before it is loaded.

What a header says is named as in ggml's `gguf.md`, and counted as llama.cpp does (`llama-hparams.cpp`).
"""

from dataclasses import astuple, dataclass, replace
from pathlib import Path

from engine_room.chat.options import KV_BYTES, POOL_CONTEXTS, ModelOptions, fitted_context
from engine_room.errors import Unavailable
from engine_room.gguf import Value, metadata_of, parts_of

STATE_BYTES = 4  # of a number of a recurrent layer's state, which is always float32


@dataclass(frozen=True, slots=True)
class Memory:
    """So much of the machine's own memory, and so much of that of its GPUs."""

    ram_bytes: int = 0
    gpu_bytes: int = 0

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.ram_bytes + other.ram_bytes, self.gpu_bytes + other.gpu_bytes)

    def __sub__(self, other: "Memory") -> "Memory":
        return Memory(self.ram_bytes - other.ram_bytes, self.gpu_bytes - other.gpu_bytes)

    def holds(self, other: "Memory") -> bool:
        """Whether the other fits in this, each part in its own."""
        return other.ram_bytes <= self.ram_bytes and other.gpu_bytes <= self.gpu_bytes

    def is_short_of(self, wanted: "Memory", taken: "Memory", part: "Memory") -> bool:
        """Whether more is taken than there is where some is wanted, and a part of it there."""
        kinds = zip(*map(astuple, (self, wanted, taken, part)), strict=True)
        return any(want and has and total > there for there, want, total, has in kinds)

    def __str__(self) -> str:
        on_gpu = f" and {self.gpu_bytes / 1e9:.1f} GB on the GPU" if self.gpu_bytes else ""
        return f"{self.ram_bytes / 1e9:.1f} GB of memory{on_gpu}"


def gpu_share(path: Path, options: ModelOptions, free: Memory) -> float:
    """How much of a model, from 0 to 1, and as much of its conversations, goes to the GPU: as many of its
    layers as the options say, of which llama.cpp counts the output as one."""
    if not free.gpu_bytes:
        return 0.0
    if options.num_gpu_layers < 0:
        return 1.0
    num_layers = _Header(metadata_of(path)).number("block_count") + 1
    return min(options.num_gpu_layers / num_layers, 1.0)


def shared(num_bytes: int, on_gpu: float) -> Memory:
    """Bytes of which this share is on the GPU."""
    gpu_bytes = int(num_bytes * on_gpu)
    return Memory(num_bytes - gpu_bytes, gpu_bytes)


def with_room(options: ModelOptions, path: Path, free: Memory) -> ModelOptions:
    """The options, with the room for conversations that is left beside a model's weights, where they go."""
    on_gpu = gpu_share(path, options, free)
    left = free - shared(file_bytes(path), on_gpu)
    places = ((left.ram_bytes, 1 - on_gpu), (left.gpu_bytes, on_gpu))
    return replace(options, free_bytes=min(room / share for room, share in places if share))


@dataclass(frozen=True, slots=True)
class Conversations:
    """What a model's memory holds: for each token its keys and values, for each sequence the state of the
    layers that are recurrent. Numbers, in all layers together."""

    values_per_token: int = 0
    values_per_sequence: int = 0


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
    header = _Header(metadata_of(path))
    num_trained_tokens, held = header.number("context_length"), conversations_of(path)
    if not num_trained_tokens or held == Conversations():
        return weights_bytes
    try:
        num_tokens = fitted_context(options, num_trained_tokens, held.values_per_token)
    except Unavailable:
        return weights_bytes
    per_token = held.values_per_token * KV_BYTES[options.kv_type]
    state_bytes = options.num_sequences * held.values_per_sequence * STATE_BYTES
    return weights_bytes + int(POOL_CONTEXTS * num_tokens * per_token) + state_bytes


def conversations_of(path: Path) -> Conversations:
    """What the model of a file holds; nothing where its header says too little."""
    header = _Header(metadata_of(path))
    num_kv_heads = header.numbers("attention.head_count_kv") or header.numbers(
        "attention.head_count"
    )
    holding = [
        heads * header.head_size(layer) if header.has_attention(layer) else 0
        for layer, heads in enumerate(num_kv_heads)
    ]
    num_recurrent = holding.count(0) or len(holding)  # or each layer is both
    # Some layers look into what an earlier one holds.
    num_own = len(holding) - header.number("attention.shared_kv_layers")
    return Conversations(sum(holding[:num_own]), num_recurrent * header.state_size)


class _Header:
    """A header's numbers for its architecture, by their names without that."""

    def __init__(self, found: dict[str, Value]) -> None:
        self._found = found
        self._architecture = found.get("general.architecture")

    def number(self, name: str) -> int:
        """A number; 0 where there is none."""
        value = self._found.get(f"{self._architecture}.{name}")
        return value if isinstance(value, int) else 0

    def numbers(self, name: str) -> list[int]:
        """A number for each layer, which may be the same for all; none where it is not told."""
        value = self._found.get(f"{self._architecture}.{name}")
        if isinstance(value, tuple):
            return [int(each) for each in value]
        # No file has a thousand layers; one that says so makes no list of billions.
        return [value] * min(self.number("block_count"), 1000) if isinstance(value, int) else []

    def has_attention(self, layer: int) -> bool:
        """Whether a layer looks back at all tokens, where only some do."""
        interval = self.number("full_attention_interval")
        return not interval or (layer + 1) % interval == 0

    def head_size(self, layer: int) -> int:
        """Numbers in a key and a value of a layer's head. One that looks through a sliding window holds the
        whole context as others do here, but may have heads of another size."""
        pattern = self._found.get(f"{self._architecture}.attention.sliding_window_pattern")
        slides = isinstance(pattern, tuple) and layer < len(pattern) and pattern[layer]
        num_heads = self.numbers("attention.head_count")
        usual = self.number("embedding_length") // max([*num_heads, 1])
        names = [f"attention.{kind}_length" for kind in ("key", "value")]
        return sum(
            (self.number(f"{name}_swa") if slides else 0) or self.number(name) or usual
            for name in names
        )

    @property
    def state_size(self) -> int:
        """Numbers in the state of a recurrent layer: of RWKV, of LFM2's convolutions, or of Mamba."""
        width = self.number("embedding_length")
        if head_size := self.number("wkv.head_size"):
            return width * (self.number("token_shift_count") + head_size)
        if length := self.number("shortconv.l_cache"):
            return width * (length - 1)
        inner, size = self.number("ssm.inner_size"), self.number("ssm.state_size")
        kernel = self.number("ssm.conv_kernel")
        return max(kernel - 1, 0) * (inner + 2 * self.number("ssm.group_count") * size) + (
            inner * size
        )
