"""What a turn becomes for one model: the tokens of its prompts, and the grammar of its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from engine_room.chat.answer_grammar import answer_grammar
from engine_room.chat.embedded import Embedded
from engine_room.chat.grammar import Constraint, Constraints, TokenSource
from engine_room.chat.images import Image
from engine_room.chat.reader import AnswerReader
from engine_room.chat.template import Prompt, PromptTemplate
from engine_room.chat.tool_format import ToolFormat
from engine_room.chat.turn import (
    IMAGE_HERE,
    ChatTurn,
    CompletionTurn,
    DetokenizeTurn,
    GenerationTurn,
    LoadTurn,
    ModelTurn,
    ThinkingMarks,
    TokenizeTurn,
)
from engine_room.chat.vocabulary import Vocabulary, detokenized, raw_prompts, text_of, tokenized
from engine_room.errors import ContextLengthExceeded, InvalidRequest

MAX_QUICK_CHARS = 20_000
MAX_QUICK_MESSAGES = 200


@dataclass(frozen=True, slots=True)
class Prepared:
    """The tokens of each prompt, the text that its answers begin with when it is echoed, the constraint
    on them, and how they are read: `marks` are the marks that are control tokens, by their ids. `images` are
    those in a chat's prompt, by where they begin."""

    prompts: list[list[int]]
    echoes: list[str]
    constraint: Constraint | None
    marks: Mapping[int, bytes]
    thinking: ThinkingMarks | None = None
    is_thinking: bool = False
    tool_format: ToolFormat | None = None
    images: Mapping[int, Embedded] = field(default_factory=dict)

    def reader(self, index: int, stops: tuple[str, ...]) -> AnswerReader:
        """What reads one answer."""
        return AnswerReader(index, stops, self.thinking, self.is_thinking, self.tool_format)


class Eyes(Protocol):
    """What sees for a model. Any thread may use it."""

    def seen(
        self,
        images: Sequence[Image],
        check: Callable[[int], None],
        is_cancelled: Callable[[], bool],
    ) -> list[tuple[list[int] | Embedded, ...]]:
        """What each image becomes in a prompt; first, `check` is told how many tokens they are in all."""


class Model(TokenSource, Vocabulary, Protocol):
    """What has to be known of a model. All of it may be read from any thread."""

    max_token_bytes: int
    control_tokens: dict[str, int]

    @property
    def vision(self) -> Eyes | None:
        """What sees for it, if it can."""

    @property
    def template(self) -> str:
        """Its chat template."""

    @property
    def bos_text(self) -> str:
        """Its beginning-of-sequence token, as text."""

    @property
    def eos_text(self) -> str:
        """Its end-of-sequence token, as text."""


def is_quick(turn: ModelTurn) -> bool:
    """True for what takes a millisecond; a large grammar or a long text takes seconds."""
    return (
        isinstance(turn, GenerationTurn)
        and turn.grammar is None
        and turn.num_chars <= MAX_QUICK_CHARS
        and not (
            isinstance(turn, ChatTurn)
            and (turn.tools or turn.images or len(turn.messages) > MAX_QUICK_MESSAGES)
        )
    )


class Preparation:
    """Prepares turns for one model, by its own template or another one; any thread may use it."""

    def __init__(self, model: Model, template: str = "") -> None:
        self._model = model
        self._template = PromptTemplate(
            template or model.template, model.bos_text, model.eos_text, model.control_tokens
        )
        self._constraints = Constraints(model)

    def of(self, turn: ModelTurn, is_cancelled: Callable[[], bool] = lambda: False) -> object:
        """The turn prepared, or the result of one that lets nothing be written: Tokenized, text, or None.
        While images are seen, it is asked whether to stop. Raises InvalidRequest, ContextLengthExceeded,
        ShuttingDown."""
        if isinstance(turn, ChatTurn):
            return self._chat(turn, is_cancelled)
        if isinstance(turn, CompletionTurn):
            return self._completion(turn)
        if isinstance(turn, TokenizeTurn):
            return tokenized(self._model, turn, self._text_tokens)
        if isinstance(turn, DetokenizeTurn):
            return detokenized(self._model, turn)
        assert isinstance(turn, LoadTurn)
        return None

    def _chat(self, turn: ChatTurn, is_cancelled: Callable[[], bool]) -> Prepared:
        self._check_length(turn.num_chars, "messages")
        if (num_messages := len(turn.messages)) >= self._model.num_context_tokens:  # a token each
            raise ContextLengthExceeded(num_messages, self._model.num_context_tokens, is_least=True)
        prompt = self._template.prompt(turn)
        parts = self._parts_of(prompt, len(turn.images))
        tokens, images = self._joined(parts, self._seen(turn, parts, is_cancelled))
        marks = self._marks_of(prompt)
        grammar = answer_grammar(
            turn.grammar, turn.tools, prompt.tool_format, prompt.thinking, prompt.is_thinking, marks
        )
        return Prepared(
            [tokens],
            [],
            self._constraints.over(grammar) if grammar else None,
            {token: mark.encode() for mark, token in marks.items()},
            prompt.thinking,
            prompt.is_thinking,
            prompt.tool_format if turn.tools else None,
            images,
        )

    def _completion(self, turn: CompletionTurn) -> Prepared:
        num_context_tokens = self._model.num_context_tokens
        for prompt in turn.prompts:
            self._check_length(len(prompt), "prompt")
        prompts = raw_prompts(self._model, turn)
        for tokens in prompts:
            if len(tokens) >= num_context_tokens:
                raise ContextLengthExceeded(len(tokens), num_context_tokens, "prompt")
        echoes = [
            prompt if isinstance(prompt, str) else text_of(self._model, prompt)
            for prompt in turn.prompts
            if turn.echo
        ]
        constraint = self._constraints.over(turn.grammar) if turn.grammar else None
        return Prepared(prompts, echoes, constraint, marks={})

    def _check_length(self, num_chars: int, param: str) -> None:
        """Raises ContextLengthExceeded at once for a text that is too long by far: to tokenize it would
        take seconds."""
        least = num_chars // self._model.max_token_bytes
        if least >= self._model.num_context_tokens:
            raise ContextLengthExceeded(least, self._model.num_context_tokens, param, is_least=True)

    def _text_tokens(self, turn: ChatTurn) -> list[int]:
        """The tokens of a conversation without images. Raises InvalidRequest."""
        if turn.images:
            raise InvalidRequest(
                "An image is no tokens of the vocabulary; leave it out, or ask /v1/chat/completions, whose "
                "usage counts it.",
                param=turn.images[0].place,
            )
        return self._joined(self._parts_of(self._template.prompt(turn), 0), [])[0]

    def _parts_of(self, prompt: Prompt, num_images: int) -> list[list[int] | None]:
        """The tokens of a prompt's parts, None for an image. Raises InvalidRequest."""
        parts = [
            None if text == IMAGE_HERE else self._model.tokenize(text, number == 0, with_control)
            for number, (text, with_control) in enumerate(prompt.parts())
        ]
        if (num_shown := parts.count(None)) != num_images:
            raise InvalidRequest(
                f"The model's chat template shows {num_shown} of the {num_images} images.",
                param="messages",
            )
        # Only tokens leave logits, of which the answer's first is drawn.
        if num_images and [part for part in parts if part != []][-1] is None:
            raise InvalidRequest("The prompt ends with an image: add text.", param="messages")
        return parts

    def _seen(
        self, turn: ChatTurn, parts: list[list[int] | None], is_cancelled: Callable[[], bool]
    ) -> list[tuple[list[int] | Embedded, ...]]:
        """What the turn's images become. Raises ContextLengthExceeded before any is encoded."""
        num_text_tokens = _num_tokens(parts)

        def check(num_image_tokens: int) -> None:
            if num_text_tokens + num_image_tokens >= self._model.num_context_tokens:
                raise self._too_long(turn, num_text_tokens, num_image_tokens)

        if not turn.images:
            check(0)
            return []
        assert self._model.vision  # else the request was refused
        return self._model.vision.seen(turn.images, check, is_cancelled)

    def _joined(
        self, parts: list[list[int] | None], seen: list[tuple[list[int] | Embedded, ...]]
    ) -> tuple[list[int], dict[int, Embedded]]:
        """One prompt, and the images in it by where they begin."""
        tokens: list[int] = []
        images: dict[int, Embedded] = {}
        coming = iter(seen)
        for part in parts:
            for piece in next(coming) if part is None else (part,):
                if isinstance(piece, Embedded):
                    images[len(tokens)] = piece
                    tokens += piece.ids
                else:
                    tokens += piece
        return tokens, images

    def _too_long(
        self, turn: ChatTurn, num_text_tokens: int, num_image_tokens: int
    ) -> ContextLengthExceeded:
        num_tool_tokens = 0
        if turn.tools:
            without = self._template.prompt(replace(turn, tools=None))
            num_tool_tokens = num_text_tokens - _num_tokens(
                self._parts_of(without, len(turn.images))
            )
        return ContextLengthExceeded(
            num_text_tokens + num_image_tokens,
            self._model.num_context_tokens,
            num_tool_tokens=num_tool_tokens,
            num_image_tokens=num_image_tokens,
        )

    def _marks_of(self, prompt: Prompt) -> dict[str, int]:
        """The marks around thoughts and calls that are control tokens of this model."""
        marks = [*prompt.tool_format.marks]
        if prompt.thinking:
            marks += [prompt.thinking.begin, prompt.thinking.end]
        known = self._model.control_tokens
        return {mark: known[mark] for mark in marks if mark in known}


def _num_tokens(parts: list[list[int] | None]) -> int:
    return sum(len(part) for part in parts if part is not None)
