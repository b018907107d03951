"""The reader ends every job it is given once, and holds nobody up."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_room.catalogue import Catalogue, ChatFile
from engine_room.chat.engine import Chat
from engine_room.chat.format import sampling_of
from engine_room.chat.reader import Reader
from engine_room.chat.turn import (
    ChatTurn,
    DetokenizeTurn,
    ModelTurn,
    Text,
    Tokenized,
    TokenizeTurn,
)
from engine_room.chat.vocabulary import InfillTokens
from engine_room.errors import ApiError, InternalError, InvalidRequest, QueueFull, ShuttingDown
from engine_room.jobs import Done, Event, Failed, Inbox, Job
from engine_room.schemas_chat import SamplingFields
from tests.test_chat import SETTINGS, Asked, repeating, running

FILE = ChatFile("some-model", Path("some-model.gguf"))


class Letters:
    """A vocabulary of letters, which is read when the gate is open."""

    num_context_tokens = 9
    num_vocab = 128
    bos: int | None = None
    infill_tokens: InfillTokens | None = None

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.was_entered = threading.Event()

    def tokenize(self, text: str) -> list[int]:
        return list(text.encode())

    def token_ids(self, text: str, add_special: bool, parse_special: bool) -> NDArray[np.int32]:
        self.was_entered.set()
        assert self.gate.wait(10)
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def piece(self, token: int, with_special: bool = False) -> bytes:
        return bytes([token])


class Desk:
    """A reader, an inbox, and the events of the jobs in it."""

    def __init__(self, max_jobs: int = 9) -> None:
        self.reader = Reader(max_jobs)
        self.inbox: Inbox[ModelTurn] = Inbox("chat", 99)
        self.letters = Letters()

    def read(self, turn: ModelTurn) -> tuple[Job[ModelTurn], list[Event]]:
        events: list[Event] = []
        job = Job(turn, events.append)
        self.inbox.put(job)
        self.inbox.take(1, wait=True)
        self.reader.begin(self.inbox, job, self.letters, self._prompt_of)
        return job, events

    def _prompt_of(self, chat: ChatTurn) -> list[int]:
        raise InvalidRequest("No.", param="messages")

    def end_next(self) -> None:
        """Wait for the inbox to be woken, and end what was read."""
        self.inbox.take(1, wait=True)
        self.reader.end_read(self.inbox)


def text(content: str | ChatTurn) -> TokenizeTurn:
    return TokenizeTurn(file=FILE, content=content)


def failure(events: list[Event]) -> ApiError:
    (ending,) = events
    assert isinstance(ending, Failed)
    return ending.error


def test_what_was_read_ends_the_job_and_wakes_the_engine() -> None:
    desk = Desk()
    desk.letters.gate.set()
    _, events = desk.read(text("AB"))
    assert desk.reader.is_busy
    desk.end_next()
    (ending,) = events
    assert isinstance(ending, Done)
    assert isinstance(ending.result, Tokenized)
    assert ending.result.tokens.tolist() == [65, 66]
    assert not desk.reader.is_busy


def test_tokens_become_text() -> None:
    desk = Desk()
    _, events = desk.read(DetokenizeTurn(file=FILE, tokens=[65, 66]))
    desk.end_next()
    assert events == [Done("AB")]


def test_a_text_that_takes_long_holds_nobody_up_until_it_is_read() -> None:
    desk = Desk()
    _, events = desk.read(text("A"))
    desk.reader.end_read(desk.inbox)
    assert events == []
    desk.letters.gate.set()
    desk.end_next()
    assert len(events) == 1


def test_messages_that_make_no_prompt_fail_with_the_reason() -> None:
    desk = Desk()
    chat = ChatTurn(file=FILE, sampling=sampling_of(SamplingFields()), max_tokens=None, messages=[])
    _, events = desk.read(text(chat))
    desk.end_next()
    assert failure(events).param == "messages"


def test_a_fault_fails_its_own_job_only(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.letters.gate.set()
    wrong: Any = None
    _, bad = desk.read(DetokenizeTurn(file=FILE, tokens=wrong))
    desk.end_next()
    _, good = desk.read(text("A"))
    desk.end_next()
    assert isinstance(failure(bad), InternalError)
    assert isinstance(good[0], Done)
    assert "a text could not be read" in caplog.text


def test_more_texts_than_may_wait_are_told_to_come_back() -> None:
    desk = Desk(max_jobs=1)
    desk.read(text("A"))
    _, events = desk.read(text("B"))
    assert isinstance(failure(events), QueueFull)
    desk.letters.gate.set()


def test_a_text_that_nobody_waits_for_is_not_read() -> None:
    desk = Desk()
    _, first = desk.read(text("A"))
    assert desk.letters.was_entered.wait(10)
    job, second = desk.read(text("B"))
    job.cancel()
    desk.letters.gate.set()
    while not second:
        desk.end_next()
    assert isinstance(first[0], Done)
    assert isinstance(failure(second), ShuttingDown)


def test_all_can_be_ended_while_one_is_being_read() -> None:
    desk = Desk()
    _, first = desk.read(text("A"))
    assert desk.letters.was_entered.wait(10)
    _, second = desk.read(text("B"))
    threading.Timer(0.05, desk.letters.gate.set).start()
    desk.reader.end_all(desk.inbox)
    assert isinstance(first[0], Done)
    assert len(second) == 1
    assert not desk.reader.is_busy


# ------------------------------------------------------------ in the engine


@pytest.fixture(scope="module")
def file() -> ChatFile:
    return Catalogue(SETTINGS).chat("smollm2-135m-instruct")


def test_a_large_text_is_read_while_an_answer_is_being_written(file: ChatFile) -> None:
    with running(Chat(SETTINGS), file) as engine:
        written = Asked(engine, repeating(file, "ha", 190))
        written.events.get(timeout=60)
        read = Asked(engine, TokenizeTurn(file=file, content="word " * 200_000))
        num_written_before = written.events.qsize()
        *_, last = read.all()
        assert written.events.qsize() > num_written_before
        assert isinstance(last, Done)
        assert isinstance(last.result, Tokenized)
        assert len(last.result.tokens) == 200_001
        assert any(isinstance(event, Text) for event in written.all())


def test_a_text_for_another_model_is_read_by_that_one_and_chats_go_on(
    file: ChatFile, tmp_path: Path
) -> None:
    link = tmp_path / "other.gguf"
    link.symlink_to(file.path)
    other = ChatFile("other", link)
    with running(Chat(SETTINGS), file) as engine:
        reads: list[Any] = [
            Asked(engine, TokenizeTurn(file=used, content="word " * 20_000))
            for used in [file, other] * 3
        ]
        written = Asked(engine, repeating(file, "ha", 5))
        assert [len(asked.all()[-1].result.tokens) for asked in reads] == [20_001] * 6
        assert written.text() == " ha" * 5


def test_closing_ends_every_text(file: ChatFile) -> None:
    with running(Chat(SETTINGS), file) as engine:
        jobs = [Asked(engine, TokenizeTurn(file=file, content="word " * 50_000)) for _ in range(20)]
        jobs[0].events.get(timeout=60)
    endings = [asked.all()[-1] for asked in jobs[1:]]
    assert all(isinstance(ending, Done | Failed) for ending in endings)
    assert any(isinstance(ending, Failed) for ending in endings)
