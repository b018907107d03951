"""Files of other weights, written by llama.cpp from tiny models and the bundled one, and read back."""

import threading
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine_room.chat.requantising import BITS, estimated_bytes, requantise
from engine_room.errors import CannotStore
from engine_room.gguf import unquantised
from tests.vision_models import write_model

# As the library falls back, of rows that the type's blocks of 256 do not divide (K-quants).
MATRICES = {
    "Q8_0": {"Q8_0"},
    "Q4_0": {"Q4_0"},
    "IQ4_NL": {"IQ4_NL", "Q5_0"},
    "Q4_K_M": {"Q5_0", "Q8_0"},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.gguf")


def types_of(path: Path) -> set[str]:
    """Of the matrices of the layers."""
    tensors = gguf.GGUFReader(path).tensors
    return {t.tensor_type.name for t in tensors if t.name.startswith("blk.") and len(t.shape) == 2}


@pytest.mark.parametrize("type_", BITS)
def test_the_matrices_have_the_type_asked_for(source: Path, tmp_path: Path, type_: str) -> None:
    assert types_of(source) == {"F32"}
    requantise(source, tmp_path / "new", type_, 1)
    assert types_of(tmp_path / "new") <= MATRICES[type_]


def test_weights_are_rounded_to_their_neighbours(source: Path, tmp_path: Path) -> None:
    requantise(source, tmp_path / "new", "Q8_0", 1)

    def weights(path: Path) -> np.ndarray:
        tensor = next(t for t in gguf.GGUFReader(path).tensors if t.name == "blk.0.ffn_up.weight")
        return gguf.dequantize(tensor.data, tensor.tensor_type)

    before = weights(source)
    assert 0 < np.abs(weights(tmp_path / "new") - before).max() < np.abs(before).max() / 127


def test_what_is_quantised_is_quantised_again_and_how_much_is_written_is_told(
    bundled_gguf: Path, tmp_path: Path
) -> None:
    told: list[int] = []
    requantise(bundled_gguf, tmp_path / "new", "Q4_0", 2, told.append)
    assert types_of(tmp_path / "new") == {"Q4_0", "Q4_1"}  # some layers are spared
    num_bytes = (tmp_path / "new").stat().st_size
    assert all(each <= num_bytes for each in told)
    assert num_bytes == pytest.approx(estimated_bytes(bundled_gguf, "Q4_0"), rel=0.15)


def test_a_file_that_cannot_be_written_is_an_error_with_the_reason(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(CannotStore, match=r"^tiny\.gguf could not be written as Q8_0: .*failed"):
        requantise(source, tmp_path / "nowhere" / "new", "Q8_0", 1)
    assert not [t for t in threading.enumerate() if t.name == "requantise"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "qwen2.5-7b-instruct"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b"),
        ("Model-BF16-merged.gguf", "Model-BF16-merged"),
        ("mine.gguf", "mine"),
        ("x-UD-Q4_K_XL.gguf", "x"),
    ],
)
def test_a_models_name_is_told_from_its_quantisation(file: str, name: str) -> None:
    assert unquantised(Path(file)) == name
