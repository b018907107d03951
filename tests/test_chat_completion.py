"""Raw prompts and tokens are on the wire what clients of OpenAI, llama-server and vLLM expect."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_room.catalogue import ChatFile
from engine_room.chat.completion import (
    TOKENS_A_PIECE,
    CompletionAnswer,
    completion_turn,
    token_list,
    tokenize_turn,
)
from engine_room.chat.turn import (
    ChatResult,
    ChatTurn,
    CompletionTurn,
    Finish,
    Text,
    Tokenized,
    TokenizeTurn,
)
from engine_room.errors import InvalidRequest
from engine_room.model_settings import Defaults
from engine_room.schemas_completion import CompletionRequest, TextCompletion, TokenizeRequest

FILE = ChatFile("some-model", Path("some-model.gguf"))
RESULT = ChatResult(7, 3, 5, prompt_s=0.5, generation_s=0.25)
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
TWO: list[Text | Finish] = [
    Text(1, "B"),
    Text(0, "A"),
    Finish(1, "stop"),
    Text(0, "C"),
    Finish(0, "length"),
]


def turn(**fields: Any) -> CompletionTurn:
    return completion_turn(CompletionRequest.model_validate({"prompt": "Hi"} | fields), FILE)


def test_what_is_set_for_the_model_counts_where_a_raw_prompt_names_nothing() -> None:
    sampling = {"top_k": 3, "max_tokens": 7, "stop": "x"}
    file = ChatFile("some-model", FILE.path, defaults=Defaults("Be kind.", sampling))
    body = CompletionRequest.model_validate({"prompt": "Hi"})
    made = completion_turn(body, file)
    assert (made.sampling.top_k, made.max_tokens, made.stop) == (3, 7, ("x",))
    assert made.prompts == ("Hi",)
    named = {"prompt": "Hi", "max_new_tokens": 0, "top_k": 5, "stop": []}
    made = completion_turn(CompletionRequest.model_validate(named), file)
    assert (made.sampling.top_k, made.max_tokens, made.stop) == (5, 0, ())


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        turn(**fields)
    return caught.value


def chunks(answer: CompletionAnswer) -> list[Any]:
    middle = [frame for item in TWO for frame in answer.item(item)]
    return [*answer.opening(), *middle, *answer.closing(RESULT)]


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("Hi", ("Hi",)),
        ("", ("",)),
        (["Hi", "Ho"], ("Hi", "Ho")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        ([[1, 2], "Hi"], ((1, 2), "Hi")),
    ],
)
def test_a_prompt_is_a_text_or_token_ids_or_a_list_of_either(
    prompt: Any, prompts: tuple[Any]
) -> None:
    assert turn(prompt=prompt).prompts == prompts


def test_an_answer_is_sixteen_tokens_long_unless_said_otherwise() -> None:
    assert turn().max_tokens == 16
    assert turn(max_new_tokens=7).max_tokens == 7
    assert turn(max_new_tokens=7, max_tokens=5).max_tokens == 5
    assert turn(max_tokens=0).max_tokens == 0


@pytest.mark.parametrize(
    ("stop", "stops"), [(None, ()), ("x", ("x",)), ("", ()), (["a", "", "b"], ("a", "b"))]
)
def test_stop_is_null_a_string_or_a_list(stop: Any, stops: tuple[str]) -> None:
    assert turn(stop=stop).stop == stops


def test_what_silly_tavern_sends_is_taken() -> None:
    body = {
        "max_new_tokens": 50,
        "max_tokens": 50,
        "temperature": 0.7,
        "top_k": 20,
        "repetition_penalty": 1.2,
        "rep_pen": 1.2,
        "add_bos_token": True,
        "truncation_length": 2048,
        "ban_eos_token": False,
        "skip_special_tokens": True,
        "stopping_strings": ["\nUser:"],
        "stop": ["\nUser:"],
        "sampler_priority": ["temperature"],
        "dry_sequence_breakers": '["\\n"]',
        "seed": -1,
        "stream": True,
        "grammar": "",
        "logprobs": None,
        "n": None,
    }
    taken = turn(**body)
    assert (taken.max_tokens, taken.stop, taken.num_answers) == (50, ("\nUser:",), 1)
    assert (taken.sampling.top_k, taken.sampling.repeat_penalty) == (20, 1.2)


def test_an_answer_keeps_to_a_grammar_or_a_schema_however_it_is_given() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert turn().grammar is None
    assert turn(grammar='root ::= "a"').grammar
    assert turn(json_schema=schema).grammar == turn(response_format=wrapped).grammar
    assert turn(json_schema={}).grammar


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"best_of": 2}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"grammar": "root ::= x"}, "grammar"),
        ({"json_schema": {"type": "wizard"}}, "json_schema"),
        ({"json_schema": {}, "grammar": 'root ::= "a"'}, "json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"prompt": ["Hi"] * 65, "n": 2}, "prompt"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


def test_best_of_may_say_again_what_n_says() -> None:
    assert turn(best_of=2, n=2).num_answers == 2


def test_a_whole_answer_has_every_field_that_clients_read() -> None:
    body = CompletionAnswer("some-model", 2).whole(TWO, RESULT)
    assert body.pop("id").startswith("cmpl-")
    assert body.pop("created") > 1_700_000_000
    assert body.pop("timings")["predicted_per_second"] == 8
    assert body == {
        "object": "text_completion",
        "model": "some-model",
        "choices": [
            {"text": "AC", "index": 0, "logprobs": None, "finish_reason": "length"},
            {"text": "B", "index": 1, "logprobs": None, "finish_reason": "stop"},
        ],
        "usage": USAGE,
    }


def test_a_stream_is_the_text_as_it_comes_and_once_why_it_ended() -> None:
    frames = chunks(CompletionAnswer("m", 2))
    for frame in frames:
        TextCompletion.model_validate(frame, strict=True)
    choices = [frame["choices"][0] for frame in frames]
    assert [(c["index"], c["text"], c["finish_reason"]) for c in choices] == [
        (1, "B", None),
        (0, "A", None),
        (1, "", "stop"),
        (0, "C", None),
        (0, "", "length"),
    ]
    assert len({(f["id"], f["created"], f["object"], f["model"]) for f in frames}) == 1


@pytest.mark.parametrize("include_usage", [False, True])
def test_the_last_chunk_has_the_timings_and_the_usage_if_asked_for(include_usage: bool) -> None:
    *others, last = chunks(CompletionAnswer("m", 2, include_usage))
    assert last["timings"]["predicted_n"] == 3
    assert last.get("usage") == (USAGE if include_usage else None)
    assert (last["choices"] == []) == include_usage
    assert not any({"timings", "usage"} & chunk.keys() for chunk in others)


# ---------------------------------------------------------------- tokens


def asked(**fields: Any) -> TokenizeTurn:
    return tokenize_turn(TokenizeRequest.model_validate(fields), FILE)


def test_llama_servers_text_has_nothing_around_it_and_vllms_has_unless_said_otherwise() -> None:
    assert asked(content="a") == TokenizeTurn(file=FILE, content="a", add_special=False)
    assert asked(prompt="a") == TokenizeTurn(file=FILE, content="a", add_special=True)
    assert asked(content="a", add_special=True).add_special
    assert not asked(prompt="a", add_special_tokens=False).add_special
    assert not asked(content="", parse_special=False).parse_special


def test_messages_are_read_as_a_chat_reads_them() -> None:
    messages = [{"role": "user", "content": "Hi"}]
    chat = asked(messages=messages, add_generation_prompt=False).content
    assert isinstance(chat, ChatTurn)
    assert chat.messages == messages
    assert chat.template_arguments["add_generation_prompt"] is False


@pytest.mark.parametrize(
    "fields", [{}, {"content": "a", "prompt": "a"}, {"prompt": "a", "messages": [{"role": "user"}]}]
)
def test_one_text_is_wanted_and_only_one(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of content, prompt and messages"):
        asked(**fields)


@pytest.mark.parametrize("num_tokens", [0, 1, TOKENS_A_PIECE, 2 * TOKENS_A_PIECE + 1])
def test_a_list_of_tokens_of_any_length_is_json(num_tokens: int) -> None:
    tokens = np.arange(num_tokens, dtype=np.int32)
    assert json.loads(token_list(Tokenized(tokens, 512))) == {
        "tokens": list(range(num_tokens)),
        "count": num_tokens,
        "max_model_len": 512,
    }


def test_a_piece_is_text_or_the_bytes_of_a_part_of_a_character() -> None:
    pieces = {0: b"", 7: b' "a', 8: b"\xf0\x9f"}
    body = json.loads(token_list(Tokenized(np.array([8, 7, 7, 0], np.int32), 512, pieces)))
    assert body["tokens"] == [
        {"id": 8, "piece": [0xF0, 0x9F]},
        {"id": 7, "piece": ' "a'},
        {"id": 7, "piece": ' "a'},
        {"id": 0, "piece": ""},
    ]
