"""The reader: a thread beside the engine's that makes tokens of texts and texts of tokens.

Megabytes of text take seconds, in which the running answers go on.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from engine_room.chat.turn import ChatTurn, DetokenizeTurn, ModelTurn, TokenizeTurn
from engine_room.chat.vocabulary import Vocabulary, detokenized, tokenized
from engine_room.errors import ApiError, InternalError, QueueFull, ShuttingDown
from engine_room.jobs import Done, Event, Failed, Inbox, Job

log = logging.getLogger(__name__)


class Reader:
    """Reads for jobs of the engine's inbox. Its methods are called by the engine's thread; while it
    `is_busy`, the model has to stay in memory."""

    def __init__(self, max_jobs: int) -> None:
        self._max_jobs = max_jobs
        self._jobs: list[tuple[Job[ModelTurn], Future[object]]] = []
        self._thread = ThreadPoolExecutor(1, "chat texts")

    @property
    def is_busy(self) -> bool:
        """True while there are jobs that have not been ended."""
        return bool(self._jobs)

    def begin(
        self,
        inbox: Inbox[ModelTurn],
        job: Job[ModelTurn],
        vocabulary: Vocabulary,
        prompt_of: Callable[[ChatTurn], list[int]],
    ) -> None:
        """Read what the job's turn holds, and wake the inbox then. `prompt_of` is called on the reader's
        thread."""
        if len(self._jobs) >= self._max_jobs:
            inbox.end(job, Failed(QueueFull("chat", self._max_jobs)))
            return
        future = self._thread.submit(_read, job, vocabulary, prompt_of)
        self._jobs.append((job, future))
        future.add_done_callback(lambda _: inbox.wake())

    def end_read(self, inbox: Inbox[ModelTurn]) -> None:
        """End the jobs that have been read."""
        for job, future in [each for each in self._jobs if each[1].done()]:
            self._jobs.remove((job, future))
            inbox.end(job, _ending(future))

    def end_all(self, inbox: Inbox[ModelTurn]) -> None:
        """End all: those that are not begun are not."""
        for _, future in self._jobs:
            future.cancel()
        wait([future for _, future in self._jobs])
        self.end_read(inbox)


def _read(
    job: Job[ModelTurn], vocabulary: Vocabulary, prompt_of: Callable[[ChatTurn], list[int]]
) -> object:
    turn = job.turn
    if job.cancelled:
        raise ShuttingDown
    if isinstance(turn, TokenizeTurn):
        return tokenized(vocabulary, turn, prompt_of)
    assert isinstance(turn, DetokenizeTurn)
    return detokenized(vocabulary, turn)


def _ending(future: "Future[object]") -> Event:
    if future.cancelled():
        return Failed(InternalError())
    error = future.exception()
    if error is None:
        return Done(future.result())
    if isinstance(error, ApiError):
        return Failed(error)
    log.error("a text could not be read", exc_info=error)
    return Failed(InternalError())
