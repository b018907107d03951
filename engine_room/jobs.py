"""A job: what an engine is asked, and the events it answers with, ending in one Done or one error.

`Engine` is the thread behind every part of the server: it loads a model, then answers turns in the
order they came. It knows neither models nor the event loop.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from engine_room.errors import ApiError, InternalError, QueueFull, ShuttingDown, Unavailable
from engine_room.schemas import ModelStatus

log = logging.getLogger(__name__)
STOP_S = 5  # what a step may take until a cancelled job is noticed
Turn = TypeVar("Turn")
Model = TypeVar("Model")
# An engine for more kinds of turns is one for fewer, too.
Asked = TypeVar("Asked", contravariant=True)


@dataclass(frozen=True, slots=True)
class MemoryTurn(Generic[Model]):
    """A turn of every engine: this model is to be in memory, or not to be any more. Its answer is Done."""

    model: Model
    is_to_stay: bool = True
    keep_alive_s: float | None = None  # where a request may say that; None: as the settings say

    @property
    def beside(self) -> Model | None:
        """The model whose other jobs it need not wait for; None: it waits for all."""
        return self.model if self.is_to_stay else None


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a job that went well; `result` is what the engine knows only at the end."""

    result: object = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of a job that went wrong."""

    error: ApiError


# An event is an item of the answer (whatever the engine makes), or one of the two endings.
Event = object
Deliver = Callable[[Event], None]


class Job(Generic[Turn]):
    """One turn under way, which perhaps `goes_on` with an answer that has begun. `cancel` may be called from
    any thread, at any time, more than once."""

    def __init__(self, turn: Turn, deliver: Deliver, goes_on: bool = False) -> None:
        self.turn = turn
        self.deliver = deliver
        self.goes_on = goes_on
        self.submitted_at = time.perf_counter()
        self.has_begun = False  # the engine says so
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask the engine to stop at its next step; a few events may still follow."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """True once somebody has lost interest."""
        return self._cancelled.is_set()

    def end(self, event: Event) -> None:
        """Deliver the last event. Whose job it is sees to it that there is one only."""
        try:
            self.deliver(event)
        except Exception:  # one receiver that breaks must not end the thread for all others
            log.exception("an answer's end could not be delivered")


@dataclass(frozen=True, slots=True)
class Status:
    """How a part of the server is; `mend` is the command or deed that makes it ready."""

    state: Literal["ready", "loading", "unavailable"]
    reason: str | None = None
    mend: str | None = None


def counted(seconds: float | None) -> float | None:
    """A time to wait, no longer than threads can; who wakes early looks and waits on."""
    return None if seconds is None else min(max(seconds, 0), threading.TIMEOUT_MAX)


class Inbox(Generic[Turn]):
    """The jobs of one engine: those that wait, at most `max_queued`, and those that were taken.

    `take` and `end` are the engine's; all else may be called from any thread.
    """

    def __init__(
        self, name: str, max_queued: int, at_end: Callable[[], None] = lambda: None
    ) -> None:
        self._name = name
        self._max_queued = max_queued
        self._at_end = at_end
        self._waiting: deque[Job[Turn]] = deque()
        self._taken: set[Job[Turn]] = set()
        self._changed = threading.Condition()
        self._is_woken = False
        self._is_closing = self._is_over = False
        self.num_refused = 0  # for want of room

    @property
    def num_waiting(self) -> int:
        """Jobs that are not begun yet, taken ones too, and that somebody still waits for."""
        with self._changed:
            jobs = [*self._waiting, *self._taken]
        return sum(not (job.has_begun or job.cancelled) for job in jobs)

    @property
    def num_running(self) -> int:
        """Jobs that are begun and have no end yet."""
        with self._changed:
            return sum(job.has_begun for job in self._taken)

    @property
    def is_idle(self) -> bool:
        """True when no job waits or runs."""
        with self._changed:
            return not (self._waiting or self._taken)

    @property
    def is_wanted(self) -> bool:
        """True when there is a job that somebody still waits for."""
        with self._changed:
            return any(not job.cancelled for job in (*self._waiting, *self._taken))

    @property
    def closed(self) -> bool:
        """True when it takes no more and nobody waits; but while a job runs, what goes on with its answer
        may still come."""
        return self._is_closing and not self._waiting

    def put(self, job: Job[Turn]) -> None:
        """Queue a job; one that goes on with an answer is the next, whoever waits. Raises QueueFull,
        ShuttingDown."""
        with self._changed:
            if self._is_over or (self._is_closing and not job.goes_on):
                raise ShuttingDown
            if job.goes_on:
                self._waiting.appendleft(job)
                self._changed.notify()
                return
            if len(self._waiting) >= self._max_queued:
                self._waiting = deque(job for job in self._waiting if not job.cancelled)
            if len(self._waiting) >= self._max_queued:
                self.num_refused += 1
                raise QueueFull(self._name, self._max_queued)
            self._waiting.append(job)
            self._changed.notify()

    def take(self, max_jobs: int, wait: bool, patience_s: float | None = None) -> list[Job[Turn]]:
        """The next jobs, first come first; with `wait` at least one, unless closed, woken, or out of
        patience."""
        taken: list[Job[Turn]] = []
        with self._changed:
            while not self.closed:
                while self._waiting and len(taken) < max_jobs:
                    job = self._waiting.popleft()
                    if not job.cancelled:
                        taken.append(job)
                if taken or not wait or self._is_woken:
                    break
                if not self._changed.wait(counted(patience_s)):
                    break
            self._is_woken = False
            self._taken.update(taken)
        return taken

    def wake(self) -> None:
        """Make a `take` that waits return: what the engine had somebody else do is done."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()

    def end(self, job: Job[Turn], event: Event) -> None:
        """Deliver the one event that ends a job; more than once is once."""
        with self._changed:
            if job not in self._taken:
                return
            self._taken.remove(job)
        job.end(event)
        self._at_end()

    def close(self, for_good: bool = False) -> None:
        """Take no more, and refuse those that wait; those that were taken go on, and so do answers that have
        begun, unless it is `for_good`."""
        with self._changed:
            self._is_closing = True
            self._is_over = self._is_over or for_good
            refused = [job for job in self._waiting if for_good or not job.goes_on]
            self._taken.update(refused)
            self._waiting = deque(job for job in self._waiting if job not in self._taken)
            self._changed.notify()
        for job in refused:
            self.end(job, Failed(ShuttingDown()))

    def cancel_all(self) -> None:
        """Ask the jobs that were taken to stop at their next step."""
        with self._changed:
            for job in self._taken:
                job.cancel()

    def end_all(self) -> None:
        """End the jobs that were taken and have no end yet."""
        for job in list(self._taken):
            self.end(job, Failed(ShuttingDown()))


# What serves an engine's jobs until its inbox is closed.
Serve = Callable[[Inbox[Turn]], None]
# What a loaded model does with one job: yield the items, a Done last, and look at job.cancelled between.
Answer = Callable[[Job[Turn]], Iterable[Event]]


def serially(
    answer: Answer[Turn],
    when_idle: Callable[[], None] = lambda: None,
    idle_after_s: float | None = None,
) -> Serve[Turn]:
    """Serve one job at a time, first come first; `when_idle` is called when none came for that long."""

    def serve(inbox: Inbox[Turn]) -> None:
        patience_s = idle_after_s
        while not inbox.closed:
            jobs = inbox.take(1, wait=True, patience_s=patience_s)
            patience_s = idle_after_s if jobs else None
            for job in jobs:
                job.has_begun = True
                inbox.end(job, _last_event(answer, job))
            if not jobs and not inbox.closed:
                when_idle()

    return serve


def refusing(error: ApiError) -> Serve[Any]:
    """Fail every job with this."""

    def refuse(_job: Job[Any]) -> Iterable[Event]:
        raise error

    return serially(refuse)


def _last_event(answer: Answer[Turn], job: Job[Turn]) -> Event:
    """Deliver the items as they come; give back the one event that ends the job."""
    try:
        for event in answer(job):
            if isinstance(event, Done):
                return event
            job.deliver(event)
    except ApiError as error:
        return Failed(error)
    except Exception:
        log.exception("a request failed")
        return Failed(InternalError())
    return Failed(ShuttingDown())  # an answer without its Done was cut off by close()


class Answering(Protocol[Asked]):
    """What turns are given to."""

    def submit(self, turn: Asked, deliver: Deliver) -> Job[Any]:
        """See Engine."""


class Engine(Generic[Asked]):
    """One thread that loads a model with `load`, then serves jobs.

    `load` runs on that thread and returns what serves; if it raises `Unavailable`, every job fails with
    that. `at_end` is called on that thread when a job has ended. `submit` and `close` may be called from
    any thread.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Serve[Asked]],
        max_queued: int,
        at_end: Callable[[], None] = lambda: None,
        in_memory: Collection[str] = (),
    ) -> None:
        """`in_memory` are the ids of the models that it has there, kept by what serves."""
        self.name = name
        self._in_memory = in_memory
        self.status = Status("loading", "its model is being loaded")
        self._load = load
        self._inbox: Inbox[Asked] = Inbox(name, max_queued, at_end)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def num_waiting(self) -> int:
        """Jobs that it has not begun with."""
        return self._inbox.num_waiting

    @property
    def num_running(self) -> int:
        """Jobs that it works at."""
        return self._inbox.num_running

    @property
    def num_refused(self) -> int:
        """Jobs refused with QueueFull since the start."""
        return self._inbox.num_refused

    @property
    def is_idle(self) -> bool:
        """True when it has no job."""
        return self._inbox.is_idle

    def states(self) -> dict[str, ModelStatus]:
        """The ids of the models in memory, and whether they are there yet."""
        return dict.fromkeys(list(self._in_memory), "loaded")

    @property
    def is_wanted(self) -> bool:
        """True when it has a job that somebody still waits for."""
        return self._inbox.is_wanted

    def open(self) -> None:
        """Start the thread; returns at once."""
        self._thread.start()

    def submit(self, turn: Asked, deliver: Deliver, goes_on: bool = False) -> Job[Asked]:
        """Queue a turn; `deliver` is called on the engine's thread. One that `goes_on` with an answer waits
        for no other, and is taken while the engine closes. Raises QueueFull, ShuttingDown."""
        job = Job(turn, deliver, goes_on)
        self.put(job)
        return job

    def put(self, job: Job[Asked]) -> None:
        """Queue a job that somebody made. Raises QueueFull, ShuttingDown."""
        self._inbox.put(job)

    def refuse(self) -> None:
        """Take no more jobs and fail those that wait; those that run go on. Returns at once."""
        self._inbox.close()

    def close(self, finish_within_s: float = 0) -> None:
        """Let what runs finish within a time, then stop it at its next step, and end the thread."""
        self.refuse()
        if self._thread.ident is not None:
            self._thread.join(finish_within_s)
            self._inbox.close(for_good=True)
            self._inbox.cancel_all()
            self._thread.join(STOP_S)

    def _run(self) -> None:
        serve = self._loaded()
        try:
            serve(self._inbox)
        finally:  # whatever happened, nobody waits for ever
            self._inbox.close(for_good=True)
            self._inbox.end_all()

    def _loaded(self) -> Serve[Asked]:
        try:
            serve = self._load()
        except Unavailable as error:
            self.status = Status("unavailable", error.reason, error.mend)
            log.error("%s is unavailable: %s", self.name, error.message)
        except Exception as error:
            log.exception("%s could not be loaded", self.name)
            self.status = Status("unavailable", f"{type(error).__name__}: {error}", "see the log")
        else:
            self.status = Status("ready")
            return serve
        return refusing(
            Unavailable(f"{self.name} is unavailable: {self.status.reason}", self.status.mend)
        )
