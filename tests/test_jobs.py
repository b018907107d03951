"""An engine answers every turn with items and one ending, in the order they came."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from engine_room.errors import (
    ApiError,
    InternalError,
    InvalidRequest,
    QueueFull,
    ShuttingDown,
    Unavailable,
)
from engine_room.jobs import Done, Engine, Event, Failed, Job, Serve, Status, serially

Events = SimpleQueue[Event]


def echo(job: Job[str]) -> Iterator[Event]:
    """Its letters, then Done with their number."""
    yield from job.turn
    yield Done(len(job.turn))


class Gate:
    """An answer that waits in the middle until it is let through."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.answered: list[str] = []

    def answer(self, job: Job[str]) -> Iterator[Event]:
        self.answered.append(job.turn)
        self.reached.set()
        assert self.opened.wait(10)
        if not job.cancelled:
            yield Done(job.turn)


def opened(answer: Callable[[Job[str]], Iterator[Event]], max_queued: int = 9) -> Engine[str]:
    engine: Engine[str] = Engine("chat", lambda: serially(answer), max_queued)
    engine.open()
    return engine


def all_of(events: Events) -> list[Event]:
    """Everything up to the ending."""
    found: list[Event] = []
    while not found or not isinstance(found[-1], Done | Failed):
        found.append(events.get(timeout=10))
    return found


def error_of(events: Events) -> ApiError:
    last = all_of(events)[-1]
    assert isinstance(last, Failed)
    return last.error


def test_a_job_gives_its_items_and_then_one_done() -> None:
    engine = opened(echo)
    events: Events = SimpleQueue()
    engine.submit("hey", events.put)
    assert all_of(events) == ["h", "e", "y", Done(3)]
    engine.close()
    assert events.empty()


def test_jobs_are_answered_in_the_order_they_came() -> None:
    gate = Gate()
    engine = opened(gate.answer)
    events: Events = SimpleQueue()
    for turn in "abcde":
        engine.submit(turn, events.put)
    gate.opened.set()
    assert [events.get(timeout=10) for _ in range(5)] == [Done(turn) for turn in "abcde"]
    engine.close()


def test_items_are_delivered_on_the_engines_own_thread() -> None:
    engine = opened(echo)
    names: SimpleQueue[str] = SimpleQueue()
    engine.submit("x", lambda event: names.put(threading.current_thread().name))
    assert (names.get(timeout=10), names.get(timeout=10)) == ("chat", "chat")
    engine.close()


def test_turns_submitted_while_the_model_loads_wait_for_it() -> None:
    loading, loaded = threading.Event(), threading.Event()

    def load() -> Serve[str]:
        loading.set()
        assert loaded.wait(10)
        return serially(echo)

    engine: Engine[str] = Engine("chat", load, 9)
    assert engine.status.state == "loading"
    engine.open()
    assert loading.wait(10)
    events: Events = SimpleQueue()
    engine.submit("a", events.put)
    assert events.empty()
    loaded.set()
    assert all_of(events) == ["a", Done(1)]
    assert engine.status == Status("ready")
    engine.close()


def test_one_more_than_may_wait_is_refused_and_the_others_lose_nothing() -> None:
    gate = Gate()
    engine = opened(gate.answer, max_queued=2)
    events: Events = SimpleQueue()
    engine.submit("running", events.put)
    assert gate.reached.wait(10)
    engine.submit("first", events.put)
    engine.submit("second", events.put)
    with pytest.raises(QueueFull, match="2 requests already wait for chat"):
        engine.submit("third", events.put)
    gate.opened.set()
    got = [events.get(timeout=10) for _ in range(3)]
    assert got == [Done("running"), Done("first"), Done("second")]
    engine.close()


def test_who_waits_who_runs_and_who_was_refused_is_known() -> None:
    def known() -> tuple[int, int, int]:
        return engine.num_waiting, engine.num_running, engine.num_refused

    gate = Gate()
    engine = opened(gate.answer, max_queued=2)
    events: Events = SimpleQueue()
    engine.submit("running", events.put)
    assert gate.reached.wait(10)
    assert known() == (0, 1, 0)
    engine.submit("waiting", events.put)
    engine.submit("gone", events.put).cancel()
    assert known() == (1, 1, 0)
    engine.submit("in its place", events.put)
    for _ in range(2):
        with pytest.raises(QueueFull):
            engine.submit("refused", events.put)
    assert known() == (2, 1, 2)
    gate.opened.set()
    assert [events.get(timeout=10) for _ in range(3)]
    assert known() == (0, 0, 2)
    engine.close()


@pytest.mark.parametrize("max_queued", [1, 9])
def test_a_job_cancelled_while_it_waits_makes_room_and_is_never_answered(max_queued: int) -> None:
    gate = Gate()
    engine = opened(gate.answer, max_queued)
    events: Events = SimpleQueue()
    engine.submit("running", events.put)
    assert gate.reached.wait(10)
    engine.submit("gone", events.put).cancel()
    engine.submit("kept", events.put)
    gate.opened.set()
    assert [events.get(timeout=10) for _ in range(2)] == [Done("running"), Done("kept")]
    assert gate.answered == ["running", "kept"]
    engine.close()


def test_a_running_job_sees_that_it_is_cancelled() -> None:
    gate = Gate()
    engine = opened(gate.answer)
    events: Events = SimpleQueue()
    job = engine.submit("a", events.put)
    assert gate.reached.wait(10)
    job.cancel()
    job.cancel()
    gate.opened.set()
    assert isinstance(error_of(events), ShuttingDown)
    engine.close()


def test_a_fault_of_ours_fails_its_own_job_only(caplog: pytest.LogCaptureFixture) -> None:
    def fragile(job: Job[str]) -> Iterator[Event]:
        yield "begun"
        if job.turn == "bad":
            raise ZeroDivisionError("secret detail")
        yield Done()

    engine = opened(fragile)
    bad: Events = SimpleQueue()
    good: Events = SimpleQueue()
    engine.submit("bad", bad.put)
    engine.submit("good", good.put)
    assert all_of(good) == ["begun", Done()]
    assert bad.get(timeout=10) == "begun"
    error = error_of(bad)
    assert isinstance(error, InternalError)
    assert "secret" not in error.message
    assert "secret detail" in caplog.text
    engine.close()


def test_an_error_with_an_answer_for_the_client_arrives_as_it_is() -> None:
    wrong = InvalidRequest("Too long.", param="messages")

    def refuse(job: Job[str]) -> Iterator[Event]:
        raise wrong
        yield

    engine = opened(refuse)
    events: Events = SimpleQueue()
    engine.submit("a", events.put)
    assert error_of(events) is wrong
    engine.close()


def test_a_client_that_cannot_be_delivered_to_does_not_stop_the_next() -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("the receiver broke")

    engine = opened(echo)
    engine.submit("a", broken)
    events: Events = SimpleQueue()
    engine.submit("b", events.put)
    assert all_of(events) == ["b", Done(1)]
    engine.close()


def test_without_its_model_every_job_fails_with_the_reason_and_what_mends_it() -> None:
    def load() -> Serve[str]:
        raise Unavailable("The model is not there.", "Fetch it.")

    engine: Engine[str] = Engine("speech", load, 9)
    engine.open()
    for _ in range(2):
        events: Events = SimpleQueue()
        engine.submit("a", events.put)
        error = error_of(events)
        assert isinstance(error, Unavailable)
        assert error.message == "speech is unavailable: The model is not there. Fetch it."
    assert engine.status == Status("unavailable", "The model is not there.", "Fetch it.")
    engine.close()


def test_a_model_that_crashes_while_loading_leaves_an_engine_that_says_so() -> None:
    def load() -> Serve[str]:
        raise ImportError("no such library")

    engine: Engine[str] = Engine("speech", load, 9)
    engine.open()
    events: Events = SimpleQueue()
    engine.submit("a", events.put)
    assert "ImportError: no such library" in error_of(events).message
    assert engine.status.state == "unavailable"
    engine.close()


def test_closing_cuts_the_running_job_off_fails_those_that_wait_and_refuses_new_ones() -> None:
    begun = threading.Event()

    def endless(job: Job[str]) -> Iterator[Event]:
        while not job.cancelled:
            begun.set()
            yield "."

    engine = opened(endless)
    running: Events = SimpleQueue()
    waiting: Events = SimpleQueue()
    engine.submit("a", running.put)
    assert begun.wait(10)
    engine.submit("b", waiting.put)
    engine.close()
    assert isinstance(error_of(running), ShuttingDown)
    assert isinstance(error_of(waiting), ShuttingDown)
    with pytest.raises(ShuttingDown):
        engine.submit("c", running.put)


def test_an_engine_that_was_never_opened_can_be_closed() -> None:
    engine: Engine[str] = Engine("chat", lambda: serially(echo), 9)
    engine.close()
    with pytest.raises(ShuttingDown):
        engine.submit("a", print)


def test_turns_from_many_threads_are_all_answered_once() -> None:
    engine = opened(echo, max_queued=1000)
    events: Events = SimpleQueue()

    def submit_many() -> None:
        for _ in range(100):
            engine.submit("", events.put)

    threads = [threading.Thread(target=submit_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [events.get(timeout=10) for _ in range(400)] == [Done(0)] * 400
    engine.close()
    assert events.empty()


def test_closing_is_not_idleness() -> None:
    idle: list[str] = []
    engine: Engine[str] = Engine(
        "test", lambda: serially(lambda job: [Done()], lambda: idle.append("idle"), 60), 9
    )
    engine.open()
    engine.close()
    assert idle == []


def test_what_is_idle_for_its_time_is_told_once_until_it_is_asked_again() -> None:
    idle: SimpleQueue[str] = SimpleQueue()
    engine: Engine[str] = Engine(
        "test", lambda: serially(lambda job: [Done()], lambda: idle.put("idle"), 0.01), 9
    )
    engine.open()
    for _ in range(2):
        assert idle.get(timeout=30) == "idle"
        time.sleep(0.05)
        assert idle.empty()
        engine.submit("again", lambda event: None)
    engine.close()
