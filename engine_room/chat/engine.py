"""The chat engine: one thread that continues many conversations at once, in one batch a step.

`ChatEngine` is the thread, `Chat` what it does at each step: let in who waits, decode a batch, draw a
token for every answer whose turn it is. One model is in memory; a turn for another one waits until
the running answers are done, and loads that in its place.
"""

import logging
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import psutil

from engine_room.catalogue import Catalogue, ChatFile
from engine_room.chat.cache import PrefixCache, num_held
from engine_room.chat.format import PromptTemplate, StopStrings
from engine_room.chat.grammar import Constraint, Constraints
from engine_room.chat.options import model_options
from engine_room.chat.scheduler import Scheduler
from engine_room.chat.sequence import Sequence, Tally
from engine_room.chat.turn import ChatTurn, Finish, FinishReason, Text
from engine_room.cores import Cores
from engine_room.errors import ApiError, ContextLengthExceeded, InternalError, ShuttingDown
from engine_room.jobs import Done, Engine, Failed, Inbox, Job, Serve
from engine_room.settings import Settings

if TYPE_CHECKING:
    from engine_room.chat.llama import LlamaModel, Slice

log = logging.getLogger(__name__)
# Finished sequences that may stay in the model's memory, beside those that run.
NUM_PAST_IDS = 16
# Room that a sequence finds at least when it is let in, beyond its prompt.
RESERVE_TOKENS = 64
# Past prompts in RAM may take this share of what was free when the model was loaded.
FREE_MEMORY_SHARE = 0.1


def chat_engine(
    settings: Settings, catalogue: Catalogue, cores: Cores | None = None
) -> Engine[ChatTurn]:
    """The engine, not yet open."""

    def load() -> Serve[ChatTurn]:
        chat = Chat(settings, cores)
        chat.use(catalogue.chat(""))
        return chat.serve

    return Engine("chat", load, settings.max_queued)


class Chat:
    """The model in memory, and the conversations it continues. Belongs to the engine's thread."""

    def __init__(self, settings: Settings, cores: Cores | None = None) -> None:
        self._settings = settings
        self._cores = cores or Cores()
        self._max_threads = settings.chat_threads or self._cores.total
        self._default: ChatFile | None = None  # the first one that is used
        self._file: ChatFile | None = None
        self._model: LlamaModel
        self._inbox: Inbox[ChatTurn]
        self._jobs: deque[Job[ChatTurn]] = deque()
        self._compiling: list[tuple[Job[ChatTurn], Future[Constraint]]] = []
        self._compiler = ThreadPoolExecutor(1, "chat grammars")

    def use(self, file: ChatFile) -> None:
        """Have this model in memory, in place of the one before. Raises Unavailable."""
        if file == self._file:
            return
        from engine_room.chat import llama  # late: the server answers before this library is loaded

        self._unload()
        self._default = self._default or file
        started = time.perf_counter()
        max_running = self._settings.chat_parallel
        num_ids = max_running + NUM_PAST_IDS
        file_bytes = file.path.stat().st_size if file.path.is_file() else 0
        options = model_options(
            self._settings,
            num_ids,
            self._max_threads,
            free_bytes=psutil.virtual_memory().available - file_bytes,
            is_default=file == self._default,
        )
        self._model = model = llama.LlamaModel(file.path, options)
        self._template = PromptTemplate(model.template, model.bos_text, model.eos_text)
        self._scheduler = Scheduler(max_running, llama.MAX_BATCH_TOKENS)
        self._cache = PrefixCache(model, num_ids, self._cache_bytes())
        self._constraints = Constraints(model)
        self._file = file
        seconds = time.perf_counter() - started
        log.info(
            "chat model %s loaded in %.1f s; its context is %d tokens (it was trained on %d)",
            *(file.id, seconds, model.num_context_tokens, model.num_trained_tokens),
        )

    def _unload(self) -> None:
        if self._file:
            self._file = None
            self._model.close()

    def _cache_bytes(self) -> int:
        if self._settings.chat_cache_mb >= 0:
            return self._settings.chat_cache_mb * 1_000_000
        return int(psutil.virtual_memory().available * FREE_MEMORY_SHARE)

    def serve(self, inbox: Inbox[ChatTurn]) -> None:
        """Answer what comes into the inbox until it is closed."""
        self._inbox = inbox
        while not (inbox.closed and self._is_idle and not self._compiling):
            if self._is_idle:
                self._cores.stop("chat")
            num_wanted = self._scheduler.num_wanted - len(self._jobs) - len(self._compiling)
            self._jobs += inbox.take(num_wanted, wait=self._is_idle)
            try:
                self.step()
            except Exception:
                log.exception("the chat model failed")
                self._fail_all()
        self._cores.stop("chat")
        self._forget_all()

    @property
    def _is_idle(self) -> bool:
        return not (self._jobs or self._scheduler.all)

    def step(self) -> None:
        """Let in who waits, decode one batch, and draw a token for each whose turn it is."""
        self._drop_cancelled()
        self._admit()
        batch = self._scheduler.plan()
        if not batch:
            return
        self._cores.start("chat", self._max_threads)
        self._model.use_threads(self._num_threads())
        started = time.perf_counter()
        if not self._model.decode([_slice(sequence, count) for sequence, count in batch]):
            self._make_room()
            return
        self._scheduler.took(sum(count for _, count in batch), time.perf_counter() - started)
        end = 0
        for sequence, count in batch:
            end += count
            sequence.num_decoded += count
            if sequence.num_pending == 0:
                self._draw(sequence, end - 1)

    def _num_threads(self) -> int:
        """A share of the cores; for a seed always the same, for with flash attention the last bits of a
        logit depend on it (from 512 tokens on)."""
        if all(sequence.is_seeded for sequence in self._scheduler.running):
            return self._max_threads
        return self._cores.share("chat")

    # ------------------------------------------------------------ in

    def _admit(self) -> None:
        """Make sequences of the jobs for the model in memory, and let run those that fit."""
        while self._jobs:
            is_busy = self._scheduler.all or self._compiling
            if is_busy and self._jobs[0].turn.file != self._file:
                break  # the other model waits until these are done
            self._open(self._jobs.popleft())
        for job, future in [each for each in self._compiling if each[1].done()]:
            self._compiling.remove((job, future))
            self._begin(job, future)
        scheduler = self._scheduler
        for sequence in list(scheduler.waiting):
            if not scheduler.has_place:
                break
            tokens = np.array(sequence.tokens, np.int32)
            if sequence.is_seeded and not scheduler.running:
                # The last bits of a logit depend on what else lies in memory, and where.
                self._cache.move_out()
            match = self._cache.match(tokens, scheduler.running, not sequence.is_seeded)
            if self._cache.is_worth_waiting(tokens, match, scheduler.running):
                continue  # somebody is decoding the same prompt; share it when it is there
            if not self._fits(sequence):
                break
            self._cache.begin(sequence, match)
            scheduler.start(sequence)
            if sequence.tally.num_cached_tokens is None:
                sequence.tally.num_cached_tokens = sequence.num_decoded

    def _open(self, job: Job[ChatTurn]) -> None:
        """The job's sequences, at the end of those that wait; or its error."""
        try:
            self.use(job.turn.file)
        except ApiError as error:
            self._inbox.end(job, Failed(error))
            return
        grammar = job.turn.grammar
        if grammar is None:
            self._begin(job, None)
            return
        # A large grammar takes a second, in which the others go on.
        future = self._compiler.submit(self._constraints.over, grammar)
        self._compiling.append((job, future))
        future.add_done_callback(lambda _: self._inbox.wake())

    def _begin(self, job: Job[ChatTurn], future: "Future[Constraint] | None") -> None:
        try:
            constraint = future.result() if future else None
            self._scheduler.waiting += self._sequences(job, constraint)
        except ApiError as error:
            self._inbox.end(job, Failed(error))
        except Exception:  # a template of somebody else's, for one, can fail in any way
            log.exception("a request failed")
            self._inbox.end(job, Failed(InternalError()))

    def _sequences(self, job: Job[ChatTurn], constraint: Constraint | None) -> list[Sequence]:
        """One for each answer. Raises InvalidRequest, ContextLengthExceeded."""
        turn = job.turn
        prompt = self._model.tokenize(self._template.prompt(turn))
        room = self._model.num_context_tokens - len(prompt)
        if room <= 0:
            raise ContextLengthExceeded(len(prompt), self._model.num_context_tokens)
        tally = Tally(job, turn.num_answers, len(prompt))
        # A seed fixes all answers of a turn, not that they are the same.
        seed = turn.sampling.seed
        seeds = [seed + index if seed >= 0 else -1 for index in range(turn.num_answers)]
        return [
            Sequence(
                tally=tally,
                index=index,
                prompt=np.array(prompt, np.int32),
                max_tokens=min(room, turn.max_tokens or room),
                sampler=self._model.sampler(
                    replace(turn.sampling, seed=seed), constraint and constraint.copy()
                ),
                stops=StopStrings(turn.stop),
            )
            for index, seed in enumerate(seeds)
        ]

    def _fits(self, sequence: Sequence) -> bool:
        """Whether a sequence finds room beside those that run, with some to spare for each."""
        together = [*self._scheduler.running, sequence]
        needed = num_held(together) + RESERVE_TOKENS * len(together)
        if needed + self._cache.num_stale_tokens > self._model.num_pool_tokens:
            self._cache.move_out()
        return needed <= self._model.num_pool_tokens or len(together) == 1

    def _make_room(self) -> None:
        """The batch did not fit: move past prompts out, else let the youngest wait and go on later."""
        if self._cache.num_stale_tokens:
            self._cache.move_out()
        elif len(self._scheduler.running) > 1:
            self._cache.end(self._scheduler.pause_youngest())
            self._cache.move_out()
        else:
            raise RuntimeError("one conversation alone does not fit the model's memory")

    # ------------------------------------------------------------ out

    def _draw(self, sequence: Sequence, logits_index: int) -> None:
        """Draw the sequence's next token, and send the text it makes."""
        token = sequence.sampler.sample(logits_index)
        sequence.tokens.append(token)
        if self._model.is_end(token):
            self._finish(sequence, "stop")
            return
        if text := sequence.text_of(self._model.piece(token)):
            _deliver(sequence.tally.job, Text(sequence.index, text))
        if sequence.stops.found:
            self._finish(sequence, "stop")
        elif sequence.num_generated >= sequence.max_tokens:
            self._finish(sequence, "length")

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        tally = sequence.tally
        # Bytes of a character that the limit cut in two stay behind: half of one is no text.
        if text := sequence.stops.rest():
            _deliver(tally.job, Text(sequence.index, text))
        _deliver(tally.job, Finish(sequence.index, reason))
        tally.num_completion_tokens += sequence.num_generated
        self._leave(sequence)
        if tally.num_open == 0:
            self._inbox.end(tally.job, Done(tally.result()))

    def _leave(self, sequence: Sequence) -> None:
        """Take the sequence out, keeping what it decoded for those to come."""
        self._scheduler.leave(sequence)
        if sequence.seq_id is not None:
            self._cache.end(sequence)
        sequence.sampler.close()
        sequence.tally.num_open -= 1

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.cancelled]:
            self._jobs.remove(job)
            self._inbox.end(job, Failed(ShuttingDown()))
        for sequence in [s for s in self._scheduler.all if s.cancelled]:
            self._leave(sequence)
            if sequence.tally.num_open == 0:
                self._inbox.end(sequence.tally.job, Failed(ShuttingDown()))

    def _fail_all(self) -> None:
        """After a failure of the model nothing in its memory is trusted: the next turn loads it anew."""
        for sequence in self._scheduler.all:
            self._inbox.end(sequence.tally.job, Failed(InternalError()))
        self._forget_all()

    def _forget_all(self) -> None:
        wait([future for _, future in self._compiling])  # they read the model's vocabulary
        for job, _ in self._compiling:
            self._inbox.end(job, Failed(InternalError()))
        self._compiling.clear()
        for sequence in self._scheduler.all:
            sequence.sampler.close()
        self._scheduler.clear()
        self._unload()


def _deliver(job: Job[ChatTurn], item: Text | Finish) -> None:
    """Deliver an item; a receiver that breaks is one that has left, and no harm to the others."""
    try:
        job.deliver(item)
    except Exception:
        log.exception("an answer could not be delivered")
        job.cancel()


def _slice(sequence: Sequence, num_tokens: int) -> "Slice":
    from engine_room.chat.llama import Slice

    begin, end = sequence.num_decoded, sequence.num_decoded + num_tokens
    assert sequence.seq_id is not None
    return Slice(sequence.seq_id, begin, sequence.tokens[begin:end], end == len(sequence.tokens))
