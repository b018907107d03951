"""The tools of a request are checked, and so is which of them may or must be called."""

from typing import Any

import pytest

from engine_room.chat.tools import tool_use_of
from engine_room.chat.turn import ToolUse
from engine_room.errors import InvalidRequest
from engine_room.schemas_chat import ChatRequest

F: dict[str, Any] = {"type": "function", "function": {"name": "f", "description": None}}
G: dict[str, Any] = {"function": {"name": "g.h-1", "parameters": {"properties": {}}}}
NAMED = {"type": "function", "function": {"name": "f"}}


def use(**fields: Any) -> ToolUse | None:
    messages = [{"role": "user", "content": "Hi"}]
    return tool_use_of(ChatRequest.model_validate({"messages": messages, **fields}))


def allowed(mode: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [NAMED]}}


@pytest.mark.parametrize(
    ("fields", "callable_", "is_required", "allows_several"),
    [
        ({}, "f g.h-1", False, True),
        ({"tool_choice": "auto"}, "f g.h-1", False, True),
        ({"tool_choice": "required"}, "f g.h-1", True, True),
        ({"tool_choice": "required", "parallel_tool_calls": False}, "f g.h-1", True, False),
        ({"tool_choice": NAMED}, "f", True, False),
        ({"tool_choice": {"type": "function", "name": "f"}}, "f", True, False),
        ({"tool_choice": allowed("auto")}, "f", False, True),
        ({"tool_choice": allowed("required")}, "f", True, True),
    ],
)
def test_every_choice_says_what_may_and_what_must_be_called(
    fields: dict[str, Any], callable_: str, is_required: bool, allows_several: bool
) -> None:
    found = use(tools=[F, G], **fields)
    assert found
    assert [tool.name for tool in found.shown] == ["f", "g.h-1"]
    assert " ".join(tool.name for tool in found.callable) == callable_
    assert (found.is_required, found.allows_several) == (is_required, allows_several)


@pytest.mark.parametrize(
    "fields", [{}, {"tools": []}, {"tools": [F], "tool_choice": "none"}, {"tool_choice": "none"}]
)
def test_without_tools_or_with_none_chosen_nothing_is_called(fields: dict[str, Any]) -> None:
    assert use(**fields) is None


def test_functions_in_the_older_words_are_tools_of_which_one_is_called() -> None:
    found = use(functions=[F["function"]], function_call={"name": "f"})
    assert found
    assert (found.callable[0].name, found.is_required, found.allows_several) == ("f", True, False)
    assert use(functions=[F["function"]], function_call="none") is None


def test_a_definition_is_what_openai_has_without_nulls_and_with_parameters() -> None:
    found = use(tools=[F])
    assert found
    parameters = {"type": "object", "properties": {}}
    definition = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert found.shown[0].definition == definition


@pytest.mark.parametrize(
    ("fields", "param", "word"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0]", "function"),
        ({"tools": [F, {"function": {"name": ""}}]}, "tools[1]", "name"),
        ({"tools": [{"function": {}}]}, "tools[0]", "name"),
        ({"tools": [{"function": {"name": "a b"}}]}, "tools[0]", "a b"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", "custom"),
        ({"tools": [{"function": {"name": "f", "parameters": True}}]}, "tools[0]", "object"),
        ({"tools": [{"function": {"name": "f", "parameters": [1]}}]}, "tools[0]", "object"),
        (
            {"tools": [{"function": {"name": "f", "parameters": {"type": "string"}}}]},
            "tools[0]",
            "",
        ),
        ({"tools": [F], "tool_choice": "always"}, "tool_choice", "always"),
        ({"tools": [F], "tool_choice": {"type": "function"}}, "tool_choice", "names no function"),
        ({"tools": [G], "tool_choice": NAMED}, "tool_choice", "g.h-1"),
        ({"tools": [F], "tool_choice": {"type": "allowed_tools"}}, "tool_choice", "list"),
        (
            {"tools": [F], "tool_choice": allowed("auto") | {"allowed_tools": "f"}},
            "tool_choice",
            "object",
        ),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tool_choice": NAMED}, "tool_choice", "f"),
        ({"function_call": {"name": "f"}}, "function_call", "f"),
        ({"functions": [{"name": 7}]}, "functions[0]", "7"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place(
    fields: dict[str, Any], param: str, word: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        use(**fields)
    assert caught.value.param == param
    assert word in caught.value.message


def test_what_cannot_be_enforced_of_a_schema_is_refused_when_strict_and_else_left_out() -> None:
    schema = {"properties": {"x": {"type": "array", "uniqueItems": True}}}
    function = {"name": "f", "parameters": schema}
    assert use(tools=[{"function": function}])
    with pytest.raises(InvalidRequest) as caught:
        use(tools=[{"function": function | {"strict": True}}])
    assert "uniqueItems" in caught.value.message
    assert caught.value.param == "tools[0].parameters"
