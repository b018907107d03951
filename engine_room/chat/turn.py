"""What the chat engine is asked, and what it answers with."""

from dataclasses import dataclass, field
from typing import Any, Literal

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


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One request to the chat engine: a conversation in plain role/content messages, to be continued."""

    file: ChatFile
    messages: list[dict[str, Any]]
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...] = ()
    num_answers: int = 1
    continue_final_message: bool = False
    grammar: Grammar | None = None
    template_arguments: dict[str, Any] = field(default_factory=dict)


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
