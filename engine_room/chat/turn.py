"""What the chat engine is asked, and what it answers with."""

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine_room.catalogue import ChatFile
from engine_room.chat.grammar import Grammar
from engine_room.chat.images import Image
from engine_room.chat.logprobs import TokenLogprob

# Nobody can type it: it is another one at each start.
IMAGE_HERE = f"\ufdd2{secrets.token_hex(16)}\ufdd2"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTurn:
    """One request to the chat engine: for this model, which is then to stay in memory for so long."""

    file: ChatFile
    keep_alive_s: float | None = None  # None: as the settings say


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTurn(ModelTurn):
    """The model is to be in memory, nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTurn(ModelTurn):
    """One that lets the model write: so many answers to each of its prompts."""

    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...] = ()
    num_answers: int = 1
    grammar: Grammar | None = None
    num_top_logprobs: int | None = None  # None: no logprobs at all

    @property
    def num_chars(self) -> int:
        """The length of what is to be read."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn(GenerationTurn):
    """A conversation in plain role/content messages, to be continued."""

    messages: list[dict[str, Any]]  # where an image stands, their text has IMAGE_HERE
    images: tuple[Image, ...] = ()
    continue_final_message: bool = False
    tools: ToolUse | None = None
    template_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def num_chars(self) -> int:
        """The length of what was said."""
        return sum(len(message["content"]) for message in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTurn(GenerationTurn):
    """Raw prompts, each a text or token ids, to be continued; with a `suffix`, up to that text. The
    answers to prompt p have the indices from p * num_answers on."""

    prompts: tuple[str | tuple[int, ...], ...]
    suffix: str = ""
    echo: bool = False

    @property
    def num_chars(self) -> int:
        """The length of what is to be read, in characters or tokens."""
        return sum(map(len, self.prompts)) + len(self.suffix)


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
    prompt_s: float = 0.0  # from its beginning (not: its arrival) to the first token of an answer
    generation_s: float = 0.0  # from there to the last token of all


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The result of a TokenizeTurn: int32, (tokens,); and the bytes of each kind of token, if asked for."""

    tokens: NDArray[np.int32]
    num_context_tokens: int
    pieces: dict[int, bytes] | None = None
