"""What the embedding engine is asked, and what it answers with."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine_room.catalogue import EmbeddingFile

Vectors = NDArray[np.float32]
EncodingFormat = Literal["float", "base64"]
Input = str | list[int]  # a text, or ids of the model's own tokens


@dataclass(frozen=True, slots=True)
class EmbeddingTurn:
    """One request: inputs, none of them empty, and how many dimensions to keep (None: all)."""

    file: EmbeddingFile
    inputs: list[Input]
    num_dimensions: int | None = None
    encoding_format: EncodingFormat = "float"
    keep_alive_s: float | None = None  # how long the model stays; None: as the settings say


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """The result of a turn: a vector of length 1 for each input, float32, (inputs, dimensions)."""

    vectors: Vectors
    num_tokens: int


def place(index: int, num_inputs: int) -> str:
    """How an input is named in an error, as in `param`."""
    return "input" if num_inputs == 1 else f"input.{index}"
