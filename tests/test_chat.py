"""The chat engine with the real bundled model: turns in, text out, many at once, and every way to end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from engine_room.catalogue import Catalogue, ChatFile
from engine_room.chat.cache import MIN_GAIN_TOKENS
from engine_room.chat.engine import Chat
from engine_room.chat.format import turn_from
from engine_room.chat.turn import ChatResult, ChatTurn, Finish, ModelTurn, Text
from engine_room.cores import Cores
from engine_room.errors import (
    ApiError,
    ContextLengthExceeded,
    InternalError,
    ShuttingDown,
    Unavailable,
)
from engine_room.jobs import Answering, Done, Engine, Event, Failed, Serve
from engine_room.schemas_chat import ChatRequest
from engine_room.settings import Settings

SETTINGS = Settings(_env_file=None, chat_context_tokens=256, chat_threads=1, chat_cache_mb=100)
ROOMY = SETTINGS.model_copy(update={"chat_context_tokens": 1024})
Items = list[Text | Finish]
# Once said a dozen times, each of these is said again and again, and by so wide a margin that the last
# bits do not matter, which differ with the size of a batch and with what is cached.
WORDS = ["ha", "dog", "no", "tick", "one", "red", "sun", "bee"]


@pytest.fixture(scope="module")
def file() -> ChatFile:
    return Catalogue(SETTINGS).chat("smollm2-135m-instruct")


@pytest.fixture
def other(file: ChatFile, tmp_path: Path) -> ChatFile:
    """The same model under another name."""
    link = tmp_path / "other.gguf"
    link.symlink_to(file.path)
    return ChatFile("other", link)


@contextmanager
def running(chat: Chat) -> Iterator[Engine[ModelTurn]]:
    """An open engine around a chat of our own, with the model loaded."""

    def load() -> Serve[ModelTurn]:
        chat.load()
        return chat.serve

    engine = Engine("chat", load, 256)
    engine.open()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def engine(file: ChatFile) -> Iterator[Engine[ChatTurn]]:
    with running(Chat(file, SETTINGS)) as engine:
        yield engine


@pytest.fixture(scope="module")
def roomy(file: ChatFile) -> Iterator[Engine[ChatTurn]]:
    with running(Chat(file, ROOMY)) as engine:
        yield engine


def turn(file: ChatFile, content: str = "Tell me a story.", **fields: Any) -> ChatTurn:
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, **fields}
    return turn_from(ChatRequest.model_validate(body), file)


def repeating(file: ChatFile, word: str, num_tokens: int) -> ChatTurn:
    """A turn that is answered with this word so many times."""
    messages = [
        {"role": "user", "content": "Go on."},
        {"role": "assistant", "content": " ".join([word] * 12)},
    ]
    return turn(file, messages=messages, continue_final_message=True, max_tokens=num_tokens)


class Asked:
    """A turn that an engine was asked, and what comes of it; `at_event` is called with each event."""

    def __init__(
        self,
        engine: Answering[Any],
        turn: ModelTurn,
        at_event: Callable[["Asked"], None] = lambda asked: None,
    ) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._at_event = at_event
        self.job = engine.submit(turn, self._deliver)

    def _deliver(self, event: Event) -> None:
        self.events.put(event)
        self._at_event(self)

    def all(self) -> list[Event]:
        """Every event up to the ending."""
        events = [self.events.get(timeout=60)]
        while not isinstance(events[-1], Done | Failed):
            events.append(self.events.get(timeout=60))
        return events

    def answer(self) -> tuple[Items, ChatResult]:
        """All items of a job that ends with Done, and its result."""
        *items, last = self.all()
        assert isinstance(last, Done), last
        assert isinstance(last.result, ChatResult)
        return [item for item in items if isinstance(item, Text | Finish)], last.result

    def text(self) -> str:
        return text_of(self.answer()[0])

    def error(self) -> ApiError:
        last = self.all()[-1]
        assert isinstance(last, Failed), last
        return last.error


def run(engine: Engine[ChatTurn], asked: ChatTurn) -> tuple[Items, ChatResult]:
    return Asked(engine, asked).answer()


def text_of(items: Items, index: int = 0) -> str:
    return "".join(item.text for item in items if isinstance(item, Text) and item.index == index)


def endings(items: Items) -> list[Finish]:
    return [item for item in items if isinstance(item, Finish)]


def test_a_question_is_answered_and_the_tokens_are_counted(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    items, result = run(
        engine, turn(file, "What is the capital of France? Answer in one sentence.")
    )
    assert "Paris" in text_of(items)
    assert endings(items) == [Finish(0, "stop")]
    assert items[-1] == Finish(0, "stop")
    assert result.num_prompt_tokens == 42
    assert 5 < result.num_completion_tokens < 60


def test_an_answer_ends_at_its_token_limit(engine: Engine[ChatTurn], file: ChatFile) -> None:
    items, result = run(engine, turn(file, max_tokens=5))
    assert endings(items) == [Finish(0, "length")]
    assert result.num_completion_tokens == 5


def test_one_token_is_an_answer_too(engine: Engine[ChatTurn], file: ChatFile) -> None:
    items, result = run(engine, turn(file, max_tokens=1))
    assert text_of(items)
    assert result.num_completion_tokens == 1


def test_the_same_seed_gives_the_same_text_whatever_was_said_between(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    seeded: dict[str, Any] = {"seed": 42, "temperature": 1.0, "max_tokens": 20}
    run(
        engine, turn(file, **seeded)
    )  # from now on its prompt is known: all that matters is the same
    first = text_of(run(engine, turn(file, **seeded))[0])
    run(engine, turn(file, "Something else entirely, please.", max_tokens=3))
    assert text_of(run(engine, turn(file, **seeded))[0]) == first
    assert text_of(run(engine, turn(file, **(seeded | {"seed": 43})))[0]) != first


def test_a_seed_gives_the_same_text_whoever_else_computes(file: ChatFile) -> None:
    cores = Cores(2)
    settings = ROOMY.model_copy(update={"chat_threads": 0})
    seeded = turn(file, "Go on: " + "one more word, " * 70, seed=42, temperature=1, max_tokens=20)
    with running(Chat(file, settings, cores)) as engine:
        run(engine, seeded)
        alone = text_of(run(engine, seeded)[0])
        with cores.working("transcription"):
            assert text_of(run(engine, seeded)[0]) == alone


def test_chat_has_all_cores_while_it_writes_alone_one_beside_another_and_none_while_idle(
    file: ChatFile,
) -> None:
    cores = Cores(2)
    chat = Chat(file, SETTINGS.model_copy(update={"chat_threads": 0}), cores)
    shares: list[int] = []
    with running(chat) as engine:
        for others in (nullcontext(), cores.working("transcription")):
            with others:
                ended = threading.Event()

                def deliver(event: Event, ended: threading.Event = ended) -> None:
                    if isinstance(event, Text):
                        shares.append(cores.share("chat smollm2-135m-instruct"))
                    else:
                        ended.set()

                engine.submit(turn(file, max_tokens=3), deliver)
                assert ended.wait(30)
    assert set(shares[:2]) == {2}
    assert set(shares[-2:]) == {1}
    with pytest.raises(ValueError, match="chat smollm2-135m-instruct does not work"):
        cores.share("chat smollm2-135m-instruct")


def test_text_ends_before_a_stop_string(engine: Engine[ChatTurn], file: ChatFile) -> None:
    whole = text_of(run(engine, turn(file, max_tokens=40))[0])
    stop = whole[20:26]
    items, result = run(engine, turn(file, max_tokens=40, stop=["never said", stop]))
    assert text_of(items) == whole[: whole.index(stop)]
    assert endings(items) == [Finish(0, "stop")]
    assert result.num_completion_tokens < 40


def test_two_answers_to_one_prompt_differ_and_are_counted_together(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    asked: dict[str, Any] = {"n": 2, "max_tokens": 8, "temperature": 1.0, "seed": 1}
    items, result = run(engine, turn(file, **asked))
    assert sorted(endings(items), key=lambda finish: finish.index) == [
        Finish(0, "length"),
        Finish(1, "length"),
    ]
    assert text_of(items, 0) != text_of(items, 1)
    assert result.num_completion_tokens == 16


def test_the_second_answer_knows_nothing_of_the_first(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    items, _ = run(engine, turn(file, n=2, max_tokens=12))
    alone, _ = run(engine, turn(file, max_tokens=12))
    assert text_of(items, 0) == text_of(items, 1) == text_of(alone)


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    error = Asked(engine, turn(file, "word " * 500)).error()
    assert isinstance(error, ContextLengthExceeded)
    assert "531 tokens" in error.message
    assert "256 tokens" in error.message
    assert text_of(run(engine, turn(file, max_tokens=3))[0])


def test_an_answer_fills_the_context_to_its_last_token_and_no_further(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    (_, empty), words = run(engine, turn(file, "", max_tokens=1)), "word"
    room = 256 - empty.num_prompt_tokens
    items, result = run(engine, turn(file, words + " word" * (room - 5)))
    assert result.num_prompt_tokens == 252
    assert result.num_completion_tokens <= 4
    items, result = run(engine, turn(file, words + " word" * (room - 2), max_tokens=100))
    assert (result.num_prompt_tokens, result.num_completion_tokens) == (255, 1)
    assert len(endings(items)) == 1
    refused = Asked(engine, turn(file, words + " word" * (room - 1)))
    assert isinstance(refused.error(), ContextLengthExceeded)


def test_a_final_message_is_continued(engine: Engine[ChatTurn], file: ChatFile) -> None:
    messages = [
        {"role": "user", "content": "Count from one to ten."},
        {"role": "assistant", "content": "1, 2, 3, 4,"},
    ]
    items, _ = run(engine, turn(file, messages=messages, continue_final_message=True, max_tokens=6))
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
    engine: Engine[ChatTurn], file: ChatFile, content: str, num_tokens: int, expected: list[str]
) -> None:
    messages = [
        {"role": "user", "content": "Repeat this: " + content},
        {"role": "assistant", "content": content},
    ]
    items, _ = run(
        engine, turn(file, messages=messages, continue_final_message=True, max_tokens=num_tokens)
    )
    assert [item.text for item in items if isinstance(item, Text)] == expected


# ------------------------------------------------------------ many at once


def test_conversations_that_run_at_once_know_nothing_of_each_other(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    jobs = [Asked(roomy, repeating(file, word, 20)) for word in WORDS]
    assert [asked.text() for asked in jobs] == [f" {word}" * 20 for word in WORDS]


def test_a_short_question_is_answered_while_a_long_answer_is_being_written(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    long = Asked(roomy, repeating(file, "ha", 120))
    long.events.get(timeout=60)
    Asked(roomy, turn(file, "Hello!", max_tokens=3)).answer()
    assert long.events.qsize() < 110
    long.answer()


def test_the_same_prompt_again_is_known_but_for_its_last_token(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    asked = turn(file, "Name three rivers of Europe.", max_tokens=8)
    first, _ = run(roomy, asked)
    second, result = run(roomy, asked)
    assert result.num_cached_tokens == result.num_prompt_tokens - 1
    assert text_of(second) == text_of(first)


def test_a_second_turn_starts_from_the_first_ones_answer(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    question = {"role": "user", "content": "What do bees make? One word."}
    items, first = run(roomy, turn(file, messages=[question], max_tokens=20))
    answer = {"role": "assistant", "content": text_of(items)}
    more = {"role": "user", "content": "And cows?"}
    _, second = run(roomy, turn(file, messages=[question, answer, more], max_tokens=5))
    assert second.num_cached_tokens >= first.num_prompt_tokens


def test_eight_chats_that_share_a_long_prompt_compute_it_once(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    system = {"role": "system", "content": "You keep the lighthouse and speak of the sea. " * 15}
    jobs = [
        Asked(
            roomy,
            turn(file, messages=[system, {"role": "user", "content": f"{n} ships"}], max_tokens=3),
        )
        for n in range(8)
    ]
    first, *others = [asked.answer()[1] for asked in jobs]
    assert first.num_prompt_tokens == 167
    assert first.num_cached_tokens < 10
    for result in others:  # all there is to share, or too little less to wait for
        assert 159 - MIN_GAIN_TOKENS < result.num_cached_tokens <= 159


def test_the_answers_of_one_job_share_its_prompt_and_count_it_once(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    asked = turn(file, "A prompt of some length, " * 20, n=3, max_tokens=4)
    _, result = run(roomy, asked)
    assert result.num_cached_tokens < 40
    assert result.num_completion_tokens == 12
    _, result = run(roomy, asked)
    assert result.num_cached_tokens == result.num_prompt_tokens - 1


def test_a_seed_fixes_several_different_answers_whatever_is_cached(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    asked = turn(file, "Tell me something new.", n=3, max_tokens=12, seed=5, temperature=1)
    first, _ = run(roomy, asked)
    run(roomy, turn(file, "Tell me something old.", max_tokens=12))
    again, result = run(roomy, asked)
    texts = [[text_of(items, index) for index in range(3)] for items in (first, again)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 3
    assert result.num_cached_tokens == 0


# ------------------------------------------------------------ memory


class Crowded(Chat):
    """A chat that counts how often a batch did not fit."""

    num_full = 0

    def _make_room(self) -> None:
        self.num_full += 1
        super()._make_room()


@pytest.mark.parametrize("cache_mb", [100, 0], ids=["paused in RAM", "decoded again"])
def test_when_the_memory_is_full_some_pause_and_everybody_finishes(
    file: ChatFile, cache_mb: int
) -> None:
    chat = Crowded(file, SETTINGS.model_copy(update={"chat_cache_mb": cache_mb}))
    with running(chat) as engine:
        jobs = [Asked(engine, repeating(file, word, 100)) for word in WORDS]
        answers = [asked.answer() for asked in jobs]
    assert chat.num_full > 0
    assert [text_of(items) for items, _ in answers] == [f" {word}" * 100 for word in WORDS]
    for _, result in answers:
        assert result.num_cached_tokens < result.num_prompt_tokens


def test_a_pool_that_only_two_conversations_fit_serves_five_of_full_length(
    file: ChatFile, engine: Engine[ChatTurn]
) -> None:
    jobs = [Asked(engine, turn(file, f"{n} " + "word " * 200)) for n in range(5)]
    for asked in jobs:
        items, result = asked.answer()
        assert len(endings(items)) == 1
        assert result.num_prompt_tokens + result.num_completion_tokens <= 256


# ------------------------------------------------------------ ways to end


def at_once(asked: Asked) -> None:
    asked.job.cancel()


def is_empty(chat: Chat) -> bool:
    """Whether nothing waits or runs any more, after a few steps at most."""
    for _ in range(200):
        if not chat._scheduler.all:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("num_answers", [1, 3])
def test_a_cancelled_answer_stops_at_the_next_step(file: ChatFile, num_answers: int) -> None:
    chat = Chat(file, SETTINGS)
    with running(chat) as engine:
        asked = Asked(engine, turn(file, n=num_answers), at_once)
        *items, last = asked.all()
        assert isinstance(last, Failed)
        assert all(isinstance(item, Text) for item in items)
        assert len(items) <= num_answers
        assert is_empty(chat)


def test_a_prompt_cancelled_half_way_stops_at_the_next_step(file: ChatFile) -> None:
    chat = Chat(file, ROOMY)
    with running(chat) as engine:
        Asked(engine, turn(file, "Hello.", max_tokens=1)).answer()
        asked = Asked(engine, turn(file, "word " * 600, n=2))
        time.sleep(0.1)
        asked.job.cancel()
        assert [type(event) for event in asked.all()] == [Failed]
        assert is_empty(chat)
        _, result = run(engine, turn(file, "word " * 600, max_tokens=1))
        assert 20 < result.num_cached_tokens < 600


def test_one_that_waits_for_a_shared_prompt_goes_on_alone_when_the_other_is_cancelled(
    roomy: Engine[ChatTurn], file: ChatFile
) -> None:
    prompt = "sentence " * 500
    first = Asked(roomy, turn(file, prompt + "A"))
    second = Asked(roomy, turn(file, prompt + "B", max_tokens=2))
    first.job.cancel()
    assert second.answer()[1].num_cached_tokens < 531
    assert first.job.cancelled


def test_cancelled_jobs_leave_nothing_behind_however_far_they_came(file: ChatFile) -> None:
    chat = Chat(file, SETTINGS.model_copy(update={"chat_parallel": 2}))
    with running(chat) as engine:
        for number in range(25):
            early = Asked(engine, turn(file, f"{number} " + "word " * 150, n=2))
            writing = Asked(engine, turn(file, f"Say {number}.", n=3), at_once)
            queued = Asked(engine, turn(file, f"Never {number}."))
            for asked in (early, queued):
                asked.job.cancel()
            if number % 5 == 0:
                writing.all()
        last = [Asked(engine, repeating(file, "ha", 5)) for _ in range(30)]
        assert {asked.text() for asked in last} == {" ha" * 5}
        assert is_empty(chat)


def test_an_engine_with_nothing_to_do_does_nothing(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    run(engine, turn(file, max_tokens=2))
    started = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - started < 0.1


def test_closing_cuts_off_what_runs_and_ends_every_job(file: ChatFile) -> None:
    with running(Chat(file, SETTINGS)) as engine:
        jobs = [Asked(engine, turn(file, f"{n} " + "word " * 100, n=2)) for n in range(30)]
        jobs[0].events.get(timeout=60)
    assert all(isinstance(asked.error(), ShuttingDown) for asked in jobs)


class Faulty(Chat):
    """A chat whose model fails when it is told to."""

    is_broken = False

    def step(self) -> None:
        super().step()
        if self.is_broken:
            self.is_broken = False
            raise RuntimeError("llama_decode returned -3")


def test_a_failure_of_the_model_ends_all_that_run_and_the_next_turn_is_fine(
    file: ChatFile, caplog: pytest.LogCaptureFixture
) -> None:
    chat = Faulty(file, SETTINGS)
    with running(chat) as engine:
        for _ in range(2):
            jobs = [Asked(engine, turn(file, f"{n} stories", n=2)) for n in range(6)]
            jobs[0].events.get(timeout=60)
            chat.is_broken = True
            assert all(isinstance(asked.error(), InternalError) for asked in jobs)
            assert Asked(engine, repeating(file, "ha", 5)).text() == " ha" * 5
    assert "llama_decode returned -3" in caplog.text


def test_a_model_that_is_gone_when_it_is_loaded_anew_fails_its_turns(other: ChatFile) -> None:
    chat = Faulty(other, SETTINGS)
    with running(chat) as engine:
        asked = Asked(engine, turn(other))
        asked.events.get(timeout=60)
        other.path.unlink()
        chat.is_broken = True
        assert isinstance(asked.error(), InternalError)
        for _ in range(2):
            assert isinstance(Asked(engine, turn(other)).error(), Unavailable)


def test_a_fault_in_one_request_fails_that_one_only(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    fine = Asked(engine, turn(file, max_tokens=30))
    wrong: Any = None
    sampling = replace(turn(file).sampling, temperature=1, top_k=wrong)
    bad = Asked(engine, replace(turn(file, n=2), sampling=sampling))
    assert isinstance(bad.error(), InternalError)
    assert fine.answer()[1].num_completion_tokens == 30


def test_a_receiver_that_breaks_is_one_that_has_left(
    engine: Engine[ChatTurn], file: ChatFile
) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("the receiver broke")

    fine = Asked(engine, turn(file, max_tokens=30))
    job = engine.submit(turn(file), broken)
    assert fine.answer()[1].num_completion_tokens == 30
    assert job.cancelled
