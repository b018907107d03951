"""Logprobs are the model's own, and come with the text of their token, whole and streamed."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from engine_room.chat.logprobs import (
    HeldLogprobs,
    Spelling,
    TokenLogprob,
    token_logprob,
    wire,
)
from tests.conftest import Server

LOGITS = np.log(np.array([1, 2, 5], np.float32)) + np.float32(7)
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]


def letter(token: int) -> Spelling:
    return Spelling("abc"[token], b"abc"[token : token + 1])


def known(text: str) -> TokenLogprob:
    return TokenLogprob(Spelling(text, text.encode()), -1.0)


def test_a_logprob_is_the_logarithm_of_the_tokens_share() -> None:
    each = token_logprob(LOGITS, 1, 0, letter)
    assert each.spelling == Spelling("b", b"b")
    assert each.logprob == pytest.approx(math.log(2 / 8), abs=1e-6)
    assert each.top == ()


def test_the_likeliest_come_first_and_equals_in_their_order() -> None:
    top = token_logprob(LOGITS, 0, 2, letter).top
    assert [other.spelling.text for other in top] == ["c", "b"]
    assert top[0].logprob == pytest.approx(math.log(5 / 8), abs=1e-6)
    even = token_logprob(np.zeros(3, np.float32), 0, 20, letter).top
    assert [other.spelling.text for other in even] == ["a", "b", "c"]


def test_large_logits_and_none_at_all_are_numbers_that_json_knows() -> None:
    extreme = np.array([1e30, -np.inf, 5], np.float32)
    each = [token_logprob(extreme, token, 0, letter).logprob for token in range(3)]
    assert each == [0.0, -9999.0, -9999.0]
    assert json.loads(json.dumps(each, allow_nan=False)) == each


def test_on_the_wire_they_have_openais_shape() -> None:
    control = TokenLogprob(Spelling("<|im_end|>", None), -2.5)
    part = TokenLogprob(Spelling("\ufffd", b"\xf0\x9f"), -0.5, (control,))
    assert wire([part]) == {
        "content": [
            {
                "token": "\ufffd",
                "logprob": -0.5,
                "bytes": [240, 159],
                "top_logprobs": [{"token": "<|im_end|>", "logprob": -2.5, "bytes": None}],
            }
        ],
        "refusal": None,
    }
    assert wire([]) is None


def names(logprobs: tuple[TokenLogprob, ...]) -> list[str]:
    return [each.spelling.text for each in logprobs]


def held(*tokens: tuple[str, int]) -> HeldLogprobs:
    """Those of tokens that made so many characters each."""
    holding = HeldLogprobs()
    for name, num_chars in tokens:
        holding.add(known(name))
        holding.written(num_chars)
    return holding


def test_a_token_goes_with_the_first_of_its_text() -> None:
    holding = held(("one E", 5), ("N", 1))
    assert names(holding.sent_until(4)) == ["one E"]
    assert names(holding.sent_until(5)) == []
    assert names(holding.sent_until(6)) == ["N"]
    assert holding.rest() == ()


def test_the_tokens_of_one_character_go_together() -> None:
    holding = held(("a", 1), ("\xf0", 0), ("\x9f", 0), ("\x8e\x89", 1))
    assert names(holding.sent_until(1)) == ["a"]
    assert len(holding.sent_until(2)) == 3


def test_what_never_became_text_goes_at_the_end() -> None:
    holding = held(("a", 1), ("\xf0", 0))
    assert names(holding.sent_until(1)) == ["a"]
    assert names(holding.rest()) == ["\xf0"]
    assert holding.rest() == ()


# ---------------------------------------------------------------- on the wire


def asked(client: openai.OpenAI, **fields: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "gpt-4", "messages": QUESTION, "max_tokens": 16, "temperature": 0} | fields
    )


def joined(content: list[Any]) -> bytes:
    return b"".join(bytes(each.bytes) for each in content)


def test_a_greedy_answer_is_made_of_the_likeliest_tokens(client: openai.OpenAI) -> None:
    choice = asked(client, logprobs=True, top_logprobs=20).choices[0]
    content = choice.logprobs.content
    assert choice.logprobs.refusal is None
    assert joined(content).decode() == choice.message.content
    for each in content:
        top = [other.logprob for other in each.top_logprobs]
        assert len(top) == 20
        assert top == sorted(top, reverse=True)
        assert each.top_logprobs[0].token == each.token
        assert each.top_logprobs[0].logprob == each.logprob
        assert 0.3 < sum(map(math.exp, top)) <= 1.0001
    assert all(each.logprob < 0.0001 for each in content)


def test_the_end_of_an_answer_is_no_token_of_it(client: openai.OpenAI) -> None:
    question = [
        {"role": "user", "content": "What is the capital of France? Answer in one sentence."}
    ]
    answer = asked(client, logprobs=True, max_tokens=60, messages=question)
    assert answer.choices[0].finish_reason == "stop"
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens - 1
    assert all(each.top_logprobs == [] for each in content)


def test_without_asking_there_are_none(client: openai.OpenAI) -> None:
    assert asked(client).choices[0].logprobs is None
    assert asked(client, logprobs=False, top_logprobs=None).choices[0].logprobs is None
    assert all(chunk.choices[0].logprobs is None for chunk in asked(client, stream=True))


def test_a_stream_carries_them_with_the_text_they_are_of(client: openai.OpenAI) -> None:
    # With a seed, for the last bits of logits depend on what is cached and on the threads.
    fields = {"logprobs": True, "top_logprobs": 2, "seed": 1}
    whole = asked(client, **fields).choices[0].logprobs.content
    streamed = []
    for chunk in asked(client, **fields, stream=True):
        choice = chunk.choices[0]
        if choice.delta.content:
            assert joined(choice.logprobs.content).decode() == choice.delta.content
            streamed += choice.logprobs.content
        else:
            assert choice.logprobs is None
    assert [each.token for each in streamed] == [each.token for each in whole]
    for one, other in zip(streamed, whole, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=0.05)


def test_each_of_several_answers_has_its_own(client: openai.OpenAI) -> None:
    answer = asked(client, logprobs=True, top_logprobs=1, n=3, temperature=1.5, seed=4)
    for choice in answer.choices:
        assert joined(choice.logprobs.content).decode() == choice.message.content
    chunks = asked(client, logprobs=True, n=2, temperature=1.5, seed=4, stream=True)
    content: list[list[Any]] = [[], []]
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            content[choice.index] += choice.logprobs.content if choice.logprobs else []
    assert [joined(each).decode() for each in content] == texts


def test_tokens_that_a_stop_string_took_are_not_sent(client: openai.OpenAI) -> None:
    text = asked(client).choices[0].message.content
    stop = text[10:14]
    choice = asked(client, logprobs=True, stop=[stop]).choices[0]
    sent = joined(choice.logprobs.content).decode()
    assert choice.message.content == text[: text.index(stop)]
    assert sent.startswith(choice.message.content)
    last = choice.logprobs.content[-1].token
    assert len(sent) - len(last) < len(choice.message.content)


@pytest.fixture
def party(client: openai.OpenAI) -> Iterator[Any]:
    """Chunks of an answer in which each character takes several tokens; the limit cuts the last in two."""
    emoji = "👍" * 20
    messages: Any = [
        {"role": "user", "content": f"Repeat this: {emoji}"},
        {"role": "assistant", "content": emoji},
    ]
    extra = {"continue_final_message": True}
    return iter(
        asked(
            client,
            messages=messages,
            max_tokens=7,
            logprobs=True,
            top_logprobs=1,
            stream=True,
            extra_body=extra,
        )
    )


def test_the_parts_of_a_character_have_their_bytes_and_a_mark_for_text(party: Any) -> None:
    pieces = []
    for chunk in party:
        choice = chunk.choices[0]
        if choice.logprobs:
            pieces.append((choice.delta.content, choice.logprobs.content))
    assert [text for text, _ in pieces] == ["👍", "👍", ""]
    for text, content in pieces[:2]:
        assert len(content) > 1
        assert joined(content).decode() == text
        assert content[0].token == "\ufffd"
    assert "👍".encode().startswith(joined(pieces[2][1]))


def test_they_are_the_models_own_whatever_is_done_to_the_draw(client: openai.OpenAI) -> None:
    free = asked(client, logprobs=True, top_logprobs=20, max_tokens=1)
    first = free.choices[0].logprobs.content[0]
    changed: list[dict[str, Any]] = [
        {"logit_bias": {"260": 100}},
        {"temperature": 50, "seed": 1},
        {"extra_body": {"grammar": 'root ::= "xyz"'}},
        {"presence_penalty": 2},
    ]
    for fields in changed:
        answer = asked(client, logprobs=True, top_logprobs=20, max_tokens=1, **fields)
        other = answer.choices[0].logprobs.content[0]
        assert other.logprob <= first.logprob + 0.05
        assert other.top_logprobs[0].token == first.token
        assert other.top_logprobs[0].logprob == pytest.approx(first.logprob, abs=0.05)


def test_an_answer_without_a_token_has_none(client: openai.OpenAI) -> None:
    choice = asked(client, logprobs=True, extra_body={"grammar": 'root ::= ""'}).choices[0]
    assert choice.message.content == ""
    assert choice.logprobs is None


def test_what_silly_tavern_sends_is_answered(server: Server) -> None:
    body = {"messages": QUESTION, "max_tokens": 3, "logprobs": True, "top_logprobs": 5, "seed": -1}
    with server.http() as http:
        choice = http.post("/v1/chat/completions", json=body).json()["choices"][0]
    assert set(choice["logprobs"]) == {"content", "refusal"}
    assert set(choice["logprobs"]["content"][0]) == {"token", "logprob", "bytes", "top_logprobs"}
    assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 5
