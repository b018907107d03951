"""Requests become turns: their messages plain, their fields checked."""

from pathlib import Path
from typing import Any

import pytest

from engine_room.catalogue import ChatFile
from engine_room.chat.format import turn_from
from engine_room.chat.turn import IMAGE_HERE, ChatTurn, Sampling
from engine_room.errors import InvalidRequest
from engine_room.model_settings import Defaults
from engine_room.schemas_chat import ChatRequest

FILE = ChatFile("some-model", Path("some-model.gguf"))
HI: dict[str, Any] = {"role": "user", "content": "Hi"}


def turn(messages: list[dict[str, Any]], **fields: Any) -> ChatTurn:
    return turn_from(ChatRequest.model_validate({"messages": messages, **fields}), FILE)


def refusal(messages: list[dict[str, Any]], **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        turn(messages, **fields)
    return caught.value


def test_developer_means_system_and_function_means_tool() -> None:
    messages = [{"role": role, "content": "x"} for role in ("developer", "user", "function")]
    assert [m["role"] for m in turn(messages).messages] == ["system", "user", "tool"]


def test_only_an_assistants_message_can_be_continued() -> None:
    error = refusal([HI], continue_final_message=True)
    assert error.message == "continue_final_message needs an assistant message at the end."


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert turn([{"role": "user", "content": parts}]).messages == [
        {"role": "user", "content": "AB"}
    ]
    refused = [{"type": "refusal", "refusal": "No."}]
    assert turn([{"role": "assistant", "content": refused}]).messages[0]["content"] == "No."


@pytest.mark.parametrize("content", [None, "", []])
def test_a_message_without_content_is_empty_text(content: Any) -> None:
    assert turn([{"role": "assistant", "content": content}]).messages[0]["content"] == ""


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "http://x"}},
        {"type": "file", "file": {"file_id": "x"}},
    ],
)
def test_a_part_of_another_kind_is_refused_by_place_and_type(part: dict[str, Any]) -> None:
    error = refusal([HI, {"role": "user", "content": [{"type": "text", "text": "See:"}, part]}])
    assert error.param == "messages[1].content"
    assert error.message == (
        f"messages[1] has a part of type {part['type']!r}; text, image_url and, in chats, input_audio "
        "are read."
    )


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_an_image_for_a_model_without_eyes_is_refused_with_the_file_that_gives_it_some() -> None:
    error = refusal([HI, {"role": "user", "content": [IMAGE]}])
    assert (error.param, error.code) == ("messages[1].content", "unsupported_value")
    assert "some-model cannot see" in error.message
    assert "mmproj-some-model.gguf" in error.message


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_an_image_in_a_message_of_any_role_stands_where_it_was_sent(role: str) -> None:
    content = [{"type": "text", "text": "A"}, IMAGE, IMAGE | {"image_url": "data:;base64,BBBB"}]
    body = ChatRequest.model_validate({"messages": [HI, {"role": role, "content": content}]})
    made = turn_from(body, ChatFile("seer", Path("seer.gguf"), Path("mmproj-seer.gguf")))
    assert made.messages[1]["content"] == f"A{IMAGE_HERE}{IMAGE_HERE}"
    assert [image.data for image in made.images] == [b"\0\0\0", b"\x04\x10\x41"]
    assert made.images[0].place == "messages[1].content"


def test_calls_have_their_arguments_as_objects_and_results_the_name_of_what_was_called() -> None:
    function = {"name": "f", "arguments": '{"x": 1}'}
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    messages = [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]},
        {"role": "tool", "content": "7", "tool_call_id": "1"},
    ]
    assert turn(messages).messages[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "7", "tool_call_id": "1", "name": "f"},
    ]


def test_a_call_in_the_older_words_is_a_tool_call_too() -> None:
    function = {"name": "f", "arguments": "no JSON"}
    message = turn([{"role": "assistant", "function_call": function}]).messages[0]
    assert message["tool_calls"] == [{"id": "", "type": "function", "function": function}]


def test_a_call_without_a_functions_name_is_refused() -> None:
    error = refusal([HI, {"role": "assistant", "tool_calls": [{"id": "1"}]}])
    assert error.param == "messages[1].tool_calls"


@pytest.mark.parametrize(
    ("stop", "stops"),
    [(None, ()), ("x", ("x",)), ("", ()), (["a", "", "b"], ("a", "b")), (["x"] * 9, ("x",) * 9)],
)
def test_stop_is_null_a_string_or_a_list_of_any_length(stop: Any, stops: tuple[str]) -> None:
    assert turn([HI], stop=stop).stop == stops


def test_the_newer_name_of_the_answers_length_wins_and_the_setting_comes_last() -> None:
    assert turn([HI], max_tokens=5, max_completion_tokens=7).max_tokens == 7
    assert turn([HI], max_tokens=5, max_completion_tokens=None).max_tokens == 5
    assert turn([HI], max_tokens=None).max_tokens is None
    assert turn_from(ChatRequest.model_validate({"messages": [HI]}), FILE, 100).max_tokens == 100


def test_sampling_comes_from_the_request_and_has_the_local_extras() -> None:
    fields = {"temperature": 0, "top_k": 5, "min_p": 0.1, "seed": 3, "repetition_penalty": 1.2}
    sampling = turn([HI], **fields).sampling
    assert (sampling.temperature, sampling.top_k, sampling.min_p) == (0, 5, 0.1)
    assert (sampling.seed, sampling.repeat_penalty) == (3, 1.2)
    assert turn([HI], repeat_penalty=1.3).sampling.repeat_penalty == 1.3
    assert turn([HI], typical=0.5).sampling.typical_p == 0.5
    assert turn([HI], dry_sequence_breakers=["."]).sampling.dry_sequence_breakers == (".",)


def set_for_model(sampling: dict[str, Any], system_prompt: str = "") -> ChatFile:
    return ChatFile("some-model", FILE.path, defaults=Defaults(system_prompt, sampling))


def test_what_is_set_for_the_model_counts_where_the_request_names_nothing() -> None:
    file = set_for_model({"temperature": 0.1, "top_k": 3, "max_tokens": 7, "stop": ["x"]})
    body = ChatRequest.model_validate(
        {"messages": [HI], "temperature": 0.8, "top_k": None, "max_tokens": None}
    )
    made = turn_from(body, file, 100)
    assert (made.sampling.temperature, made.sampling.top_k) == (0.8, 3)
    assert (made.max_tokens, made.stop) == (7, ("x",))
    assert turn_from(body, FILE, 100).sampling.top_k == 40


@pytest.mark.parametrize(
    ("named", "sampling"),
    [
        ({"max_completion_tokens": 5}, {"max_tokens": 7}),
        ({"max_tokens": 5}, {"max_tokens": 7}),
        ({"repetition_penalty": 5}, {"repeat_penalty": 7}),
        ({"repeat_penalty": 5}, {"repeat_penalty": 7}),
    ],
)
def test_a_request_wins_by_any_name_over_what_is_set_for_the_model(
    named: dict[str, int], sampling: dict[str, int]
) -> None:
    body = ChatRequest.model_validate({"messages": [HI], **named})
    made = turn_from(body, set_for_model(sampling))
    assert 5 in (made.max_tokens, made.sampling.repeat_penalty)
    assert 7 not in (made.max_tokens, made.sampling.repeat_penalty)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_models_system_prompt_stands_before_messages_that_have_none(role: str) -> None:
    file = set_for_model({}, "Be kind.")
    own = [HI, {"role": role, "content": ""}]
    for messages, expected in (([HI], ["Be kind.", "Hi"]), (own, ["Hi", ""])):
        body = ChatRequest.model_validate({"messages": messages})
        made = turn_from(body, file)
        assert [message["content"] for message in made.messages] == expected
    assert made.messages[1]["role"] == "system"


def test_the_least_request_is_sampled_as_llama_server_would() -> None:
    assert turn([HI]).sampling == Sampling(0.8, 0.95, 40, 0.05, 1.0, 0, 0, -1)


@pytest.mark.parametrize("bias", [{"5": -100, "7": 2.5}, [[5, -100], ["7", 2.5]]])
def test_a_bias_is_an_object_or_a_list_of_pairs(bias: Any) -> None:
    assert turn([HI], logit_bias=bias).sampling.logit_bias == ((5, -100.0), (7, 2.5))


def test_logprobs_are_asked_for_with_or_without_the_likeliest() -> None:
    assert turn([HI]).num_top_logprobs is None
    assert turn([HI], logprobs=True).num_top_logprobs == 0
    assert turn([HI], logprobs=True, top_logprobs=20).num_top_logprobs == 20


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"function_call": {"name": "f"}}, "function_call"),
    ],
)
def test_what_would_change_the_answers_form_is_refused_not_ignored(
    fields: dict[str, Any], param: str
) -> None:
    assert refusal([HI], **fields).param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "text"}, "tool_choice": "auto", "function_call": "none"},
        {"tools": [{"type": "function", "function": {"name": "f", "description": None}}]},
        {"tools": [], "logprobs": False, "top_logprobs": 0, "logit_bias": {"1": 2}},
        {"user": "x", "store": True, "modalities": ["text"], "reasoning_effort": "low"},
    ],
)
def test_what_does_not_change_the_answers_form_is_accepted(fields: dict[str, Any]) -> None:
    assert turn([HI], **fields).messages == [HI]
