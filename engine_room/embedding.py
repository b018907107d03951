"""The embedding engine: one thread that turns texts into vectors, those of several requests at a time.

`Embeddings` is what the thread does at each step: let in who waits, take inputs of every request in
turn until a batch is full, compute it. So a question gets its vector while a library is read in. One
model is in memory, loaded when it is first asked; a turn for another one waits until the running
ones are done, and loads that in its place.
"""

import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine_room.catalogue import EmbeddingFile
from engine_room.cores import Cores
from engine_room.embedding_turn import EmbeddingResult, EmbeddingTurn, Input, Vectors, place
from engine_room.errors import ApiError, InternalError, InvalidRequest, ShuttingDown, Unavailable
from engine_room.jobs import Done, Engine, Failed, Inbox, Job, MemoryTurn, Serve
from engine_room.metrics import Metrics
from engine_room.settings import Settings

if TYPE_CHECKING:
    from engine_room.embedding_llama import EmbeddingModel, Tokens

log = logging.getLogger(__name__)
Asked = EmbeddingTurn | MemoryTurn[EmbeddingFile]
MAX_OPEN = 64  # requests that take turns; the others wait


def embedding_engine(
    settings: Settings, cores: Cores | None = None, metrics: Metrics | None = None
) -> Engine[Asked]:
    """The engine, not yet open. It is ready without a model: that is loaded at the first turn."""

    in_memory: set[str] = set()

    def load() -> Serve[Asked]:
        from engine_room import embedding_llama  # noqa: F401  late; said now if it is missing

        keep_alive_s = settings.embedding_unload_after_s or math.inf
        return Embeddings(cores, metrics, keep_alive_s, in_memory).serve

    return Engine("embeddings", load, settings.max_queued, in_memory=in_memory)


@dataclass(slots=True)
class Reading:
    """A turn under way: its inputs as tokens, and their vectors as far as they are computed."""

    job: Job[Any]
    turn: EmbeddingTurn
    inputs: "list[Tokens]"
    vectors: Vectors
    num_taken: int = 0
    num_done: int = 0

    @property
    def has_more(self) -> bool:
        return self.num_taken < len(self.inputs)

    def result(self) -> EmbeddingResult:
        """All vectors, cut to the dimensions that were asked for and of length 1 again."""
        from engine_room.embedding_llama import of_length_one

        vectors = of_length_one(self.vectors[:, : self.turn.num_dimensions])
        return EmbeddingResult(vectors, sum(map(len, self.inputs)))


class Embeddings:
    """The model in memory, and the turns it works at. Belongs to the engine's thread."""

    def __init__(
        self,
        cores: Cores | None = None,
        metrics: Metrics | None = None,
        keep_alive_s: float = math.inf,
        in_memory: set[str] | None = None,
    ) -> None:
        """A model goes when nobody asked for it for `keep_alive_s`; its id is `in_memory` until then."""
        self._cores = cores or Cores()
        self._metrics = metrics or Metrics()
        self._keep_alive_s = self._usual_keep_alive_s = keep_alive_s
        self._in_memory = set() if in_memory is None else in_memory
        self._used_at = 0.0  # time.monotonic(), as it is with one
        self._file: EmbeddingFile | None = None
        self._model: EmbeddingModel
        self._inbox: Inbox[Any]
        self._jobs: deque[Job[Any]] = deque()  # taken, not yet begun
        self._readings: list[Reading] = []
        self._turns: deque[Reading] = deque()  # those with inputs left, whose turn is next first

    def use(self, file: EmbeddingFile) -> None:
        """Have this model in memory, in place of the one before. Raises Unavailable."""
        if file == self._file:
            return
        from engine_room.embedding_llama import EmbeddingModel

        self._unload()
        started = time.perf_counter()
        self._model = EmbeddingModel(file.path)
        self._file = file
        self._in_memory.add(file.id)
        self._metrics.loaded("embeddings")
        log.info("embedding model %s loaded in %.1f s", file.id, time.perf_counter() - started)

    def _unload(self) -> None:
        if self._file:
            self._in_memory.discard(self._file.id)
            self._file = None
            self._model.close()

    def serve(self, inbox: Inbox[Asked]) -> None:
        """Answer what comes into the inbox until it is closed."""
        self._inbox = inbox
        while not (inbox.closed and self._is_idle):
            num_open = len(self._jobs) + len(self._readings)
            self._jobs += inbox.take(MAX_OPEN - num_open, self._is_idle, self._patience_s)
            if self._is_idle and self._patience_s == 0:
                log.info("embedding model unloaded: nobody asked for it")
                self._unload()
            try:
                self.step()
            except Unavailable as error:  # no memory for so long an input
                self._fail_all(error)
            except Exception:
                log.exception("the embedding model failed")
                self._fail_all(InternalError())
        self._unload()

    @property
    def _is_idle(self) -> bool:
        return not (self._jobs or self._readings)

    @property
    def _patience_s(self) -> float | None:
        """How long the model may still lie idle; None: for ever."""
        if not self._file or self._keep_alive_s == math.inf:
            return None
        return max(0.0, self._used_at + self._keep_alive_s - time.monotonic())

    def step(self) -> None:
        """Let in who waits, compute one batch, and answer those whose last vector was in it."""
        self._drop_cancelled()
        self._admit()
        batch = self._next_batch()
        if not batch:
            return
        inputs = [reading.inputs[index] for reading, index in batch]
        with self._cores.working("embeddings"):
            vectors = self._model.embed(inputs, self._cores.share("embeddings"))
        self._used_at = time.monotonic()
        self._metrics.embedded(sum(map(len, inputs)))
        for (reading, index), vector in zip(batch, vectors, strict=True):
            reading.vectors[index] = vector
            reading.num_done += 1
            if reading.num_done == len(reading.inputs):
                self._readings.remove(reading)
                self._inbox.end(reading.job, Done(reading.result()))

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.cancelled]:
            self._jobs.remove(job)
            self._inbox.end(job, Failed(ShuttingDown()))
        for reading in [reading for reading in self._readings if reading.job.cancelled]:
            self._readings.remove(reading)
            self._inbox.end(reading.job, Failed(ShuttingDown()))
        self._turns = deque(reading for reading in self._turns if not reading.job.cancelled)

    # ------------------------------------------------------------ in

    def _admit(self) -> None:
        """Begin with the jobs for the model in memory; the first for another one waits for all others."""
        while self._jobs:
            turn = self._jobs[0].turn
            beside = turn.beside if isinstance(turn, MemoryTurn) else turn.file
            if self._readings and beside != self._file:
                break
            job = self._jobs.popleft()
            try:
                self._begin(job)
            except ApiError as error:
                self._inbox.end(job, Failed(error))
            except Exception:
                log.exception("a request failed")
                self._inbox.end(job, Failed(InternalError()))

    def _begin(self, job: Job[Any]) -> None:
        """Raises InvalidRequest, Unavailable."""
        turn: Asked = job.turn
        if isinstance(turn, EmbeddingTurn):
            self._keep(turn.file, turn.keep_alive_s)
            self._read(job, turn)
            return
        if turn.is_to_stay:
            self._keep(turn.model, turn.keep_alive_s)
        elif self._file and turn.model.id == self._file.id:  # whose file may be another one by now
            self._unload()
        self._inbox.end(job, Done())

    def _keep(self, file: EmbeddingFile, keep_alive_s: float | None) -> None:
        """Have a model in memory for so long. Raises Unavailable."""
        self.use(file)
        self._used_at = time.monotonic()
        self._keep_alive_s = self._usual_keep_alive_s if keep_alive_s is None else keep_alive_s

    def _read(self, job: Job[Any], turn: EmbeddingTurn) -> None:
        """Let a turn's inputs take part. Raises InvalidRequest."""
        num_dimensions = self._model.num_dimensions
        if turn.num_dimensions and turn.num_dimensions > num_dimensions:
            raise InvalidRequest(
                f"dimensions: {turn.num_dimensions} are asked for, but the vectors of "
                f"{turn.file.id} have {num_dimensions}.",
                param="dimensions",
            )
        count = len(turn.inputs)
        inputs = [self._tokens(each, place(i, count)) for i, each in enumerate(turn.inputs)]
        reading = Reading(job, turn, inputs, np.empty((count, num_dimensions), np.float32))
        self._readings.append(reading)
        self._turns.append(reading)

    def _tokens(self, given: Input, where: str) -> "Tokens":
        """The tokens of one input. Raises InvalidRequest when it has none, too many, or unknown ones."""
        model = self._model
        limit = model.max_input_tokens
        if isinstance(given, str):
            self._check_head(given, where)
            tokens = model.tokenize(given)
        else:
            if max(given) >= model.num_vocab:
                raise InvalidRequest(
                    f"{where}: there is no token {max(given)}; {self._name} has {model.num_vocab:,} "
                    "tokens, counted from 0, and other models' ids mean nothing to it. Send texts.",
                    param=where,
                )
            tokens = model.framed(given)
        if len(tokens) == 0:
            raise InvalidRequest(f"{where}: it has no token for {self._name}.", param=where)
        if len(tokens) > limit:
            raise self._too_long(where, f"{len(tokens):,} tokens")
        return tokens

    def _check_head(self, text: str, where: str) -> None:
        """Raise InvalidRequest for a text that is far too long, before all of it is tokenized: of some
        texts, 200,000 characters take 17 s, and four times that for each doubling."""
        limit = self._model.max_input_tokens
        num_chars = 4 * limit
        while num_chars < len(text):
            num_tokens = len(self._model.tokenize(text[:num_chars]))
            if (
                num_tokens > 2 * limit
            ):  # far above, for a word cut in two may be more tokens than whole
                length = f"{num_tokens:,} tokens in its first {num_chars:,} characters"
                raise self._too_long(where, length)
            num_chars *= 2

    @property
    def _name(self) -> str:
        assert self._file
        return self._file.id

    def _too_long(self, where: str, length: str) -> InvalidRequest:
        limit = self._model.max_input_tokens
        return InvalidRequest(
            f"{where}: it has {length}, but {self._name} takes {limit:,} tokens at most. "
            "Cut it into shorter texts.",
            param=where,
            code="context_length_exceeded",
        )

    # ------------------------------------------------------------ out

    def _next_batch(self) -> list[tuple[Reading, int]]:
        """One input of every reading in turn, and again, until the batch is full."""
        from engine_room.embedding_llama import MAX_BATCH_INPUTS, MAX_BATCH_TOKENS

        batch: list[tuple[Reading, int]] = []
        num_tokens = 0
        while self._turns and len(batch) < MAX_BATCH_INPUTS:
            reading = self._turns[0]
            num_tokens += len(reading.inputs[reading.num_taken])
            if batch and num_tokens > MAX_BATCH_TOKENS:
                break
            self._turns.popleft()
            batch.append((reading, reading.num_taken))
            reading.job.has_begun = True
            reading.num_taken += 1
            if reading.has_more:
                self._turns.append(reading)
        return batch

    def _fail_all(self, error: ApiError) -> None:
        """After a failure of the model nothing in its memory is trusted: the next turn loads it anew."""
        for reading in self._readings:
            self._inbox.end(reading.job, Failed(error))
        self._readings.clear()
        self._turns.clear()
        self._unload()
