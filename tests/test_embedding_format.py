"""What an embeddings request may hold, and what its answer is, to the byte."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_room.catalogue import EmbeddingFile
from engine_room.embedding_format import embeddings_body, embeddings_turn
from engine_room.embedding_turn import EmbeddingResult, EmbeddingTurn
from engine_room.errors import InvalidRequest
from engine_room.schemas_embeddings import EmbeddingsRequest

FILE = EmbeddingFile("tiny", Path("tiny.gguf"))


def turn(given: Any, **fields: Any) -> EmbeddingTurn:
    return embeddings_turn(EmbeddingsRequest.model_validate({"input": given, **fields}), FILE)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("hello", ["hello"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["a", [1]], ["a", [1]]),
        ([0], [[0]]),
        (["a"] * 2048, ["a"] * 2048),
        ([7] * 3000, [[7] * 3000]),
    ],
)
def test_texts_and_token_ids_are_taken_one_or_many(given: Any, inputs: list[Any]) -> None:
    assert turn(given).inputs == inputs


@pytest.mark.parametrize(
    ("given", "param", "message"),
    [
        ("", "input", "empty"),
        ([], "input", "empty"),
        ([""], "input", "empty"),
        (["a", "b", ""], "input.2", "empty"),
        ([[1], []], "input.1", "empty"),
        (5, "input", r"got '5'"),
        ({"a": 1}, "input", "a text"),
        (True, "input", "a text"),
        ([True], "input", "got 'True'"),
        (["a", 5], "input.1", r"got '5'"),
        ([None], "input", r"got 'None'"),
        ([1, "a"], "input", r"whole numbers.*got 'a'"),
        ([1, True], "input", r"whole numbers.*got 'True'"),
        ([1, 2.5], "input", r"whole numbers.*got '2.5'"),
        ([[1], [-1]], "input.1", r"whole numbers.*got '-1'"),
        ([2**31], "input", r"got '2147483648'"),
        ([10**400], "input", r"got '1000"),
        ([[[1]]], "input", "whole numbers"),
        (["ok", "\ud83d"], "input.1", "surrogate"),
        (["a"] * 2049, "input", r"2,049 inputs.*2,048"),
    ],
)
def test_what_is_neither_is_refused_with_its_place(given: Any, param: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        turn(given)
    assert caught.value.param == param


def answer(**fields: Any) -> Any:
    vectors = np.array([[0.6, -0.8], [1, 0]], np.float32)
    return json.loads(embeddings_body(turn(["a", "b"], **fields), EmbeddingResult(vectors, 7)))


def test_the_answer_has_the_vectors_in_order_and_the_model_that_made_them() -> None:
    assert answer() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": pytest.approx([0.6, -0.8])},
            {"object": "embedding", "index": 1, "embedding": [1, 0]},
        ],
        "model": "tiny",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_base64_holds_little_endian_float32() -> None:
    data = answer(encoding_format="base64")["data"]
    assert struct.unpack("<2f", base64.b64decode(data[0]["embedding"])) == pytest.approx(
        (0.6, -0.8)
    )
    assert struct.unpack("<2f", base64.b64decode(data[1]["embedding"])) == (1, 0)
