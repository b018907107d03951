"""Requests become turns, messages become prompts, and stop strings never show."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from engine_room.catalogue import ChatFile
from engine_room.chat.format import PromptTemplate, StopStrings, turn_from
from engine_room.chat.turn import ChatTurn, Sampling
from engine_room.errors import InvalidRequest
from engine_room.schemas_chat import ChatRequest

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As in the tokenizer_config.json of Mistral-7B-Instruct-v0.2.
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)
# As in the tokenizer_config.json of gemma-2b-it.
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + "
    "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
FILE = ChatFile("some-model", Path("some-model.gguf"))
HI: dict[str, Any] = {"role": "user", "content": "Hi"}


def turn(messages: list[dict[str, Any]], **fields: Any) -> ChatTurn:
    return turn_from(ChatRequest.model_validate({"messages": messages, **fields}), FILE)


def prompt(template: str, messages: list[dict[str, Any]], **fields: Any) -> str:
    return PromptTemplate(template, "<s>", "</s>").prompt(turn(messages, **fields))


def said(*pairs: str) -> list[dict[str, Any]]:
    """Messages from "role: content" lines."""
    return [dict(zip(("role", "content"), pair.split(": "), strict=True)) for pair in pairs]


def refusal(messages: list[dict[str, Any]], template: str = SMOLLM2, **fields: Any) -> Any:
    with pytest.raises(InvalidRequest) as caught:
        prompt(template, messages, **fields)
    return caught.value


# ---------------------------------------------------------------- prompts


def test_a_conversation_becomes_the_prompt_that_the_models_template_makes() -> None:
    messages = said("system: Be brief.", "user: Hi", "assistant: Hello", "user: Bye")
    assert prompt(SMOLLM2, messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert prompt(MISTRAL, said("user: Hi", "assistant: Hello", "user: Bye")) == (
        "<s>[INST] Hi [/INST]Hello</s>[INST] Bye [/INST]"
    )


@pytest.mark.parametrize("source", ["", "{% broken", "{{ messages | no_such_filter }}"])
def test_a_model_without_a_usable_template_gets_chatml(source: str) -> None:
    assert prompt(source, said("system: S", "user: Hi")) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_developer_means_system_and_function_means_tool() -> None:
    messages = said("developer: S", "user: Hi", "function: 7")
    assert [m["role"] for m in turn(messages).messages] == ["system", "user", "tool"]


EVERY_ORDER = [
    said(*(f"{role}: {number}" for number, role in enumerate(roles)))
    for length in (1, 2, 3)
    for roles in product(("system", "user", "assistant", "tool"), repeat=length)
]


@pytest.mark.parametrize("template", [SMOLLM2, MISTRAL, GEMMA, ""])
def test_every_order_of_roles_makes_a_prompt_that_has_all_that_was_said(template: str) -> None:
    for messages in EVERY_ORDER:
        text = prompt(template, messages)
        places = [text.rfind(message["content"]) for message in messages]
        assert -1 not in places
        assert places == sorted(places)


def test_a_template_that_refuses_system_gets_it_in_the_user_message() -> None:
    assert prompt(GEMMA, said("system: Be brief.", "user: Hi")) == (
        "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n"
    )
    assert prompt(MISTRAL, said("system: Be brief.", "user: Hi")) == (
        "<s>[INST] Be brief.\n\nHi [/INST]"
    )


def test_a_template_that_wants_turns_to_alternate_gets_them_merged() -> None:
    messages = said("user: A", "user: B", "assistant: C", "assistant: D", "system: E", "user: F")
    assert prompt(MISTRAL, messages) == ("<s>[INST] A\n\nB [/INST]C\n\nD</s>[INST] E\n\nF [/INST]")


def test_a_template_that_wants_the_user_first_gets_an_empty_user_message() -> None:
    assert prompt(MISTRAL, said("assistant: Welcome", "user: Hi")) == (
        "<s>[INST]  [/INST]Welcome</s>[INST] Hi [/INST]"
    )


def test_a_template_that_accepts_the_messages_gets_them_unchanged() -> None:
    text = prompt(SMOLLM2, said("system: A", "system: B", "user: C", "user: D"))
    assert text.count("<|im_start|>") == 5


def test_what_even_the_nearest_form_cannot_say_is_refused_with_the_templates_own_words() -> None:
    error = refusal([HI], "{{ raise_exception('Only on Sundays.') }}")
    assert error.message == "The model's chat template refuses these messages: Only on Sundays."
    assert error.param == "messages"


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content + 1 }}",
        "{{ messages[99].content.x }}",
        "{{ undefined_thing() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ range(999999999) | list }}",
    ],
)
def test_a_template_that_fails_or_misbehaves_is_a_refusal_and_no_crash(template: str) -> None:
    assert refusal([HI], template).status == 400


def test_a_template_has_what_hugging_face_promises_it() -> None:
    source = (
        "{% for message in messages %}{% if message.role == 'system' %}{% continue %}{% endif %}"
        "{{ message | tojson }}{% break %}{% endfor %}|{{ strftime_now('%Y') | length }}"
        "|{{ enable_thinking }}|{{ bos_token }}"
    )
    messages = said("system: S", "user: é", "user: never")
    assert prompt(source, messages, chat_template_kwargs={"enable_thinking": False}) == (
        '{"role": "user", "content": "é"}|4|False|<s>'
    )


def test_template_arguments_cannot_replace_the_messages() -> None:
    assert refusal([HI], chat_template_kwargs={"messages": []}).status == 400


def test_without_the_generation_prompt_the_prompt_ends_with_the_messages() -> None:
    text = prompt(SMOLLM2, said("user: Hi"), add_generation_prompt=False)
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n")


# ---------------------------------------------------------------- continuing a message


@pytest.mark.parametrize("final", ["Once upon", "end", "i", "Hi", "a <|im_end|> b", "…", "\n1."])
def test_a_final_message_is_continued_right_after_its_last_word(final: str) -> None:
    messages = [HI, {"role": "assistant", "content": final}]
    text = prompt(SMOLLM2, messages, continue_final_message=True)
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" + final)


@pytest.mark.parametrize("template", [SMOLLM2, MISTRAL, GEMMA, ""])
def test_spaces_after_a_final_message_are_left_for_the_model_to_say(template: str) -> None:
    messages = [HI, {"role": "assistant", "content": "Once upon \n"}]
    assert prompt(template, messages, continue_final_message=True).endswith("Once upon")


def test_an_empty_final_message_is_begun() -> None:
    messages = [HI, {"role": "assistant", "content": ""}]
    text = prompt(SMOLLM2, messages, continue_final_message=True)
    assert text.endswith("<|im_start|>assistant\n")


def test_strict_templates_continue_the_merged_final_message() -> None:
    messages = said("system: S", "user: Hi", "assistant: A", "assistant: B")
    text = prompt(MISTRAL, messages, continue_final_message=True)
    assert text == "<s>[INST] S\n\nHi [/INST]A\n\nB"


def test_only_an_assistants_message_can_be_continued() -> None:
    error = refusal([HI], continue_final_message=True)
    assert error.message == "continue_final_message needs an assistant message at the end."


# ---------------------------------------------------------------- requests


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
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "http://x"}},
        {"type": "file", "file": {"file_id": "x"}},
    ],
)
def test_a_part_that_is_no_text_is_refused_by_place_and_type(part: dict[str, Any]) -> None:
    error = refusal([HI, {"role": "user", "content": [{"type": "text", "text": "See:"}, part]}])
    assert error.param == "messages[1].content"
    assert error.message == (
        f"messages[1] has a part of type {part['type']!r}; the models of this server read text only."
    )


def test_tool_calls_reach_the_template() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "7", "tool_call_id": "1"},
    ]
    assert turn(messages).messages[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "7", "tool_call_id": "1"},
    ]


def test_half_a_surrogate_pair_in_what_the_template_prints_is_refused() -> None:
    call = {"type": "function", "function": {"name": "\ud83d"}}
    messages = [HI, {"role": "assistant", "content": "", "tool_calls": [call]}]
    error = refusal(messages, "{{ messages[1].tool_calls[0].function.name }}")
    assert error.message == "A message has half of a surrogate pair."


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


# ---------------------------------------------------------------- stop strings


def splits(text: str) -> list[list[str]]:
    """The text cut in every possible way."""
    cuts = product((False, True), repeat=len(text) - 1)
    found = []
    for cut in cuts:
        parts = [text[0]]
        for char, is_cut in zip(text[1:], cut, strict=True):
            if is_cut:
                parts.append(char)
            else:
                parts[-1] += char
        found.append(parts)
    return found


def out(stops: tuple[str, ...], parts: list[str]) -> str:
    """What goes out of an answer that comes in these parts, as the chat engine feeds them."""
    held = StopStrings(stops)
    text = ""
    for part in parts:
        text += held.feed(part)
        if held.found:
            break
    return text + held.rest()


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        (("STOP",), "a STOP b", "a "),
        (("STOP",), "a STO b", "a STO b"),
        (("STOP",), "STSTOPx", "ST"),
        (("aab",), "aaaab!", "aa"),
        (("abab",), "abaabab", "aba"),
        (("xy", "yz"), "axyzb", "a"),
        (("longer one", "er"), "a longer", "a long"),
        (("\n\n",), "a\nb\n\nc", "a\nb"),
        (("x",), "aaaa", "aaaa"),
        ((), "a STOP b", "a STOP b"),
        (("é🙂",), "caféé🙂!", "café"),
    ],
)
def test_however_the_text_is_cut_it_ends_before_the_first_stop_string(
    stops: tuple[str, ...], text: str, expected: str
) -> None:
    for parts in splits(text):
        assert out(stops, parts) == expected, parts


def test_no_part_of_a_stop_string_goes_out_before_it_is_known_to_be_none() -> None:
    held = StopStrings(("<|end|>",))
    assert [held.feed(char) for char in "a<|en"] == ["a", "", "", "", ""]
    assert held.feed("joy") == "<|enjoy"
    assert held.feed("<|end") == ""
    assert held.rest() == "<|end"


def test_after_a_stop_string_nothing_more_goes_out() -> None:
    held = StopStrings(("STOP",))
    assert held.feed("a STOP and more") == "a "
    assert held.found
    assert held.rest() == ""
