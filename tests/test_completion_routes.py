"""Raw prompts, tokens and timings as the official client and plain ones use them, on the real server."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion

from engine_room.catalogue import Catalogue
from engine_room.settings import Settings
from tests.conftest import Server
from tests.test_chat_vocabulary import with_infill_tokens

COMPLETE = "/v1/completions"
FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
# Said so often, each is said again by so wide a margin that the last bits of a batch do not matter.
RED, DOG = (" ".join(["Again:", *[word] * 12]) for word in ("red", "dog"))
GREEDY: dict[str, Any] = {"model": "gpt-4", "temperature": 0, "max_tokens": 4}
TIMINGS = {
    "cache_n",
    *(f"prompt_{name}" for name in ("n", "ms", "per_token_ms", "per_second")),
    *(f"predicted_{name}" for name in ("n", "ms", "per_token_ms", "per_second")),
}


def tokens_of(server: Server, text: str) -> list[int]:
    with server.http() as http:
        tokens: list[int] = http.post("/tokenize", json={"content": text}).json()["tokens"]
    return tokens


def texts(answer: Completion) -> list[str]:
    assert [choice.index for choice in answer.choices] == list(range(len(answer.choices)))
    return [choice.text for choice in answer.choices]


def test_a_prompt_is_continued(client: openai.OpenAI) -> None:
    answer = client.completions.create(prompt=FRANCE, **GREEDY)
    assert texts(answer)[0].startswith(" Paris")
    assert (answer.object, answer.model) == ("text_completion", "smollm2-135m-instruct")
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 4)
    assert answer.usage.total_tokens == 9


def test_every_form_of_a_prompt_is_continued_alike(client: openai.OpenAI, server: Server) -> None:
    ids = [tokens_of(server, prompt) for prompt in (RED, DOG)]
    both = [" red" * 4, " dog" * 4]
    assert texts(client.completions.create(prompt=[RED, DOG], **GREEDY)) == both
    assert texts(client.completions.create(prompt=ids, **GREEDY)) == both
    assert texts(client.completions.create(prompt=ids[1], **GREEDY)) == both[1:]


def test_the_usage_of_several_prompts_is_their_sum_and_each_prompt_counts_once(
    client: openai.OpenAI, server: Server
) -> None:
    prompts = [FRANCE, ITALY, "One, two, three, four, five,"]
    answer = client.completions.create(prompt=prompts, n=2, **GREEDY)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == sum(len(tokens_of(server, text)) for text in prompts)
    assert answer.usage.completion_tokens == 6 * 4
    assert answer.usage.prompt_tokens_details is not None
    cached = answer.usage.prompt_tokens_details.cached_tokens or 0
    assert 0 <= cached < answer.usage.prompt_tokens


def test_a_prompt_that_is_known_is_said_to_be_cached(client: openai.OpenAI) -> None:
    prompt = "A list of the rivers of Europe, from the longest to the shortest:"
    for _ in range(2):
        usage = client.completions.create(prompt=prompt, **GREEDY).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1


def test_the_answers_to_a_prompt_stand_together_prompt_by_prompt(client: openai.OpenAI) -> None:
    answer = client.completions.create(prompt=[FRANCE, ITALY], n=2, **GREEDY)
    assert [text[:5] for text in texts(answer)] == [" Pari", " Pari", " Rome", " Rome"]


def test_a_stream_says_the_same_as_the_whole_answer(client: openai.OpenAI) -> None:
    asked = GREEDY | {"max_tokens": 20}
    whole = client.completions.create(prompt=[RED, DOG], **asked)
    chunks = list(client.completions.create(prompt=[RED, DOG], stream=True, **asked))
    streamed = ["", ""]
    for chunk in chunks:
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == texts(whole)
    endings = [c.choices[0] for c in chunks if c.choices[0].finish_reason]
    assert sorted(choice.index for choice in endings) == [0, 1]
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_carries_its_usage_in_one_last_chunk_when_asked(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            prompt=FRANCE, stream=True, stream_options={"include_usage": True}, **GREEDY
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_same_seed_gives_the_same_answers(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "gpt-4", "max_tokens": 12, "temperature": 1, "n": 3}
    first, again, other = (
        texts(client.completions.create(prompt="Once upon a time", seed=seed, **asked))
        for seed in (7, 7, 8)
    )
    assert first == again != other
    assert len(set(first)) == 3


def test_an_echo_begins_with_the_prompt_as_text_or_as_tokens(
    client: openai.OpenAI, server: Server
) -> None:
    ids = [tokens_of(server, RED), tokens_of(server, DOG)]
    expected = [RED + " red" * 4, DOG + " dog" * 4]
    for prompts in ([RED, DOG], ids):
        assert texts(client.completions.create(prompt=prompts, echo=True, **GREEDY)) == expected
    chunks = client.completions.create(prompt=RED, echo=True, stream=True, **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in chunks) == expected[0]


def test_without_tokens_to_write_the_prompt_is_read_and_echoed(client: openai.OpenAI) -> None:
    asked = GREEDY | {"max_tokens": 0}
    answer = client.completions.create(prompt=FRANCE, echo=True, **asked)
    assert texts(answer) == [FRANCE]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0
    assert texts(client.completions.create(prompt=FRANCE, **asked)) == [""]


def test_a_stop_string_ends_the_answer_before_itself_and_not_in_the_echo(
    client: openai.OpenAI,
) -> None:
    asked = GREEDY | {"max_tokens": 30}
    free = texts(client.completions.create(prompt=FRANCE, **asked))[0]
    stop = free[8:12]
    answer = client.completions.create(prompt=FRANCE, stop=[stop], **asked)
    assert texts(answer) == [free[: free.index(stop)]]
    assert answer.choices[0].finish_reason == "stop"
    echoed = client.completions.create(prompt=FRANCE, stop="capital", echo=True, **GREEDY)
    assert texts(echoed)[0].startswith(FRANCE + " Paris")


def test_an_empty_prompt_is_a_text_that_the_model_begins(client: openai.OpenAI) -> None:
    answer = client.completions.create(prompt="", **GREEDY)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1


def test_names_of_special_tokens_in_a_raw_prompt_are_these_tokens(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        **GREEDY,
    )
    prompt = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is the capital of France?"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    raw = client.completions.create(prompt=prompt, **GREEDY)
    assert texts(raw) == [chat.choices[0].message.content]
    assert raw.usage is not None
    assert chat.usage is not None
    assert raw.usage.prompt_tokens == chat.usage.prompt_tokens


@pytest.mark.parametrize(
    "extra",
    [
        {"grammar": 'root ::= " yes" | " no"'},
        {"json_schema": {"enum": [" yes", " no"]}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": 7}}}},
    ],
)
def test_an_answer_keeps_to_its_grammar(client: openai.OpenAI, extra: dict[str, Any]) -> None:
    asked = GREEDY | {"max_tokens": 10}
    answer = client.completions.create(prompt="Is water wet?", extra_body=extra, **asked)
    assert texts(answer)[0] in {" yes", " no", '" yes"', '" no"', "7"}
    assert answer.choices[0].finish_reason == "stop"


def test_a_suffix_is_written_up_to_where_the_model_can_and_refused_where_not(
    client: openai.OpenAI, server: Server
) -> None:
    with pytest.raises(openai.BadRequestError, match="filling in the middle"):
        client.completions.create(prompt="def f():", suffix="return 1", **GREEDY)
    bundled = Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct").path
    path = server.folder / "models" / "infill.gguf"
    with_infill_tokens(bundled, path)
    try:
        asked = GREEDY | {"model": "infill"}
        answer = client.completions.create(prompt="def f():", suffix="return 1", **asked)
    finally:
        path.unlink()
    assert answer.model == "infill"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3 + len(tokens_of(server, "def f():")) + len(
        tokens_of(server, "return 1")
    )


# ---------------------------------------------------------------- timings


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (COMPLETE, {"prompt": FRANCE}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": FRANCE}]}),
    ],
)
@pytest.mark.parametrize("options", [None, {"include_usage": True}])
def test_timings_come_with_the_whole_answer_and_with_the_last_chunk(
    server: Server, path: str, asked: dict[str, Any], options: Any
) -> None:
    body = {**asked, "max_tokens": 6, "stop": ["never"], "temperature": 0}
    with server.http() as http:
        whole = http.post(path, json=body).json()
        lines = http.post(path, json=body | {"stream": True, "stream_options": options}).text
    chunks = [json.loads(line[6:]) for line in lines.splitlines() if line.startswith("data: {")]
    assert all("timings" not in chunk for chunk in chunks[:-1])
    assert (chunks[-1]["choices"] == []) == bool(options)
    for timings in (whole["timings"], chunks[-1]["timings"]):
        assert set(timings) == TIMINGS
        assert timings["predicted_n"] == whole["usage"]["completion_tokens"]
        assert timings["prompt_n"] + timings["cache_n"] == whole["usage"]["prompt_tokens"]
        assert timings["predicted_ms"] > 0
        assert timings["predicted_per_second"] > 1
        assert timings["prompt_ms"] > 0


# ---------------------------------------------------------------- tokens

TEXTS = [
    "Hello, how are you?",
    "Ünïcödé 漢字 🙂👩‍👩‍👧",
    "<|im_start|>user\nHi<|im_end|>\n",
    " a  b\t\n",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("form", ["content", "prompt"])
def test_a_text_becomes_tokens_and_these_the_text_again(
    server: Server, text: str, form: str
) -> None:
    with server.http() as http:
        tokens = http.post("/v1/tokenize", json={form: text}).json()
        again = http.post("/v1/detokenize", json={"tokens": tokens["tokens"]}).json()
    assert tokens["count"] == len(tokens["tokens"])
    assert tokens["max_model_len"] == 8192
    assert again == {"content": text, "prompt": text}


def test_pieces_are_text_or_the_bytes_of_a_part_of_a_character(server: Server) -> None:
    with server.http() as http:
        body = {"content": "Hi 👩‍👩‍👧<|im_end|>", "with_pieces": True}
        tokens = http.post("/tokenize", json=body).json()["tokens"]
    pieces = [token["piece"] for token in tokens]
    assert any(isinstance(piece, list) for piece in pieces)
    assert pieces[-1] == "<|im_end|>"
    joined = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in pieces)
    assert joined.decode() == body["content"]


def test_messages_have_the_tokens_that_a_chat_with_them_has(
    server: Server, client: openai.OpenAI
) -> None:
    messages = [{"role": "user", "content": "Hello!"}]
    with server.http() as http:
        tokens = http.post("/tokenize", json={"messages": messages}).json()
        chat = http.post(
            "/v1/chat/completions", json={"messages": messages, "max_tokens": 1}
        ).json()
        prompt = http.post("/detokenize", json={"tokens": tokens["tokens"]}).json()["prompt"]
    assert tokens["count"] == chat["usage"]["prompt_tokens"]
    assert prompt.endswith("<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.slow
def test_ten_megabytes_of_text_do_not_hold_up_a_running_answer(server: Server) -> None:
    """An answer that is begun before them and is shorter work is done before they are, too."""
    text = "word " * 2_000_000
    order: list[str] = []

    async def both() -> Any:
        async with httpx.AsyncClient(base_url=server.url, timeout=100) as http:
            body = {"prompt": "ha " * 20, "max_tokens": 60, "stream": True, "temperature": 0}
            async with http.stream("POST", COMPLETE, json=body) as answer:
                lines = answer.aiter_lines()
                await anext(lines)
                asked = [
                    asyncio.create_task(http.post("/tokenize", json={"content": text}))
                    for _ in range(3)
                ]
                for task in asked:
                    task.add_done_callback(lambda _: order.append("tokens"))
                rest = [line async for line in lines if line]
                order.append("answer")
            assert rest[-1] == "data: [DONE]"
            return [task.json() for task in await asyncio.gather(*asked)]

    for tokens in asyncio.run(both()):
        assert tokens["count"] == len(tokens["tokens"]) == 2_000_001
    assert order.index("answer") < len(order) - 1


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        (COMPLETE, {}, 400, "prompt"),
        (COMPLETE, {"prompt": None}, 400, "prompt"),
        (COMPLETE, {"prompt": []}, 400, "prompt"),
        (COMPLETE, {"prompt": {"a": 1}}, 400, "prompt"),
        (COMPLETE, {"prompt": [1, 2.5]}, 400, "prompt"),
        (COMPLETE, {"prompt": [49152]}, 400, "prompt"),
        (COMPLETE, {"prompt": [-1]}, 400, "prompt"),
        (COMPLETE, {"prompt": [2**80]}, 400, "prompt"),
        (COMPLETE, {"prompt": "word " * 10_000}, 400, "prompt"),
        (COMPLETE, {"prompt": ["Hi", "word " * 10_000]}, 400, "prompt"),
        (COMPLETE, {"prompt": ["Hi"] * 200}, 400, "prompt"),
        (COMPLETE, {"prompt": "Hi", "best_of": 3}, 400, "best_of"),
        (COMPLETE, {"prompt": "Hi", "logprobs": 6}, 400, "logprobs"),
        (COMPLETE, {"prompt": "Hi", "suffix": "Ho"}, 400, "suffix"),
        (COMPLETE, {"prompt": "Hi", "grammar": "root ::= x"}, 400, "grammar"),
        (COMPLETE, {"prompt": "Hi", "max_tokens": -1}, 400, "max_tokens"),
        (COMPLETE, {"prompt": "Hi", "n": 0}, 400, "n"),
        (COMPLETE, {"prompt": "Hi", "top_p": 2}, 400, "top_p"),
        (COMPLETE, {"prompt": "Hi", "model": "nope"}, 404, "model"),
        ("/tokenize", {}, 400, None),
        ("/tokenize", {"content": 5}, 400, "content"),
        ("/tokenize", {"messages": []}, 400, "messages"),
        ("/tokenize", {"messages": [{"role": "robot"}]}, 400, "messages.0.role"),
        ("/tokenize", {"content": "Hi", "model": "nope"}, 404, "model"),
        ("/detokenize", {}, 400, "tokens"),
        ("/detokenize", {"tokens": "Hi"}, 400, "tokens"),
        ("/detokenize", {"tokens": ["Hi"]}, 400, "tokens.0"),
        ("/detokenize", {"tokens": [49152]}, 400, "tokens"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens"),
        ("/detokenize", {"tokens": [2**80]}, 400, "tokens"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_cannot_be_done_names_what_is_wrong(
    server: Server, path: str, body: dict[str, Any], status: int, param: str | None, stream: bool
) -> None:
    with server.http() as http:
        answer = http.post(path, json=body | {"stream": stream})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["message"]


@pytest.mark.parametrize("path", [COMPLETE, "/tokenize", "/detokenize"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_a_json_object_is_a_400(server: Server, path: str, body: bytes) -> None:
    with server.http() as http:
        assert http.post(path, content=body).status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETE, rb'{"prompt":"\ud83d"}'),
        (COMPLETE, rb'{"prompt":["a","\ud83d"]}'),
        ("/tokenize", rb'{"content":"\ud83d"}'),
        ("/tokenize", rb'{"prompt":"\ud83d"}'),
    ],
)
def test_half_a_surrogate_pair_is_a_client_error(server: Server, path: str, body: bytes) -> None:
    with server.http() as http:
        assert http.post(path, content=body).status_code == 400


def test_logprobs_come_with_the_place_of_each_token(client: openai.OpenAI) -> None:
    whole = client.completions.create(
        model="gpt-4", prompt="One, two,", max_tokens=6, temperature=0, logprobs=3, echo=True
    ).choices[0]
    known = whole.logprobs
    assert known
    assert known.tokens
    assert known.token_logprobs
    assert known.text_offset
    assert known.top_logprobs
    for token, logprob, offset, top in zip(
        known.tokens, known.token_logprobs, known.text_offset, known.top_logprobs, strict=True
    ):
        assert whole.text[offset : offset + len(token)] == token
        assert top[token] == logprob == max(top.values())
        assert len(top) == 3
