"""A turn's items are on the wire what OpenAI's clients expect, whole and in chunks."""

from typing import Any

import pytest

from engine_room.chat.answer import ChatAnswer, timings_of
from engine_room.chat.logprobs import Spelling, TokenLogprob
from engine_room.chat.turn import ChatResult, Finish, Item, Text
from engine_room.schemas_chat import ChatCompletionChunk

RESULT = ChatResult(7, 3, 5, prompt_s=0.5, generation_s=0.25)
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
TIMINGS = {
    "cache_n": 5,
    "prompt_n": 2,
    "prompt_ms": 500.0,
    "prompt_per_token_ms": 250.0,
    "prompt_per_second": 4.0,
    "predicted_n": 3,
    "predicted_ms": 250.0,
    "predicted_per_token_ms": 125.0,
    "predicted_per_second": 8.0,
}
ITEMS: list[Item] = [Text(0, "Hel"), Text(0, "lo"), Finish(0, "stop")]
TWO: list[Item] = [
    Text(0, "A"),
    Finish(0, "length"),
    Text(1, "B"),
    Text(1, "C"),
    Finish(1, "stop"),
]


def chunks(answer: ChatAnswer, items: list[Item]) -> list[Any]:
    frames = [*answer.opening()]
    for item in items:
        frames += answer.item(item)
    return [*frames, *answer.closing(RESULT)]


def test_a_whole_answer_has_every_field_that_clients_read() -> None:
    body = ChatAnswer("some-model").whole(ITEMS, RESULT)
    assert body.pop("id").startswith("chatcmpl-")
    assert body.pop("created") > 1_700_000_000
    assert body == {
        "object": "chat.completion",
        "model": "some-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "timings": TIMINGS,
    }


def test_several_answers_are_several_choices() -> None:
    choices = ChatAnswer("m", num_answers=2).whole(TWO, RESULT)["choices"]
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in choices] == [
        (0, "A", "length"),
        (1, "BC", "stop"),
    ]


def test_logprobs_are_in_the_choice_of_their_answer_and_in_the_chunk_of_their_text() -> None:
    one, two = (TokenLogprob(Spelling(text, text.encode()), -0.5) for text in "AB")
    items: list[Item] = [
        Text(0, "A", (one,)),
        Text(1, "B", (two,)),
        Finish(1, "stop"),
        Finish(0, "stop"),
    ]
    entry = {"token": "B", "logprob": -0.5, "bytes": [66], "top_logprobs": []}
    whole = ChatAnswer("m", num_answers=2).whole(items, RESULT)
    assert whole["choices"][1]["logprobs"] == {"content": [entry], "refusal": None}
    [frame] = ChatAnswer("m", num_answers=2).item(items[1])
    chunk = ChatCompletionChunk.model_validate(frame, strict=True)
    assert chunk.model_dump()["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}


def test_an_answer_without_text_is_an_empty_string() -> None:
    answer = ChatAnswer("m").whole([Finish(0, "stop")], RESULT)
    assert answer["choices"][0]["message"]["content"] == ""


def test_a_stream_says_who_speaks_then_the_text_then_once_why_it_ended() -> None:
    choices = [chunk["choices"] for chunk in chunks(ChatAnswer("m"), ITEMS)]
    assert choices == [
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
        [{"index": 0, "delta": {"content": "Hel"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {"content": "lo"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
    ]


def test_all_chunks_of_an_answer_share_id_time_and_model_and_two_answers_do_not() -> None:
    answer = ChatAnswer("m", include_usage=True)
    heads = {(c["id"], c["created"], c["model"], c["object"]) for c in chunks(answer, ITEMS)}
    assert len(heads) == 1
    assert heads.pop()[2:] == ("m", "chat.completion.chunk")
    assert chunks(ChatAnswer("m"), ITEMS)[0]["id"] != chunks(answer, ITEMS)[0]["id"]


def test_usage_is_in_one_last_chunk_without_choices_and_only_if_asked_for() -> None:
    with_usage = chunks(ChatAnswer("m", include_usage=True), ITEMS)
    assert with_usage[-1]["choices"] == []
    assert with_usage[-1]["usage"] == USAGE
    assert all("usage" not in chunk for chunk in with_usage[:-1])
    assert all("usage" not in chunk for chunk in chunks(ChatAnswer("m"), ITEMS))


def test_each_of_several_streamed_answers_begins_and_ends_once() -> None:
    frames = chunks(ChatAnswer("m", num_answers=2), TWO)
    for index in (0, 1):
        own = [c for f in frames for c in f["choices"] if c["index"] == index]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert [c["finish_reason"] is None for c in own] == [True] * (len(own) - 1) + [False]
        assert "".join(c["delta"].get("content", "") for c in own) == ["A", "BC"][index]


@pytest.mark.parametrize("include_usage", [False, True])
def test_timings_are_in_the_last_chunk_and_in_no_other(include_usage: bool) -> None:
    *others, last = chunks(ChatAnswer("m", 2, include_usage), TWO)
    assert last["timings"] == TIMINGS
    assert all("timings" not in chunk for chunk in others)
    assert ("usage" in last) == include_usage
    assert (last["choices"] == []) == include_usage


def test_what_took_no_time_has_no_speed() -> None:
    timings = timings_of(ChatResult(7, 1, 7))
    assert (timings.prompt_per_second, timings.prompt_per_token_ms) == (0, 0)
    assert (timings.predicted_per_second, timings.predicted_per_token_ms) == (0, 0)


def test_no_chunk_has_a_field_that_makes_a_client_stumble() -> None:
    forbidden = {"type", "event", "message", "detail", "selected_model_id", "error"}
    for chunk in chunks(ChatAnswer("m", include_usage=True), ITEMS):
        assert not forbidden & chunk.keys()
        for choice in chunk["choices"]:
            assert "tool_calls" not in choice["delta"]


def test_every_chunk_is_what_the_documentation_says() -> None:
    for chunk in chunks(ChatAnswer("m", num_answers=2, include_usage=True), TWO):
        ChatCompletionChunk.model_validate(chunk, strict=True)
