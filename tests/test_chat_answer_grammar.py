"""The grammar of an answer lets through what each family of models writes, and nothing else."""

from collections.abc import Callable, Iterator

import pytest
from llguidance import LLMatcher

from engine_room.catalogue import Catalogue
from engine_room.chat.answer_grammar import answer_grammar
from engine_room.chat.grammar import Grammar, gbnf_grammar, json_grammar, json_rule
from engine_room.chat.llama import LlamaModel
from engine_room.chat.options import ModelOptions
from engine_room.chat.tool_format import (
    HERMES,
    LLAMA_3,
    MISTRAL,
    MISTRAL_ARGS,
    MISTRAL_CALL_ID,
    ToolFormat,
)
from engine_room.chat.turn import ThinkingMarks, Tool, ToolUse
from engine_room.settings import Settings

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = (
    Tool("weather", {}, json_rule(WEATHER, "tools[0]")),
    Tool("time-now", {}, json_rule({"type": "object", "properties": {}}, "tools[1]")),
)
AUTO, REQUIRED = ToolUse(TOOLS, TOOLS), ToolUse(TOOLS, TOOLS, is_required=True)
ONE = ToolUse(TOOLS, TOOLS[:1], is_required=True, allows_several=False)
THINK = ThinkingMarks("<think>", "</think>")
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
OTHER = '<tool_call>\n{"name": "time-now", "arguments": {}}\n</tool_call>'
Writes = Callable[[Grammar | None, str], str]


@pytest.fixture(scope="module")
def writes() -> Iterator[Writes]:
    """What becomes of a text under a grammar: "whole", "begun" (it may go on), or "refused"."""
    path = Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct").path
    model = LlamaModel(path, ModelOptions(context_tokens=256))
    tokenizer = model.constraint_tokenizer()

    def written(grammar: Grammar | None, text: str) -> str:
        assert grammar
        matcher = LLMatcher(tokenizer, grammar.definition, log_level=0)
        assert not matcher.is_error(), matcher.get_error()
        tokens = model.tokenize(text)
        if matcher.try_consume_tokens(tokens) < len(tokens):
            return "refused"
        return "whole" if matcher.is_accepting() else "begun"

    yield written
    model.close()


@pytest.mark.parametrize(
    ("tools", "text", "becomes"),
    [
        (AUTO, "Hello there.", "whole"),
        (AUTO, CALL, "whole"),
        (AUTO, "Let me look. " + CALL, "whole"),
        (AUTO, f"{CALL}\n{OTHER}", "whole"),
        (AUTO, CALL + " and text after", "refused"),
        (AUTO, '<tool_call>\n{"name": "unknown"', "refused"),
        (AUTO, '<tool_call>\n{"name": "weather", "arguments": {"town"', "refused"),
        (AUTO, "<tool_call>", "begun"),
        (REQUIRED, "Hello", "refused"),
        (REQUIRED, f"{CALL}\n{OTHER}", "whole"),
        (ONE, CALL, "whole"),
        (ONE, OTHER, "refused"),
        (ONE, f"{CALL}\n{CALL}", "refused"),
    ],
)
def test_calls_are_written_as_the_choice_wants(
    writes: Writes, tools: ToolUse, text: str, becomes: str
) -> None:
    assert writes(answer_grammar(None, tools, HERMES, None, False, {}), text) == becomes


@pytest.mark.parametrize(
    ("form", "text", "becomes"),
    [
        (MISTRAL, '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "P"}}]', "whole"),
        (MISTRAL, '[TOOL_CALLS][{"name": "time-now", "arguments": {}}, {"name": "w', "begun"),
        (MISTRAL, '[TOOL_CALLS][{"name": "x', "refused"),
        (MISTRAL_ARGS, '[TOOL_CALLS]weather[ARGS]{"city": "P"}', "whole"),
        (MISTRAL_ARGS, "[TOOL_CALLS]time-now[ARGS]{}[TOOL_CALLS]time-now[ARGS]{}", "whole"),
        (MISTRAL_CALL_ID, "[TOOL_CALLS]time-now[CALL_ID]abcDEF123[ARGS]{}", "whole"),
        (MISTRAL_CALL_ID, "[TOOL_CALLS]time-now[CALL_ID]short[ARGS]{}", "refused"),
        (LLAMA_3, '{"name": "weather", "parameters": {"city": "P"}}', "whole"),
        (LLAMA_3, '{"name": "weather", "parameters": {"town"', "refused"),
        (LLAMA_3, '{"some": "JSON"}', "whole"),
        (LLAMA_3, "Hello", "whole"),
    ],
)
def test_each_family_has_its_own_form(
    writes: Writes, form: ToolFormat, text: str, becomes: str
) -> None:
    assert writes(answer_grammar(None, AUTO, form, None, False, {}), text) == becomes


@pytest.mark.parametrize(
    ("is_open", "text", "becomes"),
    [
        (True, f"I look it up. </think>\n\n{CALL}", "whole"),
        (True, f"{CALL}</think>{CALL}", "whole"),
        (True, "I do not know", "begun"),
        (True, "Hm</think>Hello", "refused"),
        (False, f"<think>Hm</think>\n{CALL}", "whole"),
        (False, CALL, "whole"),
        (False, "Hm", "refused"),
    ],
)
def test_thoughts_are_free_and_what_follows_is_not(
    writes: Writes, is_open: bool, text: str, becomes: str
) -> None:
    assert writes(answer_grammar(None, REQUIRED, HERMES, THINK, is_open, {}), text) == becomes


@pytest.mark.parametrize(
    ("form", "good"),
    [
        (json_grammar(WEATHER, "response_format"), '{"city": "Paris"}'),
        (gbnf_grammar('root ::= "yes" | "no"', "grammar"), "yes"),
    ],
)
def test_a_form_is_kept_to_with_thoughts_with_tools_and_alone(
    writes: Writes, form: Grammar, good: str
) -> None:
    alone = answer_grammar(form, None, HERMES, None, False, {})
    assert alone is form
    thinking = answer_grammar(form, None, HERMES, THINK, False, {})
    beside_tools = answer_grammar(form, AUTO, HERMES, None, False, {})
    for grammar in (alone, thinking, beside_tools):
        assert writes(grammar, good) == "whole"
        assert writes(grammar, "maybe") == "refused"
    assert writes(thinking, f"<think>Hm</think>{good}") == "whole"
    assert writes(beside_tools, CALL) == "whole"


def test_without_a_form_and_tools_an_answer_may_be_anything() -> None:
    assert answer_grammar(None, None, HERMES, THINK, True, {}) is None


def test_marks_that_are_control_tokens_are_meant_by_their_ids(writes: Writes) -> None:
    marks = {"[TOOL_CALLS]": 1, "[ARGS]": 3}  # <|im_start|> and <repo_name> in this vocabulary
    grammar = answer_grammar(None, REQUIRED, MISTRAL_ARGS, None, False, marks)
    assert writes(grammar, "<|im_start|>time-now<repo_name>{}") == "whole"
    assert writes(grammar, "[TOOL_CALLS]time-now[ARGS]{}") == "refused"


def test_a_model_that_finds_no_end_ends_after_thirty_two_calls(writes: Writes) -> None:
    grammar = answer_grammar(None, REQUIRED, HERMES, None, False, {})
    assert writes(grammar, "\n".join([OTHER] * 32)) == "whole"
    assert writes(grammar, "\n".join([OTHER] * 33)) == "refused"
