"""What a GGUF file is for, read from its header; loads nothing, and takes no file's word for its sizes.

The layout is that of ggml's `gguf.md`: magic, version, counts, then key-value pairs, little-endian.
"""

import re
import struct
from functools import lru_cache
from pathlib import Path
from typing import Literal

Kind = Literal["chat", "embedding", "reranking", "projector"]
Number = int | float | bool
Value = str | Number | tuple[Number, ...]
# The keys asked for come before the tokenizer's, whose lists make the rest of a header large.
HEADER_BYTES = 1 << 20
FIRST_LARGE_KEYS = "tokenizer."
STRING, ARRAY = 8, 9
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
# What may follow a model's name in its file's name: the quantisation, or a split file's number.
QUANT_SUFFIX = re.compile(r"[.\-_](?:(?:ud-)?i?q\d|b?f16|fp16|f32|fp32|mxfp4|00001-of-)")
QUANTISATION = re.compile(rf"{QUANT_SUFFIX.pattern}\w*$", re.IGNORECASE)
# llama.cpp's numbers of ways to make one vector of a text's many: mean, first token, last token.
POOLINGS = (1, 2, 3)
RANK_POOLING = 4
# Architectures that only read: often converted without saying how their vectors are pooled.
ENCODERS = set(
    "bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert "
    "gemma-embedding t5encoder llama-embed".split()
)
FIRST_PART = "-00001-of-"
LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}$")
# These see what comes later as encoders do, but they write.
DIFFUSERS = {"dream", "llada", "llada-moe", "rnd1"}


def kind_of(path: Path) -> Kind:
    """What the model of this file is for; "chat" when its header says nothing that we understand, for
    then loading it will say what is wrong."""
    found = metadata_of(path)
    architecture = found.get("general.architecture")
    if architecture == "clip":
        return "projector"
    pooling = found.get(f"{architecture}.pooling_type")
    is_causal = found.get(f"{architecture}.attention.causal", True) or architecture in DIFFUSERS
    if pooling == RANK_POOLING:
        return "reranking"
    if pooling in POOLINGS or architecture in ENCODERS or not is_causal:
        return "embedding"
    return "chat"


def metadata_of(path: Path) -> dict[str, Value]:
    """The values of a file's header; none when it cannot be read or understood. Remembered until the file
    changes, and not to be written to; any thread may ask."""
    try:
        now = path.stat()
        return _metadata(path, now.st_size, now.st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=1024)
def _metadata(path: Path, _size_bytes: int, _modified_ns: int) -> dict[str, Value]:
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    try:
        return metadata(header)
    except ValueError:
        return {}


def parts_of(path: Path) -> tuple[Path, ...]:
    """All files of a split model that lie there, the first one first; of another its only one."""
    stem, split, rest = path.stem.partition(FIRST_PART)
    if not split:
        return (path,)
    others = [
        other
        for other in path.parent.glob("*.gguf")
        if LATER_PART.search(other.stem)
        and other.stem.startswith(f"{stem}-")
        and other.stem.endswith(f"-of-{rest}")
        and len(other.stem) == len(path.stem)
    ]
    return (path, *sorted(others))


def unquantised(path: Path) -> str:
    """The file's name without `.gguf`, quantisation and number of a part."""
    return QUANTISATION.sub("", path.stem.partition(FIRST_PART)[0])


def metadata(header: bytes) -> dict[str, Value]:
    """The values of a header up to the tokenizer's; lists of texts are left out. Raises ValueError when it
    is none, or ends too early."""
    reader = _Reader(header)
    if reader.take(4) != b"GGUF" or reader.number("I") not in (2, 3):
        raise ValueError("no GGUF of version 2 or 3")
    _num_tensors, num_pairs = reader.number("Q"), reader.number("Q")
    found: dict[str, Value] = {}
    for _ in range(int(num_pairs)):
        key = reader.string()
        if key.startswith(FIRST_LARGE_KEYS):
            break
        value = reader.value()
        if value is not None:
            found[key] = value
    return found


class _Reader:
    """Reads one value after the other; each raises ValueError past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        begin, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise ValueError("the header ends too early")
        return self._data[begin : self._at]

    def number(self, code: str) -> Number:
        return self.numbers(code, 1)[0]

    def numbers(self, code: str, count: int) -> tuple[Number, ...]:
        return struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize(f"<{code}")))

    def string(self) -> str:
        return self.take(int(self.number("Q"))).decode("utf-8", "replace")

    def value(self) -> Value | None:
        """The next value with its type before it; None for a list of texts, which is passed over."""
        type_ = self.number("I")
        if type_ == STRING:
            return self.string()
        if type_ in SCALARS:
            return self.number(SCALARS[int(type_)])
        if type_ != ARRAY:
            raise ValueError(f"type {type_} is unknown")
        item, count = self.number("I"), int(self.number("Q"))
        if item == STRING:
            for _ in range(count):
                self.string()
            return None
        if item in SCALARS:
            return self.numbers(SCALARS[int(item)], count)
        raise ValueError(f"a list of type {item} is unknown")
