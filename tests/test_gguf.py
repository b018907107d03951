"""What a GGUF file is for is read from its header, and no file can make the listing fail."""

import os
import struct
from pathlib import Path

import gguf
import pytest

from engine_room.gguf import kind_of, metadata
from tests.embedding_models import write_bert, write_causal


def header(*pairs: bytes, num_pairs: int | None = None) -> bytes:
    count = len(pairs) if num_pairs is None else num_pairs
    return b"GGUF" + struct.pack("<IQQ", 3, 0, count) + b"".join(pairs)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def string(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def numbers(key: str, *values: int) -> bytes:
    return text(key) + struct.pack(f"<IIQ{len(values)}I", 9, 4, len(values), *values)


def strings(key: str, *values: str) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))


def kind(folder: Path, content: bytes) -> str:
    path = folder / f"{abs(hash(content))}.gguf"
    path.write_bytes(content)
    return kind_of(path)


@pytest.mark.parametrize("pooling", [None, *gguf.PoolingType])
def test_an_encoder_is_an_embedding_model_whatever_it_says_of_pooling(
    tmp_path: Path, pooling: gguf.PoolingType | None
) -> None:
    expected = "reranking" if pooling == gguf.PoolingType.RANK else "embedding"
    assert kind_of(write_bert(tmp_path / "a.gguf", pooling)) == expected


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (None, "chat"),
        (gguf.PoolingType.NONE, "chat"),
        (gguf.PoolingType.MEAN, "embedding"),
        (gguf.PoolingType.CLS, "embedding"),
        (gguf.PoolingType.LAST, "embedding"),
        (gguf.PoolingType.RANK, "reranking"),
    ],
)
def test_a_decoder_is_an_embedding_model_if_it_says_how_it_pools(
    tmp_path: Path, pooling: gguf.PoolingType | None, expected: str
) -> None:
    assert kind_of(write_causal(tmp_path / "a.gguf", pooling)) == expected


def test_a_model_that_sees_what_comes_later_is_one_unless_it_writes_by_diffusion(
    tmp_path: Path,
) -> None:
    for architecture, expected in (("llama", "embedding"), ("dream", "chat")):
        causal = text(f"{architecture}.attention.causal") + struct.pack("<IB", 7, 0)
        found = kind(tmp_path, header(string("general.architecture", architecture), causal))
        assert found == expected


def test_the_values_before_the_tokenizer_are_read_and_lists_of_texts_passed_over() -> None:
    found = metadata(
        header(
            string("general.architecture", "bert"),
            strings("general.tags", "one", "two"),
            numbers("bert.heads", 1, 2, 3),
            number("bert.pooling_type", 2),
            text("bert.epsilon") + struct.pack("<If", 6, 0.5),
            string("tokenizer.ggml.model", "bert"),
            number("bert.late", 1),
        )
    )
    assert found == {
        "general.architecture": "bert",
        "bert.heads": (1, 2, 3),
        "bert.pooling_type": 2,
        "bert.epsilon": 0.5,
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(100),
        bytes(1000),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 1),
        b"GGUF" + struct.pack("<IQQ", 1, 0, 1) + bytes(100),
        header(string("general.architecture", "bert"))[:-1],
        header(num_pairs=2**64 - 1),
        header(struct.pack("<Q", 2**63) + b"key"),
        header(text("key") + struct.pack("<I", 99)),
        header(text("key") + struct.pack("<IIQ", 9, 4, 2**63)),
        header(text("key") + struct.pack("<IIQ", 9, 8, 2**63) + bytes(1 << 20)),
        header(text("key") + struct.pack("<IIQ", 9, 9, 1)),
        header(b"\x02" + bytes(7) + b"\xff\xfe" + struct.pack("<II", 4, 1)),
    ],
)
def test_a_file_that_says_nothing_we_understand_is_left_to_the_chat_engine(
    tmp_path: Path, content: bytes
) -> None:
    assert kind(tmp_path, content) == "chat"


def test_every_truncated_file_has_a_kind(tmp_path: Path) -> None:
    whole = write_bert(tmp_path / "whole.gguf").read_bytes()
    for size in range(0, 2000, 7):
        assert kind(tmp_path, whole[:size]) in ("chat", "embedding")


def test_a_file_that_is_gone_has_a_kind(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "gone.gguf") == "chat"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write_causal(tmp_path / "a.gguf", None)
    assert kind_of(path) == "chat"
    write_causal(path)
    os.utime(path, ns=(1, 1))
    assert kind_of(path) == "embedding"
