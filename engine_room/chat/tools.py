"""The tools of a request: checked, and which of them the model may or must call."""

import re
from typing import Any

from engine_room.chat.grammar import json_rule
from engine_room.chat.turn import Tool, ToolUse
from engine_room.errors import InvalidRequest, UnsupportedValue, quoted
from engine_room.schemas_chat import ChatRequest

# OpenAI's names have letters, digits, _ and - only; servers of tools use a few more.
NAME = re.compile(r"[\w.:/-]{1,128}", re.ASCII)
CHOICES = ("none", "auto", "required")


def tool_use_of(body: ChatRequest) -> ToolUse | None:
    """What a request says about tools, or with the older words about functions; None when the model is
    to call nothing. Raises InvalidRequest."""
    if not body.tools and (body.functions or body.function_call != "auto"):
        found = [_tool({"function": f}, f"functions[{i}]") for i, f in enumerate(body.functions)]
        use = _chosen(tuple(found), body.function_call, "function_call")
        return use and ToolUse(use.shown, use.callable, use.is_required, allows_several=False)
    found = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(body.tools)]
    use = _chosen(tuple(found), body.tool_choice, "tool_choice")
    if use is None or body.parallel_tool_calls:
        return use
    return ToolUse(use.shown, use.callable, use.is_required, allows_several=False)


def _tool(tool: dict[str, Any], place: str) -> Tool:
    kind = tool.get("type") or "function"
    if kind != "function":
        raise UnsupportedValue(f"{place}.type", kind, ["function"])
    function = tool.get("function")
    if not isinstance(function, dict):
        raise InvalidRequest(f"{place}.function: an object is required.", param=place)
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidRequest(
            f"{place} has the name {quoted(name)}; a name of 1 to 128 letters, digits and _ - . : / is "
            "required.",
            param=place,
        )
    schema = function.get("parameters") or {}
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise InvalidRequest(
            f"{place}.parameters: a JSON schema of type object is required.", param=place
        )
    schema = {"type": "object", "properties": {}} | schema
    rule = json_rule(schema, f"{place}.parameters", is_strict=bool(function.get("strict")))
    definition = {key: value for key, value in function.items() if value is not None}
    definition["parameters"] = schema
    return Tool(name, {"type": "function", "function": definition}, rule)


def _chosen(tools: tuple[Tool, ...], choice: str | dict[str, Any], param: str) -> ToolUse | None:
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            allowed = choice.get("allowed_tools") or choice
            if not isinstance(allowed, dict):
                raise InvalidRequest(f"{param}.allowed_tools: an object is required.", param=param)
            mode, names = allowed.get("mode") or "auto", _names(allowed.get("tools"), param)
        else:
            mode, names = "required", _names([choice], param)
    else:
        mode, names = choice, [tool.name for tool in tools]
    if mode not in CHOICES:
        raise UnsupportedValue(param, mode, CHOICES)
    if mode == "required" and not tools:
        raise InvalidRequest(f"{param} asks for a call, but there are no tools.", param=param)
    for name in names:
        if name not in (tool.name for tool in tools):
            raise UnsupportedValue(param, name, [tool.name for tool in tools] or ["none"])
    if mode == "none" or not names:
        return None
    callable_tools = tuple(tool for tool in tools if tool.name in names)
    is_named = isinstance(choice, dict) and choice.get("type") != "allowed_tools"
    return ToolUse(tools, callable_tools, mode == "required", allows_several=not is_named)


def _names(choices: Any, param: str) -> list[str]:
    """The names in `{"type": "function", "function": {"name": …}}`, or `{"name": …}` as older clients
    have it."""
    if not isinstance(choices, list):
        raise InvalidRequest(f"{param}.tools: a list is required.", param=param)
    names = []
    for choice in choices:
        function = choice.get("function", choice) if isinstance(choice, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise InvalidRequest(
                f"{param}: {quoted(choice)} names no function; use one of: {', '.join(CHOICES)}, or "
                '{"type": "function", "function": {"name": …}}.',
                param=param,
            )
        names.append(name)
    return names
