"""What a turn becomes for one model: the tokens of its prompt, and the grammar of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from engine_room.chat.answer_grammar import answer_grammar
from engine_room.chat.grammar import Constraint, Constraints, Vocabulary
from engine_room.chat.template import Prompt, PromptTemplate
from engine_room.chat.turn import ChatTurn
from engine_room.errors import ContextLengthExceeded

MAX_QUICK_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt and its tokens, the constraint on the answer, and the marks in it that are control
    tokens, by their ids."""

    prompt: Prompt
    tokens: list[int]
    constraint: Constraint | None
    marks: Mapping[int, bytes]


class Tokenizer(Vocabulary, Protocol):
    """What has to be known of a model. All of it may be read from any thread."""

    num_context_tokens: int
    max_token_bytes: int
    control_tokens: dict[str, int]

    @property
    def template(self) -> str:
        """Its chat template."""

    @property
    def bos_text(self) -> str:
        """Its beginning-of-sequence token, as text."""

    @property
    def eos_text(self) -> str:
        """Its end-of-sequence token, as text."""

    def tokenize(self, text: str, with_bos: bool = True, with_control: bool = True) -> list[int]:
        """The tokens of a text, control tokens recognised or as text."""


def is_quick(turn: ChatTurn) -> bool:
    """True for what takes a millisecond; a large grammar or a long text takes seconds."""
    return turn.grammar is None and turn.tools is None and turn.num_chars <= MAX_QUICK_CHARS


class Preparation:
    """Prepares turns for one model; any thread may use it."""

    def __init__(self, model: Tokenizer) -> None:
        self._model = model
        self._template = PromptTemplate(
            model.template, model.bos_text, model.eos_text, model.control_tokens
        )
        self._constraints = Constraints(model)

    def of(self, turn: ChatTurn) -> Prepared:
        """The turn, prepared. Raises InvalidRequest, ContextLengthExceeded."""
        prompt = self._template.prompt(turn)
        tokens = self._tokens_of(prompt)
        if len(tokens) >= self._model.num_context_tokens:
            raise self._too_long(turn, len(tokens))
        marks = self._marks_of(prompt)
        grammar = answer_grammar(
            turn.grammar, turn.tools, prompt.tool_format, prompt.thinking, prompt.is_thinking, marks
        )
        constraint = self._constraints.over(grammar) if grammar else None
        return Prepared(
            prompt, tokens, constraint, {token: mark.encode() for mark, token in marks.items()}
        )

    def _tokens_of(self, prompt: Prompt) -> list[int]:
        """Raises ContextLengthExceeded at once for a text that is too long by far: to tokenize it would
        take seconds."""
        least = len(prompt.text) // self._model.max_token_bytes
        if least >= self._model.num_context_tokens:
            raise ContextLengthExceeded(least, self._model.num_context_tokens, is_least=True)
        tokens: list[int] = []
        for number, (text, with_control) in enumerate(prompt.parts()):
            tokens += self._model.tokenize(text, number == 0, with_control)
        return tokens

    def _too_long(self, turn: ChatTurn, num_tokens: int) -> ContextLengthExceeded:
        num_tool_tokens = 0
        if turn.tools:
            without = self._template.prompt(replace(turn, tools=None))
            num_tool_tokens = num_tokens - len(self._tokens_of(without))
        return ContextLengthExceeded(
            num_tokens, self._model.num_context_tokens, num_tool_tokens=num_tool_tokens
        )

    def _marks_of(self, prompt: Prompt) -> dict[str, int]:
        """The marks around thoughts and calls that are control tokens of this model."""
        marks = [*prompt.tool_format.marks]
        if prompt.thinking:
            marks += [prompt.thinking.begin, prompt.thinking.end]
        known = self._model.control_tokens
        return {mark: known[mark] for mark in marks if mark in known}
