"""What the chat engine is asked, and what it answers with."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine_room.catalogue import ChatFile
from engine_room.chat.grammar import Grammar

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; the names are llama.cpp's own."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int  # negative: random


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTurn:
    """One request to the chat engine: for this model."""

    file: ChatFile


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTurn(ModelTurn):
    """One that lets the model write: so many answers to each of its prompts."""

    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...] = ()
    num_answers: int = 1
    grammar: Grammar | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn(GenerationTurn):
    """A conversation in plain role/content messages, to be continued."""

    messages: list[dict[str, Any]]
    continue_final_message: bool = False
    template_arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTurn(GenerationTurn):
    """Raw prompts, each a text or token ids, to be continued; with a `suffix`, up to that text. The
    answers to prompt p have the indices from p * num_answers on."""

    prompts: tuple[str | tuple[int, ...], ...]
    suffix: str = ""
    echo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeTurn(ModelTurn):
    """A text, or a conversation with the prompt that a chat would make of it, to be made tokens of."""

    content: str | ChatTurn
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeTurn(ModelTurn):
    """Tokens to be made text of."""

    tokens: list[int]


@dataclass(frozen=True, slots=True)
class Text:
    """An item: more text of one answer."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """An item: one answer is complete."""

    index: int
    reason: FinishReason


@dataclass(frozen=True, slots=True)
class ChatResult:
    """The result of a turn: how many tokens went in and came out, and how many of those that
    went in were known from an earlier prompt."""

    num_prompt_tokens: int
    num_completion_tokens: int
    num_cached_tokens: int = 0
    prompt_s: float = 0.0  # from its beginning (not: its arrival) to the first token of an answer
    generation_s: float = 0.0  # from there to the last token of all


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The result of a TokenizeTurn: int32, (tokens,); and the bytes of each kind of token, if asked for."""

    tokens: NDArray[np.int32]
    num_context_tokens: int
    pieces: dict[int, bytes] | None = None
