"""The chat engine with the real bundled model: turns in, text out, and every way to end."""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from engine_room.catalogue import Catalogue, ChatFile
from engine_room.chat import Chat, chat_engine
from engine_room.chat_format import turn_from
from engine_room.chat_turn import ChatResult, ChatTurn, Finish, Text
from engine_room.errors import ContextLengthExceeded, Unavailable
from engine_room.jobs import Done, Event, Failed, Job
from engine_room.schemas import ChatRequest
from engine_room.settings import Settings

SETTINGS = Settings(_env_file=None, chat_context_tokens=256, chat_threads=1)
Items = list[Text | Finish]


@pytest.fixture(scope="module")
def file() -> ChatFile:
    return Catalogue(SETTINGS).chat("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def chat(file: ChatFile) -> Chat:
    chat = Chat(SETTINGS)
    chat.use(file)
    return chat


def job(file: ChatFile, content: str = "Tell me a story.", **fields: Any) -> Job[ChatTurn]:
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, **fields}
    return Job(turn_from(ChatRequest.model_validate(body), file), print)


def run(chat: Chat, asked: Job[ChatTurn]) -> tuple[Items, ChatResult]:
    """All items of a job that ends with Done, and its result."""
    *items, last = chat.answer(asked)
    assert isinstance(last, Done)
    assert isinstance(last.result, ChatResult)
    return [item for item in items if isinstance(item, Text | Finish)], last.result


def text_of(items: Items, index: int = 0) -> str:
    return "".join(item.text for item in items if isinstance(item, Text) and item.index == index)


def endings(items: Items) -> list[Finish]:
    return [item for item in items if isinstance(item, Finish)]


def test_a_question_is_answered_and_the_tokens_are_counted(chat: Chat, file: ChatFile) -> None:
    items, result = run(chat, job(file, "What is the capital of France? Answer in one sentence."))
    assert "Paris" in text_of(items)
    assert endings(items) == [Finish(0, "stop")]
    assert items[-1] == Finish(0, "stop")
    assert result.num_prompt_tokens == 42
    assert 5 < result.num_completion_tokens < 60


def test_an_answer_ends_at_its_token_limit(chat: Chat, file: ChatFile) -> None:
    items, result = run(chat, job(file, max_tokens=5))
    assert endings(items) == [Finish(0, "length")]
    assert result.num_completion_tokens == 5


def test_one_token_is_an_answer_too(chat: Chat, file: ChatFile) -> None:
    items, result = run(chat, job(file, max_tokens=1))
    assert text_of(items)
    assert result.num_completion_tokens == 1


def test_the_same_seed_gives_the_same_text_whatever_was_said_between(
    chat: Chat, file: ChatFile
) -> None:
    seeded: dict[str, Any] = {"seed": 42, "temperature": 1.0, "max_tokens": 20}
    first = text_of(run(chat, job(file, **seeded))[0])
    run(chat, job(file, "Something else entirely, please.", max_tokens=3))
    assert text_of(run(chat, job(file, **seeded))[0]) == first
    assert text_of(run(chat, job(file, **(seeded | {"seed": 43})))[0]) != first


def test_text_ends_before_a_stop_string(chat: Chat, file: ChatFile) -> None:
    whole = text_of(run(chat, job(file, max_tokens=40))[0])
    stop = whole[20:26]
    items, result = run(chat, job(file, max_tokens=40, stop=["never said", stop]))
    assert text_of(items) == whole[: whole.index(stop)]
    assert endings(items) == [Finish(0, "stop")]
    assert result.num_completion_tokens < 40


def test_two_answers_to_one_prompt_differ_and_are_counted_together(
    chat: Chat, file: ChatFile
) -> None:
    asked: dict[str, Any] = {"n": 2, "max_tokens": 8, "temperature": 1.0, "seed": 1}
    items, result = run(chat, job(file, **asked))
    assert endings(items) == [Finish(0, "length"), Finish(1, "length")]
    assert text_of(items, 0) != text_of(items, 1)
    assert result.num_completion_tokens == 16
    assert run(chat, job(file, **asked))[0] == items


def test_the_second_answer_knows_nothing_of_the_first(chat: Chat, file: ChatFile) -> None:
    items, _ = run(chat, job(file, n=2, max_tokens=12))
    alone, _ = run(chat, job(file, max_tokens=12))
    assert text_of(items, 0) == text_of(items, 1) == text_of(alone)


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(
    chat: Chat, file: ChatFile
) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        list(chat.answer(job(file, "word " * 500)))
    assert "531 tokens" in caught.value.message
    assert "256 tokens" in caught.value.message
    assert text_of(run(chat, job(file, max_tokens=3))[0])


def test_an_answer_fills_the_context_to_its_last_token_and_no_further(
    chat: Chat, file: ChatFile
) -> None:
    (_, empty), words = run(chat, job(file, "", max_tokens=1)), "word"
    room = 256 - empty.num_prompt_tokens
    items, result = run(chat, job(file, words + " word" * (room - 5)))
    assert result.num_prompt_tokens == 252
    assert result.num_completion_tokens <= 4
    items, result = run(chat, job(file, words + " word" * (room - 2), max_tokens=100))
    assert (result.num_prompt_tokens, result.num_completion_tokens) == (255, 1)
    assert len(endings(items)) == 1
    with pytest.raises(ContextLengthExceeded):
        run(chat, job(file, words + " word" * (room - 1)))


def test_a_final_message_is_continued(chat: Chat, file: ChatFile) -> None:
    messages = [
        {"role": "user", "content": "Count from one to ten."},
        {"role": "assistant", "content": "1, 2, 3, 4,"},
    ]
    items, _ = run(chat, job(file, messages=messages, continue_final_message=True, max_tokens=6))
    assert text_of(items).startswith(" 5, 6")


@pytest.mark.parametrize(
    ("content", "num_tokens", "expected"),
    [
        ("🎉🎈🎊🥳" * 8, 12, ["🎉", "🎈", "🎊", "🥳"]),
        ("👍" * 20, 7, ["👍", "👍"]),  # the limit falls into the middle of the third
        ("你好，世界。" * 8, 12, ["你", "好", "，", "世", "界", "。"]),
    ],
    ids=["emoji", "cut emoji", "chinese"],
)
def test_a_character_of_several_tokens_comes_whole_or_not_at_all(
    chat: Chat, file: ChatFile, content: str, num_tokens: int, expected: list[str]
) -> None:
    messages = [
        {"role": "user", "content": "Repeat this: " + content},
        {"role": "assistant", "content": content},
    ]
    items, _ = run(
        chat, job(file, messages=messages, continue_final_message=True, max_tokens=num_tokens)
    )
    assert [item.text for item in items if isinstance(item, Text)] == expected


class Leaving(Job[ChatTurn]):
    """A job whose client leaves while the engine works: seen at the second look."""

    num_looks = 0

    @property
    def cancelled(self) -> bool:
        self.num_looks += 1
        return self.num_looks > 1


def test_a_prompt_cancelled_half_way_stops_at_the_next_chunk(chat: Chat, file: ChatFile) -> None:
    asked = Leaving(job(file, "word " * 200).turn, print)
    assert list(chat.answer(asked)) == []
    assert text_of(run(chat, job(file, max_tokens=3))[0])


def test_a_cancelled_answer_stops_at_the_next_token(chat: Chat, file: ChatFile) -> None:
    asked = job(file, n=3)
    after: list[Event] = []
    answer = chat.answer(asked)
    for event in answer:
        assert isinstance(event, Text)
        asked.cancel()
        after = list(answer)
    assert not any(isinstance(event, Text | Done) for event in after)


def test_a_broken_model_is_named_and_the_next_turn_is_fine(
    chat: Chat, file: ChatFile, tmp_path: Path
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF and nothing more")
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"broken\.gguf cannot be loaded"):
            list(chat.answer(job(ChatFile("broken", path))))
    assert text_of(run(chat, job(file, max_tokens=3))[0])


def test_another_file_takes_the_place_of_the_one_in_memory(
    chat: Chat, file: ChatFile, tmp_path: Path
) -> None:
    link = tmp_path / "other.gguf"
    link.symlink_to(file.path)
    first = text_of(run(chat, job(file, max_tokens=5))[0])
    assert text_of(run(chat, job(ChatFile("other", link), max_tokens=5))[0]) == first
    assert text_of(run(chat, job(file, max_tokens=5))[0]) == first


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing more")
    return tmp_path


def test_the_engine_answers_turns_on_its_thread_and_survives_a_broken_one(
    file: ChatFile, models: Path
) -> None:
    settings = SETTINGS.model_copy(update={"models_dir": models})
    engine = chat_engine(settings, Catalogue(settings))
    engine.open()
    broken = ChatFile("broken", models / "broken.gguf")
    last: list[Event] = []
    for used in (file, broken, file):
        events: SimpleQueue[Event] = SimpleQueue()
        engine.submit(job(used, max_tokens=2).turn, events.put)
        last.append(events.get(timeout=60))
        while not isinstance(last[-1], Done | Failed):
            last[-1] = events.get(timeout=60)
    engine.close()
    assert [type(event) for event in last] == [Done, Failed, Done]
    assert engine.status.state == "ready"


def test_an_engine_whose_default_model_is_missing_says_so(models: Path) -> None:
    settings = SETTINGS.model_copy(update={"models_dir": models, "chat_model": "nothing"})
    engine = chat_engine(settings, Catalogue(settings))
    engine.open()
    events: SimpleQueue[Event] = SimpleQueue()
    engine.submit(job(ChatFile("x", models / "x.gguf")).turn, events.put)
    failed = events.get(timeout=60)
    engine.close()
    assert isinstance(failed, Failed)
    assert "'nothing' (setting CHAT_MODEL) is not there" in failed.error.message
