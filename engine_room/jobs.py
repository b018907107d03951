"""A job: what an engine is asked, and the events it answers with, ending in one Done or one error.

`Engine` is the thread behind every part of the server: it loads a model, then answers turns in the
order they came. It knows neither models nor the event loop.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from engine_room.errors import ApiError, InternalError, QueueFull, ShuttingDown, Unavailable

log = logging.getLogger(__name__)
Turn = TypeVar("Turn")


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
    """One turn under way. `cancel` may be called from any thread, at any time, more than once."""

    def __init__(self, turn: Turn, deliver: Deliver) -> None:
        self.turn = turn
        self.deliver = deliver
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask the engine to stop at its next step; no event follows for sure after this."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """True once somebody has lost interest."""
        return self._cancelled.is_set()


@dataclass(frozen=True, slots=True)
class Status:
    """How a part of the server is; `mend` is the command or deed that makes it ready."""

    state: Literal["ready", "loading", "unavailable"]
    reason: str | None = None
    mend: str | None = None


# What a loaded model does with a job: yield the items, a Done last, and look at job.cancelled between.
Answer = Callable[[Job[Turn]], Iterable[Event]]


class Engine(Generic[Turn]):
    """One thread that loads a model with `load`, then answers jobs one at a time, first come first.

    `load` runs on that thread and returns the function that answers; if it raises `Unavailable`, every
    job fails with that. `submit` and `close` may be called from any thread.
    """

    def __init__(self, name: str, load: Callable[[], Answer[Turn]], max_queued: int) -> None:
        self.name = name
        self.status = Status("loading", "its model is being loaded")
        self._load = load
        self._max_queued = max_queued
        self._waiting: deque[Job[Turn]] = deque()
        self._running: Job[Turn] | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def open(self) -> None:
        """Start the thread; returns at once."""
        self._thread.start()

    def submit(self, turn: Turn, deliver: Deliver) -> Job[Turn]:
        """Queue a turn; `deliver` is called on the engine's thread. Raises QueueFull, ShuttingDown."""
        job = Job(turn, deliver)
        with self._changed:
            if self._closing:
                raise ShuttingDown
            if len(self._waiting) >= self._max_queued:
                self._waiting = deque(job for job in self._waiting if not job.cancelled)
            if len(self._waiting) >= self._max_queued:
                raise QueueFull(self.name, self._max_queued)
            self._waiting.append(job)
            self._changed.notify()
        return job

    def close(self, timeout_s: float = 5) -> None:
        """Stop the running job at its next step, fail those that wait, and end the thread."""
        with self._changed:
            self._closing = True
            if self._running:
                self._running.cancel()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        answer = self._loaded()
        while job := self._next():
            self._end(job, self._last_event(answer, job))
        for job in self._waiting:
            self._end(job, Failed(ShuttingDown()))

    def _end(self, job: Job[Turn], event: Event) -> None:
        try:
            job.deliver(event)
        except Exception:  # one receiver that breaks must not end the thread for all others
            log.exception("%s could not deliver an answer's end", self.name)

    def _loaded(self) -> Answer[Turn]:
        try:
            answer = self._load()
        except Unavailable as error:
            self.status = Status("unavailable", error.reason, error.mend)
            log.error("%s is unavailable: %s", self.name, error.message)
        except Exception as error:
            log.exception("%s could not be loaded", self.name)
            self.status = Status("unavailable", f"{type(error).__name__}: {error}", "see the log")
        else:
            self.status = Status("ready")
            return answer
        return self._refuse

    def _refuse(self, job: Job[Turn]) -> Iterable[Event]:
        raise Unavailable(f"{self.name} is unavailable: {self.status.reason}", self.status.mend)

    def _next(self) -> Job[Turn] | None:
        with self._changed:
            self._running = None
            while not self._closing:
                while self._waiting:
                    job = self._waiting.popleft()
                    if not job.cancelled:
                        self._running = job
                        return job
                self._changed.wait()
        return None

    def _last_event(self, answer: Answer[Turn], job: Job[Turn]) -> Event:
        """Deliver the items as they come; give back the one event that ends the job."""
        try:
            for event in answer(job):
                if isinstance(event, Done):
                    return event
                job.deliver(event)
        except ApiError as error:
            return Failed(error)
        except Exception:
            log.exception("%s failed on a request", self.name)
            return Failed(InternalError())
        return Failed(ShuttingDown())  # an answer without its Done was cut off by close()
