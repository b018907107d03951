"""What a model's vocabulary makes of raw prompts, texts and tokens.

It reads the vocabulary only, which never changes: any thread may call what is here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine_room.chat.turn import ChatTurn, CompletionTurn, DetokenizeTurn, Tokenized, TokenizeTurn
from engine_room.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class InfillTokens:
    """The tokens before a prefix, before a suffix, and before what is to be written between them."""

    prefix: int
    suffix: int
    middle: int


class Vocabulary(Protocol):
    """A model's tokens."""

    num_context_tokens: int
    num_vocab: int  # kinds of tokens; their ids begin at 0

    @property
    def bos(self) -> int | None:
        """The beginning-of-sequence token."""

    @property
    def infill_tokens(self) -> InfillTokens | None:
        """The tokens for filling in the middle, of a model that was trained for it."""

    def tokenize(self, text: str, with_bos: bool = True, with_control: bool = True) -> list[int]:
        """The tokens of a prompt or a part of one, with a BOS if the model wants one, the names of control
        tokens read as these or as text."""

    def token_ids(self, text: str, add_special: bool, parse_special: bool) -> NDArray[np.int32]:
        """The tokens of a text."""

    def piece(self, token: int, with_special: bool = False) -> bytes:
        """The bytes a token stands for."""


def raw_prompts(vocabulary: Vocabulary, turn: CompletionTurn) -> list[list[int]]:
    """The tokens of each prompt. Raises InvalidRequest for one that this model cannot have."""
    if turn.suffix:
        return [_around(vocabulary, prompt, turn.suffix) for prompt in turn.prompts]
    return [_raw_prompt(vocabulary, prompt) for prompt in turn.prompts]


def _raw_prompt(vocabulary: Vocabulary, prompt: str | tuple[int, ...]) -> list[int]:
    if not isinstance(prompt, str):
        _check_known(vocabulary, prompt, "prompt")
        return list(prompt)
    tokens = vocabulary.tokenize(prompt)
    if not tokens and vocabulary.bos is not None:
        return [vocabulary.bos]
    if not tokens:
        raise InvalidRequest(
            "prompt: it is empty, and this model has no token to begin a text with.", param="prompt"
        )
    return tokens


def _around(vocabulary: Vocabulary, prompt: str | tuple[int, ...], suffix: str) -> list[int]:
    """Prefix, suffix, middle: the order that llama.cpp gives them. What is around the gap is a user's
    file, so names of special tokens in it stay text."""
    marks = vocabulary.infill_tokens
    if marks is None:
        raise InvalidRequest(
            "suffix: this model has no tokens for filling in the middle. Leave suffix out, or use a "
            "model that has them, such as Qwen2.5-Coder.",
            param="suffix",
            code="unsupported_value",
        )
    if isinstance(prompt, str):
        prefix = vocabulary.token_ids(prompt, False, False).tolist()
    else:
        _check_known(vocabulary, prompt, "prompt")
        prefix = list(prompt)
    begin = vocabulary.tokenize("")  # a BOS if the model wants one
    end = vocabulary.token_ids(suffix, False, False).tolist()
    return [*begin, marks.prefix, *prefix, marks.suffix, *end, marks.middle]


def tokenized(
    vocabulary: Vocabulary, turn: TokenizeTurn, prompt_of: Callable[[ChatTurn], list[int]]
) -> Tokenized:
    """The tokens of a text or, by `prompt_of`, of a conversation. Raises InvalidRequest."""
    if isinstance(turn.content, str):
        tokens = vocabulary.token_ids(turn.content, turn.add_special, turn.parse_special)
    else:
        tokens = np.array(prompt_of(turn.content), np.int32)
    pieces = _pieces(vocabulary, np.unique(tokens).tolist()) if turn.with_pieces else None
    return Tokenized(tokens, vocabulary.num_context_tokens, pieces)


def detokenized(vocabulary: Vocabulary, turn: DetokenizeTurn) -> str:
    """The text that tokens stand for, special ones by their names; bytes that are no UTF-8 become U+FFFD.
    Raises InvalidRequest for a token that is not there."""
    _check_known(vocabulary, turn.tokens, "tokens")
    return text_of(vocabulary, turn.tokens)


def text_of(vocabulary: Vocabulary, tokens: Sequence[int]) -> str:
    """The text that known tokens stand for."""
    pieces = _pieces(vocabulary, set(tokens))
    return b"".join([pieces[token] for token in tokens]).decode("utf-8", "replace")


def _pieces(vocabulary: Vocabulary, tokens: Iterable[int]) -> dict[int, bytes]:
    return {token: vocabulary.piece(token, with_special=True) for token in tokens}


def _check_known(vocabulary: Vocabulary, tokens: Sequence[int], param: str) -> None:
    num_vocab = vocabulary.num_vocab
    for token in tokens:
        if not 0 <= token < num_vocab:
            raise InvalidRequest(
                f"{param}: {token} is no token of this model, whose tokens are 0 to {num_vocab - 1}.",
                param=param,
            )
