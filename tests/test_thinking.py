"""A model that thinks before it answers: the bundled one, with a template that has it think."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from gguf import GGUFReader

from engine_room.catalogue import Catalogue
from engine_room.settings import Settings
from tests.conftest import running_server

OLD_END = "{{ '<|im_start|>assistant\n' }}{% endif %}"
NEW_END = "<|im_start|>assistant\n<think>{% endif %}"
HI: Any = {"role": "user", "content": "Hi"}


def with_thinking(source: Path, target: Path) -> None:
    """A copy of a GGUF whose template ends the prompt in thoughts, in as many bytes as before."""
    data = source.read_bytes()
    template = GGUFReader(source).fields["tokenizer.chat_template"].contents()
    assert template.endswith(OLD_END)
    # A comment that names the end of thoughts, as such templates do, and makes up for the length.
    changed = template.removesuffix(OLD_END).replace(" named SmolLM, trained by Hugging Face", "")
    room = len(template) - len(changed) - len(NEW_END) - len("{##}")
    changed += "{#" + "</think>".ljust(room) + "#}" + NEW_END
    assert len(changed) == len(template)
    assert data.count(template.encode()) == 1
    target.write_bytes(data.replace(template.encode(), changed.encode()))


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("thinker")
    for name in ("models", "audio", "voice_clones"):
        (folder / name).mkdir()
    source = Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct").path
    with_thinking(source, folder / "models" / "thinker.gguf")
    with running_server(folder) as server, server.client() as client:
        yield client


def asked(client: openai.OpenAI, **fields: Any) -> Any:
    defaults: dict[str, Any] = {"messages": [HI], "max_tokens": 12, "temperature": 0}
    return client.chat.completions.create(model="thinker", **(defaults | fields))


def test_thoughts_are_not_the_answer_and_are_counted(thinker: openai.OpenAI) -> None:
    answer = asked(thinker)
    message = answer.choices[0].message
    assert message.reasoning_content
    assert message.content == ""
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens_details.reasoning_tokens == 12


def test_streamed_thoughts_are_the_same(thinker: openai.OpenAI) -> None:
    whole = asked(thinker).choices[0].message.reasoning_content
    deltas = [chunk.choices[0].delta for chunk in asked(thinker, stream=True)]
    parts = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    assert "".join(parts) == whole
    assert not any(delta.content for delta in deltas)


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_effort": "none"},
        {"extra_body": {"enable_thinking": False}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    ],
)
def test_a_model_told_not_to_think_answers_at_once(
    thinker: openai.OpenAI, fields: dict[str, Any]
) -> None:
    answer = asked(thinker, **fields)
    assert answer.choices[0].message.content
    assert not hasattr(answer.choices[0].message, "reasoning_content")
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0


def test_an_answer_after_thoughts_keeps_to_its_form_and_thoughts_are_free(
    thinker: openai.OpenAI,
) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert asked(thinker, response_format=form).choices[0].message.reasoning_content
    begun = {"role": "assistant", "content": "<think>I say yes.</think>"}
    answer = asked(
        thinker,
        messages=[HI, begun],
        response_format=form,
        max_tokens=40,
        extra_body={"continue_final_message": True},
    )
    assert isinstance(json.loads(answer.choices[0].message.content)["ok"], bool)
