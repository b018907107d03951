"""Tool calls as the official client asks for them, from the bundled model, which knows no tools itself."""

import json
import re
from typing import Any

import jsonschema
import openai
import pytest

from tests.test_clients import tools

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TIME: Any = {
    "type": "function",
    "function": {"name": "time_now", "description": "The time.", "parameters": None},
}
QUESTION: Any = {"role": "user", "content": "What is the weather in Paris?"}
NAMED: Any = {"type": "function", "function": {"name": "weather"}}


def asked(client: openai.OpenAI, **fields: Any) -> Any:
    defaults: dict[str, Any] = {"messages": [QUESTION], "tools": [WEATHER, TIME], "max_tokens": 200}
    return client.chat.completions.create(model="gpt-4", **(defaults | fields))


def test_a_named_function_is_called_with_arguments_that_fit_however_they_are_drawn(
    client: openai.OpenAI,
) -> None:
    choices = asked(client, tool_choice=NAMED, temperature=1.5, seed=0, n=6).choices
    for choice in choices:
        [call] = choice.message.tool_calls
        assert (call.type, call.function.name) == ("function", "weather")
        jsonschema.validate(json.loads(call.function.arguments), PARAMETERS)
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    drawn = {choice.message.tool_calls[0].function.arguments for choice in choices}
    assert len(drawn) > 1


def test_when_a_call_is_required_one_or_several_are_made(client: openai.OpenAI) -> None:
    one = asked(client, tool_choice="required", parallel_tool_calls=False).choices[0]
    assert len(one.message.tool_calls) == 1
    assert one.finish_reason == "tool_calls"
    several = asked(client, tool_choice="required", temperature=0).choices[0]
    assert {call.function.name for call in several.message.tool_calls} <= {"weather", "time_now"}
    assert len({call.id for call in several.message.tool_calls}) == len(several.message.tool_calls)


def test_only_allowed_tools_are_called(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "time_now"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool]}}
    [answer] = asked(client, tool_choice=choice, parallel_tool_calls=False).choices
    assert answer.message.tool_calls[0].function.name == "time_now"


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_an_answer_in_words_has_no_calls(client: openai.OpenAI, choice: str) -> None:
    [answer] = asked(client, tool_choice=choice, temperature=0, max_tokens=10).choices
    assert answer.message.content
    assert answer.message.tool_calls is None
    assert answer.finish_reason in ("stop", "length")


def test_a_model_that_may_call_does_so_where_it_did_before(client: openai.OpenAI) -> None:
    messages: list[Any] = []
    for number, city in enumerate(["Rome", "Oslo", "Lima", "Cairo"]):
        arguments = json.dumps({"city": city, "days": 1})
        function = {"name": "weather", "arguments": arguments}
        calls = [{"id": str(number), "type": "function", "function": function}]
        messages += [
            {"role": "user", "content": f"What is the weather in {city}?"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": str(number), "content": "Sun."},
            {"role": "assistant", "content": f"The sun shines in {city}."},
        ]
    [answer] = asked(client, messages=[*messages, QUESTION], temperature=0).choices
    assert "Paris" in answer.message.tool_calls[0].function.arguments


@pytest.mark.parametrize("max_tokens", [150, 50], ids=["whole", "cut off"])
def test_streamed_calls_are_the_same_put_together(client: openai.OpenAI, max_tokens: int) -> None:
    fields: dict[str, Any] = {"tool_choice": "required", "seed": 10, "max_tokens": max_tokens}
    [whole] = asked(client, **fields).choices
    calls: dict[int, dict[str, str]] = {}
    reasons = []
    for chunk in asked(client, stream=True, **fields):
        [choice] = chunk.choices
        reasons.append(choice.finish_reason)
        for delta in choice.delta.tool_calls or ():
            if delta.id:
                assert delta.type == "function"
                calls[delta.index] = {"name": delta.function.name, "arguments": ""}
            calls[delta.index]["arguments"] += delta.function.arguments
    assert [calls[index] for index in sorted(calls)] == [
        {"name": call.function.name, "arguments": call.function.arguments}
        for call in whole.message.tool_calls
    ]
    assert reasons[-1] == whole.finish_reason


def test_a_result_goes_back_to_the_model(client: openai.OpenAI) -> None:
    [call] = asked(client, tool_choice=NAMED).choices[0].message.tool_calls
    said = {"role": "assistant", "content": None, "tool_calls": [call.to_dict()]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees and sun."}
    [answer] = asked(client, messages=[QUESTION, said, result], temperature=0).choices
    assert "21" in answer.message.content


def test_clients_that_know_functions_only_are_served_in_their_words(client: openai.OpenAI) -> None:
    old: Any = {"functions": [WEATHER["function"]], "function_call": {"name": "weather"}}
    [choice] = client.chat.completions.create(model="gpt-4", messages=[QUESTION], **old).choices
    assert choice.finish_reason == "function_call"
    assert choice.message.tool_calls is None
    assert choice.message.function_call
    jsonschema.validate(json.loads(choice.message.function_call.arguments), PARAMETERS)
    parts = [
        chunk.choices[0].delta.function_call
        for chunk in client.chat.completions.create(
            model="gpt-4", messages=[QUESTION], stream=True, **old
        )
    ]
    calls = [part for part in parts if part]
    assert calls[0].name == "weather"
    jsonschema.validate(json.loads("".join(part.arguments or "" for part in calls)), PARAMETERS)


def test_each_of_several_answers_makes_its_call(client: openai.OpenAI) -> None:
    choices = asked(client, n=2, tool_choice=NAMED).choices
    assert [len(choice.message.tool_calls) for choice in choices] == [1, 1]


def test_an_answer_in_words_beside_tools_keeps_to_its_form(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    message = asked(client, response_format=form).choices[0].message
    if not message.tool_calls:
        jsonschema.validate(json.loads(message.content), schema)


def test_an_impossible_strict_schema_is_a_400_that_names_the_part(client: openai.OpenAI) -> None:
    items = {"type": "object", "properties": {"x": {"type": "array", "uniqueItems": True}}}
    function = {"name": "f", "strict": True, "parameters": items}
    with pytest.raises(openai.BadRequestError, match="uniqueItems"):
        asked(client, tools=[{"type": "function", "function": function}])


def test_twenty_eight_tools_are_answered_or_the_error_says_what_they_take(
    client: openai.OpenAI,
) -> None:
    [choice] = asked(client, tools=tools(), tool_choice="required", max_tokens=40).choices
    assert choice.message.tool_calls
    with pytest.raises(openai.BadRequestError) as caught:
        asked(client, tools=tools("Look for it. " * 100))
    assert caught.value.code == "context_length_exceeded"
    assert re.search(r"the tools take \d+", str(caught.value))
