"""Messages become the prompt that the model's own template makes of them."""

from itertools import product
from typing import Any

import pytest

from engine_room.chat.template import PromptTemplate
from engine_room.errors import InvalidRequest
from tests.test_chat_format import HI, turn

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


def prompt(template: str, messages: list[dict[str, Any]], **fields: Any) -> str:
    return PromptTemplate(template, "<s>", "</s>").prompt(turn(messages, **fields)).text


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


def test_half_a_surrogate_pair_in_what_the_template_prints_is_refused() -> None:
    error = refusal([HI], "{{ mood }}", chat_template_kwargs={"mood": "\ud83d"})
    assert error.message == "A message has half of a surrogate pair."
