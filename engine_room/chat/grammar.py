"""The only importer of llguidance: what a schema or a grammar lets the model write next.

A `Grammar` is text that has been found to make sense, without a model; a `Constraint` holds it over one
answer of a model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from llguidance import LLMatcher, LLTokenizer, grammar_from
from numpy.typing import NDArray

from engine_room.errors import InvalidRequest

ANY_OBJECT = {"type": "object"}
MAX_GRAMMAR_CHARS = 1_000_000
# The spaces that models write themselves; left free, a small model may write nothing but spaces.
SPACES: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar in llguidance's form."""

    definition: str


def json_grammar(schema: Mapping[str, Any], param: str) -> Grammar:
    """The JSON texts that a schema allows. Raises InvalidRequest that says which part cannot be."""
    return _checked(
        lambda: LLMatcher.grammar_from_json_schema(_short(schema, param), None, SPACES), param
    )


def gbnf_grammar(text: str, param: str) -> Grammar:
    """What a grammar in llama.cpp's GBNF allows. Raises InvalidRequest."""
    return _checked(lambda: grammar_from("gbnf", _short(text, param)), param)


def _short(grammar: str | Mapping[str, Any], param: str) -> str:
    text = grammar if isinstance(grammar, str) else json.dumps(grammar)
    if len(text) > MAX_GRAMMAR_CHARS:
        raise InvalidRequest(
            f"{param} has {len(text):,} characters; at most {MAX_GRAMMAR_CHARS:,} are taken.",
            param=param,
        )
    return text


def _checked(make: Any, param: str) -> Grammar:
    try:
        definition = make()
    except ValueError as error:
        raise InvalidRequest(f"{param} cannot be followed: {error}", param=param) from error
    is_error, messages = LLMatcher.validate_grammar_with_warnings(definition)
    if is_error:
        raise InvalidRequest(f"{param} cannot be followed: {messages[0]}", param=param)
    return Grammar(definition)


class Constraint:
    """A grammar over one answer: mask the logits, draw, say what was drawn. Not thread-safe."""

    def __init__(self, matcher: LLMatcher, num_vocab: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros((num_vocab + 31) // 32, np.int32)

    def allows(self, token: int) -> bool:
        """True when the grammar lets this token follow; takes a few microseconds."""
        return self._matcher.validate_tokens([token]) == 1

    def allowed(self, num_vocab: int) -> NDArray[np.int64]:
        """Every token that the grammar lets follow, in order."""
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        bits = np.unpackbits(self._mask.view(np.uint8), count=num_vocab, bitorder="little")
        return np.flatnonzero(bits.view(np.bool_))

    def accept(self, token: int) -> None:
        """Go on after this token."""
        self._matcher.consume_token(token)

    def copy(self) -> "Constraint":
        """The same constraint, for another answer."""
        return Constraint(self._matcher.deep_copy(), len(self._mask) * 32)


class Vocabulary(Protocol):
    """What a constraint needs to know of a model."""

    def constraint_tokenizer(self) -> LLTokenizer:
        """llguidance's view of the model's tokens."""


class Constraints:
    """Makes constraints for one model. The first takes half a second, a large grammar as long: call
    `over` off the engine's thread, in one thread."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer: LLTokenizer | None = None

    def over(self, grammar: Grammar) -> Constraint:
        """A constraint for one answer. Raises InvalidRequest when this model cannot follow it."""
        if self._tokenizer is None:
            self._tokenizer = self._vocabulary.constraint_tokenizer()
        matcher = LLMatcher(self._tokenizer, grammar.definition, log_level=0)
        if matcher.is_error():
            raise InvalidRequest(f"The grammar cannot be followed: {matcher.get_error()}")
        return Constraint(matcher, self._tokenizer.vocab_size)


def tokenizer_of(
    pieces: list[bytes], end_tokens: list[int], vocab_pointer: Any, tokenize_pointer: int
) -> LLTokenizer:
    """llguidance's tokenizer for a llama.cpp vocabulary: the bytes of each token, control tokens with a
    byte 0xff before them, and llama.cpp's own function for the rest."""
    return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined,no-any-return]
        tokens=pieces,
        vocab_ptr=vocab_pointer,
        tokenize_fptr=tokenize_pointer,
        eos_token=end_tokens,
        slices=None,
    )
