"""The bundled model's vocabulary, and the same with tokens for filling in the middle."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_room.catalogue import Catalogue
from engine_room.chat.format import sampling_of
from engine_room.chat.llama import LlamaModel
from engine_room.chat.options import ModelOptions
from engine_room.chat.turn import ChatTurn, CompletionTurn, DetokenizeTurn, Tokenized, TokenizeTurn
from engine_room.chat.vocabulary import (
    InfillTokens,
    detokenized,
    raw_prompts,
    text_of,
    tokenized,
)
from engine_room.errors import InvalidRequest
from engine_room.schemas_chat import SamplingFields
from engine_room.settings import Settings

FILE = Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct")
SAMPLING = sampling_of(SamplingFields())
TEXTS = [
    "Hello",
    " two  spaces\n",
    "Ünïcödé 漢字 🙂👩‍👩‍👧",
    "a\0b",
    "<|im_start|>user\nHi<|im_end|>",
]
INFILL = {"fim_pre": 3, "fim_suf": 4, "fim_mid": 5}


def with_infill_tokens(source: Path, target: Path) -> None:
    """A copy of a GGUF whose vocabulary has tokens for filling in the middle. The entries added are
    filled up to a multiple of the alignment (32 bytes), so that all else just moves."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    entries = b"".join(
        string(f"tokenizer.ggml.{name}_token_id") + struct.pack("<II", 4, token)
        for name, token in INFILL.items()
    )
    filler = string("test.filler") + struct.pack("<I", 8)
    entries += filler + string(" " * (-(len(entries) + len(filler) + 8) % 32))
    data = source.read_bytes()
    magic, version, num_tensors, num_entries = struct.unpack_from("<4sIQQ", data)
    head = struct.pack("<4sIQQ", magic, version, num_tensors, num_entries + len(INFILL) + 1)
    target.write_bytes(head + entries + data[24:])


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaModel]:
    model = LlamaModel(FILE.path, ModelOptions(context_tokens=256))
    yield model
    model.close()


@pytest.fixture(scope="module")
def infill_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaModel]:
    path = tmp_path_factory.mktemp("models") / "infill.gguf"
    with_infill_tokens(FILE.path, path)
    model = LlamaModel(path, ModelOptions(context_tokens=256))
    yield model
    model.close()
    path.unlink()


def turn(*prompts: str | tuple[int, ...], suffix: str = "") -> CompletionTurn:
    return CompletionTurn(
        file=FILE, prompts=prompts, suffix=suffix, sampling=SAMPLING, max_tokens=16
    )


def refusal(model: LlamaModel, *prompts: str | tuple[int, ...], suffix: str = "") -> Any:
    with pytest.raises(InvalidRequest) as caught:
        raw_prompts(model, turn(*prompts, suffix=suffix))
    return caught.value


def read(model: LlamaModel, text: str, **fields: Any) -> Tokenized:
    def prompt_of(chat: ChatTurn) -> list[int]:
        raise AssertionError("this is no conversation")

    return tokenized(model, TokenizeTurn(file=FILE, content=text, **fields), prompt_of)


# ---------------------------------------------------------------- raw prompts


def test_each_prompt_is_tokens_and_names_of_special_tokens_are_these(model: LlamaModel) -> None:
    prompts = raw_prompts(model, turn("Hello", "<|im_start|>Hello", (19556, 2)))
    assert prompts == [[19556], [1, 19556], [19556, 2]]


def test_an_empty_prompt_is_the_token_that_begins_a_text(model: LlamaModel) -> None:
    assert raw_prompts(model, turn("")) == [[1]]


@pytest.mark.parametrize("token", [49152, -1, 2**31, 2**70])
def test_a_token_that_is_not_there_is_named(model: LlamaModel, token: int) -> None:
    error = refusal(model, (1, token))
    assert error.param == "prompt"
    assert error.message == (
        f"prompt: {token} is no token of this model, whose tokens are 0 to 49151."
    )


def test_a_model_that_cannot_fill_in_the_middle_says_so(model: LlamaModel) -> None:
    error = refusal(model, "def f(", suffix="return 1")
    assert error.param == "suffix"
    assert "no tokens for filling in the middle" in error.message


def test_a_model_that_can_gets_prefix_and_suffix_in_its_marks(infill_model: LlamaModel) -> None:
    assert infill_model.infill_tokens == InfillTokens(3, 4, 5)
    hello = infill_model.tokenize("Hello")
    assert raw_prompts(infill_model, turn("Hello", tuple(hello), "", suffix="Hello")) == [
        [3, *hello, 4, *hello, 5],
        [3, *hello, 4, *hello, 5],
        [3, 4, *hello, 5],
    ]


def test_names_of_special_tokens_around_a_gap_stay_text(infill_model: LlamaModel) -> None:
    (prompt,) = raw_prompts(infill_model, turn("<|im_end|>", suffix="<|im_end|>"))
    assert 2 not in prompt
    assert text_of(infill_model, prompt[1:-1]).count("<|im_end|>") == 2


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize("text", ["", *TEXTS])
@pytest.mark.parametrize("parse_special", [True, False])
def test_tokens_of_a_text_are_that_text_again(
    model: LlamaModel, text: str, parse_special: bool
) -> None:
    tokens = read(model, text, parse_special=parse_special).tokens
    assert tokens.dtype == np.int32
    again = detokenized(model, DetokenizeTurn(file=FILE, tokens=tokens.tolist()))
    assert again == text


def test_names_of_special_tokens_are_read_as_these_or_as_text(model: LlamaModel) -> None:
    assert read(model, "<|im_end|>").tokens.tolist() == [2]
    assert len(read(model, "<|im_end|>", parse_special=False).tokens) > 2


def test_pieces_are_the_bytes_of_every_token(model: LlamaModel) -> None:
    for text in TEXTS:
        result = read(model, text, with_pieces=True)
        assert result.pieces is not None
        pieces = [result.pieces[token] for token in result.tokens.tolist()]
        assert b"".join(pieces).decode() == text


def test_a_conversation_has_the_tokens_of_its_prompt(model: LlamaModel) -> None:
    chat = ChatTurn(file=FILE, sampling=SAMPLING, max_tokens=None, messages=[])
    result = tokenized(model, TokenizeTurn(file=FILE, content=chat), lambda chat: [1, 2, 3])
    assert result.tokens.tolist() == [1, 2, 3]
    assert result.num_context_tokens == 256


def test_half_a_character_is_a_mark_of_its_own(model: LlamaModel) -> None:
    tokens = read(model, "🙂").tokens.tolist()
    assert len(tokens) > 1
    assert "\ufffd" in detokenized(model, DetokenizeTurn(file=FILE, tokens=tokens[:1]))


def test_tokens_that_are_not_there_have_no_text(model: LlamaModel) -> None:
    with pytest.raises(InvalidRequest) as caught:
        detokenized(model, DetokenizeTurn(file=FILE, tokens=[1, 49152]))
    assert caught.value.param == "tokens"
    assert "49152" in caught.value.message
