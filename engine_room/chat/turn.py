"""What the chat engine is asked, and what it answers with."""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine_room.catalogue import ChatFile
from engine_room.chat.grammar import Grammar
from engine_room.chat.logprobs import TokenLogprob

FinishReason = Literal["stop", "length", "tool_calls"]


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
    typical_p: float = 1.0
    top_n_sigma: float = -1.0  # not positive: all tokens
    repeat_last_n: int = 64  # tokens; -1: all
    dry_multiplier: float = 0.0  # 0: no DRY
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1  # tokens; -1: all
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: int = 0  # or version 1 or 2
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()  # token ids, and what is added to their logits


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call: its definition as OpenAI has it, which the model is shown, and
    the grammar rule that its arguments keep to."""

    name: str
    definition: dict[str, Any]
    arguments_rule: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools the model is shown, those of them that it may call, whether it has to call one, and
    whether it may call several."""

    shown: tuple[Tool, ...]
    callable: tuple[Tool, ...]
    is_required: bool = False
    allows_several: bool = True


@dataclass(frozen=True, slots=True)
class ThinkingMarks:
    """What a model writes before and after its thoughts."""

    begin: str
    end: str


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
    tools: ToolUse | None = None
    num_top_logprobs: int | None = None  # None: no logprobs at all
    template_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def num_chars(self) -> int:
        """The length of what was said."""
        return sum(len(message["content"]) for message in self.messages)


@dataclass(frozen=True, slots=True)
class Text:
    """An item: more text of one answer, and what is known of its tokens, if that was asked for."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """An item: more of what the model thinks before it answers."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """An item: the answer begins to call a function; its calls are numbered from 0."""

    index: int
    number: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """An item: more of the arguments of a call, as JSON."""

    index: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """An item: one answer is complete."""

    index: int
    reason: FinishReason


Item = Text | Reasoning | ToolCall | Arguments | Finish


@dataclass(frozen=True, slots=True)
class ChatResult:
    """The result of a turn: how many tokens went in and came out, how many of those that went in were
    known from an earlier prompt, and how many of those that came out were thoughts."""

    num_prompt_tokens: int
    num_completion_tokens: int
    num_cached_tokens: int = 0
    num_reasoning_tokens: int = 0
