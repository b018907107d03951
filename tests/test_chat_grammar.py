"""Answers keep to what a schema or a grammar allows, and what cannot be kept to is refused with the part."""

import json
from typing import Any, Literal

import jsonschema
import openai
import pytest
from pydantic import BaseModel

from engine_room.chat.grammar import MAX_GRAMMAR_CHARS, gbnf_grammar, json_grammar
from engine_room.errors import InvalidRequest

QUESTION: Any = [{"role": "user", "content": "Tell me about the city of Paris, as JSON."}]


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ({"type": "strin"}, "strin"),
        ({"$ref": "#/definitions/nowhere"}, "/definitions/nowhere"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "'a'"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "incompatible"),
        ({"not": {}}, "not"),
        ({"type": "string", "pattern": "(?=x)"}, "look-ahead"),
        ({"enum": ["x" * MAX_GRAMMAR_CHARS]}, "at most 200,000"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused_with_the_part(
    schema: dict[str, Any], part: str
) -> None:
    with pytest.raises(InvalidRequest, match="response_format") as caught:
        json_grammar(schema, "response_format")
    assert part in caught.value.message
    assert caught.value.param == "response_format"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"anyOf": [{"const": number} for number in range(10_000)]},
    ],
)
def test_recursive_and_large_schemas_make_sense(schema: dict[str, Any]) -> None:
    assert json_grammar(schema, "response_format").definition


@pytest.mark.parametrize("text", ["bad bad", "root ::= nowhere", 'root ::= ("a"*)*', "root ::= ("])
def test_a_grammar_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="grammar cannot be followed"):
        gbnf_grammar(text, "grammar")


class City(BaseModel):
    """What the model is asked for."""

    name: str
    size: Literal["small", "large"]
    is_capital: bool


def test_the_official_client_parses_an_answer_into_a_class(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="gpt-4", messages=QUESTION, response_format=City, max_tokens=100
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.parsed is not None


@pytest.mark.parametrize("temperature", [0, 1, 5])
def test_every_answer_is_valid_however_it_is_drawn(
    client: openai.OpenAI, temperature: float
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "maxItems": 3},
            "year": {"type": "integer", "minimum": 1900, "maximum": 2100},
            "note": {"type": "string", "maxLength": 8},
        },
        "required": ["tags", "year", "note"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="gpt-4",
        messages=QUESTION,
        n=3,
        max_tokens=200,
        temperature=temperature,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content or ""), schema)


def test_json_object_is_an_object_from_its_first_character(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(
        model="gpt-4",
        messages=QUESTION,
        max_tokens=20,
        stream=True,
        response_format={"type": "json_object"},
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.startswith("{")


def test_an_answer_keeps_to_a_gbnf_grammar(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4", messages=QUESTION, n=4, extra_body={"grammar": 'root ::= "yes" | "no"'}
    )
    assert {choice.message.content for choice in answer.choices} <= {"yes", "no"}


def test_a_constrained_answer_runs_beside_free_ones(client: openai.OpenAI) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(number: int) -> str:
        form: Any = {"extra_body": {"grammar": "root ::= [0-9]{12}"}} if number % 2 else {}
        answer = client.chat.completions.create(
            model="gpt-4", messages=QUESTION, max_tokens=20, **form
        )
        return answer.choices[0].message.content or ""

    with ThreadPoolExecutor(6) as pool:
        texts = list(pool.map(ask, range(6)))
    assert all(text.isdecimal() and len(text) == 12 for text in texts[1::2])
    assert not any(text.isdecimal() for text in texts[::2])
