"""The only importer of llguidance: what a schema or a grammar lets the model write next.

A `Grammar` is text that has been found to make sense, without a model; a `Constraint` holds it over one
answer of a model.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from llguidance import LLMatcher, LLTokenizer, grammar_from
from numpy.typing import NDArray

from engine_room.errors import InvalidRequest

ANY_OBJECT = {"type": "object"}
NUM_KEPT = 16
# Of the worst kinds, 200,000 characters take four seconds to prepare, and ten times that a hundred times as
# long. OpenAI takes 120,000 characters of names and values.
MAX_GRAMMAR_CHARS = 200_000
MAX_REASON_CHARS = 500
# The spaces that models write themselves; left free, a small model may write nothing but spaces.
SPACES: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar in Lark as llguidance reads it; a rule may refer to `form`'s rules as `@form`."""

    lark: str
    form: "Grammar | None" = None

    @property
    def definition(self) -> str:
        """What llguidance reads."""
        grammars = [{"name": "answer", "lark_grammar": self.lark}]
        if self.form:
            grammars.append({"name": "form", "lark_grammar": self.form.lark})
        return json.dumps({"grammars": grammars})


def json_rule(schema: Mapping[str, Any], param: str, is_strict: bool = True) -> str:
    """The right side of a rule: the JSON texts that a schema allows. Raises InvalidRequest that says which
    part cannot be; unless it is strict, such parts are left out of it."""
    try:
        return _checked_rule(schema, SPACES, param)
    except InvalidRequest:
        if is_strict:
            raise
    return _checked_rule(schema, SPACES | {"lenient": True}, param)


def _checked_rule(schema: Mapping[str, Any], guidance: dict[str, Any], param: str) -> str:
    _short(json.dumps(schema), param)
    rule = f"%json {json.dumps({**schema, 'x-guidance': guidance})}"
    _checked(lambda: f"start: {rule}", param)
    return rule


def json_grammar(schema: Mapping[str, Any], param: str) -> Grammar:
    """The JSON texts that a schema allows. Raises InvalidRequest that says which part cannot be."""
    return Grammar(f"start: {json_rule(schema, param)}")


def gbnf_grammar(text: str, param: str) -> Grammar:
    """What a grammar in llama.cpp's GBNF allows. Raises InvalidRequest."""
    return _checked(lambda: grammar_from("gbnf", _short(text, param)), param)


def _short(text: str, param: str) -> str:
    if len(text) > MAX_GRAMMAR_CHARS:
        raise InvalidRequest(
            f"{param} has {len(text):,} characters; at most {MAX_GRAMMAR_CHARS:,} are taken.",
            param=param,
        )
    return text


def _checked(make: Callable[[], str], param: str) -> Grammar:
    try:
        grammar = Grammar(make())
    except ValueError as error:
        raise _not_followed(str(error), param) from error
    is_error, messages = LLMatcher.validate_grammar_with_warnings(grammar.definition)
    if is_error:
        raise _not_followed(messages[0], param)
    return grammar


def _not_followed(reason: str, param: str | None = None) -> InvalidRequest:
    """`reason` is llguidance's; after it come the whole grammar, or a state."""
    reason = reason.partition("\n   1 | ")[0].partition("\n<")[0][:MAX_REASON_CHARS]
    if reason == "NoExtensionBias":
        reason = "no text that has an end fits it."
    return InvalidRequest(f"{param or 'The grammar'} cannot be followed: {reason}", param=param)


class Constraint:
    """A grammar over one answer: mask the logits, draw, say what was drawn. Not thread-safe."""

    def __init__(self, matcher: LLMatcher, num_vocab: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros((num_vocab + 31) // 32, np.int32)

    def allows(self, token: int) -> bool:
        """True when the grammar lets this token follow; takes a few microseconds."""
        return self._matcher.validate_tokens([token]) == 1

    def allowed(self, num_vocab: int) -> NDArray[np.int64]:
        """Every token that the grammar lets follow, in order. Raises InvalidRequest when nothing can, or
        when to find out takes too long: an answer that ended here would not be what was asked for."""
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        if self._matcher.is_error():
            raise _not_followed(self._matcher.get_error())
        bits = np.unpackbits(self._mask.view(np.uint8), count=num_vocab, bitorder="little")
        return np.flatnonzero(bits.view(np.bool_))

    def accept(self, token: int) -> None:
        """Go on after this token."""
        self._matcher.consume_token(token)

    def copy(self) -> "Constraint":
        """The same constraint, for another answer."""
        return Constraint(self._matcher.deep_copy(), len(self._mask) * 32)


class TokenSource(Protocol):
    """What a constraint needs to know of a model."""

    def constraint_tokenizer(self) -> LLTokenizer:
        """llguidance's view of the model's tokens."""


class Constraints:
    """Makes constraints for one model, and keeps the last few: agents send the same tools again and
    again. The first takes half a second, a large grammar as long: call `over` off the engine's thread;
    any thread may."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._tokenizer: LLTokenizer | None = None
        self._lock = threading.Lock()
        self._constraint = lru_cache(NUM_KEPT)(self._made)

    def over(self, grammar: Grammar) -> Constraint:
        """A constraint for one answer. Raises InvalidRequest when this model cannot follow it."""
        return self._constraint(grammar).copy()

    def _made(self, grammar: Grammar) -> Constraint:
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._source.constraint_tokenizer()
        matcher = LLMatcher(self._tokenizer, grammar.definition, log_level=0)
        if matcher.is_error():
            raise _not_followed(matcher.get_error())
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
