"""The chat engine of one model: a thread that continues many conversations at once, in one batch a step.

`Chat` is what the thread does at each step: let in who waits, decode a batch, draw a token for every
answer whose turn it is. Which models have a thread, `chat.residents` decides.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import numpy as np

from engine_room.catalogue import ChatFile
from engine_room.chat.answers import sequences_of
from engine_room.chat.cache import PrefixCache, num_held
from engine_room.chat.logprobs import token_logprob
from engine_room.chat.memory import with_room
from engine_room.chat.options import model_options
from engine_room.chat.pace import Pace
from engine_room.chat.preparation import Preparation, Prepared, is_quick
from engine_room.chat.scheduler import Scheduler
from engine_room.chat.sequence import Sequence
from engine_room.chat.turn import Finish, FinishReason, Item, ModelTurn, Text
from engine_room.cores import Cores
from engine_room.errors import ApiError, InternalError, ShuttingDown
from engine_room.jobs import Done, Failed, Inbox, Job
from engine_room.memory_fit import free_bytes, free_now
from engine_room.metrics import Metrics
from engine_room.settings import Settings

if TYPE_CHECKING:
    from engine_room.chat.llama import LlamaModel, Slice

log = logging.getLogger(__name__)
# Finished sequences that may stay in the model's memory, beside those that run.
NUM_PAST_IDS = 16
# Room that a sequence finds at least when it is let in, beyond its prompt.
RESERVE_TOKENS = 64
# Prompts and grammars that are made at once beside the engine's thread.
NUM_PREPARERS = 2
# Past prompts in RAM may take this share of what was free when the model was loaded.
FREE_MEMORY_SHARE = 0.1


def num_sequences(settings: Settings) -> int:
    """How many sequences a model's memory may hold at once."""
    return settings.chat_parallel + NUM_PAST_IDS


class Chat:
    """One model, and the conversations it continues. Belongs to the engine's thread."""

    def __init__(
        self,
        file: ChatFile,
        settings: Settings,
        cores: Cores | None = None,
        metrics: Metrics | None = None,
        is_default: bool = True,
    ) -> None:
        self._file = file
        self._settings = settings
        self._is_default = is_default
        self._cores = cores or Cores()
        self._metrics = metrics or Metrics()
        self._part = f"chat {file.id}"
        self._max_threads = settings.chat_threads or self._cores.total
        self._is_loaded = False
        self._model: LlamaModel
        self._inbox: Inbox[ModelTurn]
        self._jobs: deque[Job[ModelTurn]] = deque()
        self._preparing: list[tuple[Job[ModelTurn], Future[object]]] = []
        self._outbox: list[tuple[Job[ModelTurn], Item]] = []
        self._preparers = ThreadPoolExecutor(NUM_PREPARERS, "chat prompts")

    def load(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Have the model in memory; `should_stop` is asked many times meanwhile. Raises Unavailable."""
        if self._is_loaded:
            return
        from engine_room.chat import llama  # late: the server answers before this library is loaded

        started = time.perf_counter()
        max_running, num_ids = self._settings.chat_parallel, num_sequences(self._settings)
        options = model_options(
            self._settings,
            num_ids,
            self._max_threads,
            is_default=self._is_default,
            loading=self._file.loading,
        )
        options = with_room(options, self._file.path, free_now())
        self._model = model = llama.LlamaModel(
            self._file.path, options, self._file.mmproj, should_stop, self._cores
        )
        self._preparation = Preparation(model, self._file.loading.template)
        self._pace = Pace()
        self._scheduler = Scheduler(max_running, llama.MAX_BATCH_TOKENS)
        self._cache = PrefixCache(model, num_ids, self._cache_bytes())
        self._is_loaded = True
        self._metrics.loaded("chat")
        seconds = time.perf_counter() - started
        log.info(
            "chat model %s loaded in %.1f s; its context is %d tokens (it was trained on %d)",
            *(self._file.id, seconds, model.num_context_tokens, model.num_trained_tokens),
        )

    @property
    def memory_bytes(self) -> int:
        """What the loaded model takes: its weights, and its memory of conversations."""
        return self._model.memory_bytes

    def _unload(self) -> None:
        if self._is_loaded:
            self._is_loaded = False
            self._model.close()

    def _cache_bytes(self) -> int:
        if self._settings.chat_cache_mb >= 0:
            return self._settings.chat_cache_mb * 1_000_000
        return int(free_bytes() * FREE_MEMORY_SHARE)

    def serve(self, inbox: Inbox[ModelTurn]) -> None:
        """Answer what comes into the inbox until it is closed."""
        self._inbox = inbox
        while not (inbox.closed and self._is_idle and not self._preparing):
            if self._is_idle:
                self._cores.stop(self._part)
            num_wanted = self._scheduler.num_wanted - len(self._jobs) - len(self._preparing)
            self._jobs += inbox.take(num_wanted, wait=self._is_idle)
            if inbox.closed and self._is_idle:  # then `take` does not wait
                wait([future for _, future in self._preparing], return_when=FIRST_COMPLETED)
            try:
                self.step()
            except Exception:
                log.exception("the chat model failed")
                self._fail_all()
        self._cores.stop(self._part)
        self._forget_all()
        self._preparers.shutdown()

    @property
    def _is_idle(self) -> bool:
        return not (self._jobs or self._scheduler.all)

    def step(self) -> None:
        """Let in who waits, decode one batch, and draw a token for each whose turn it is."""
        self._drop_cancelled()
        self._admit()
        batch, image = self._scheduler.plan(), self._scheduler.plan_image()
        self._send()
        if (image and not self._decode_image(*image)) or (batch and not self._decode(batch)):
            self._make_room()
            return
        end = 0
        for sequence, count in batch:
            end += count
            sequence.num_decoded += count
            if sequence.num_pending > 0:
                continue
            try:
                self._draw(sequence, end - 1)
            except ApiError as error:  # its constraint leads nowhere
                self._send()
                self._inbox.end(sequence.tally.job, Failed(error))
                sequence.tally.job.cancel()  # its other answers too; dropped at the next step

    def _decode(self, batch: list[tuple[Sequence, int]]) -> bool:
        """False, and nothing done, when the memory has no room for it."""
        slices = [_slice(sequence, count) for sequence, count in batch]
        num_tokens = sum(count for _, count in batch)
        return self._computed(num_tokens, lambda: self._model.decode(slices))

    def _decode_image(self, sequence: Sequence, count: int) -> bool:
        """The same for some tokens of the image that the sequence comes to."""
        seq_id, image = sequence.seq_id, sequence.next_image
        assert seq_id is not None
        assert image is not None
        place = (seq_id, sequence.num_decoded, image, sequence.num_image_decoded, count)
        is_done = self._computed(count, lambda: self._model.decode_image(*place))
        if is_done:
            sequence.saw(count)
        return is_done

    def _computed(self, num_tokens: int, decode: Callable[[], bool]) -> bool:
        """What `decode` says, on a share of the cores; scheduler and pace learn from what it took."""
        num_threads = self._num_threads(num_tokens)
        self._model.use_threads(num_threads)
        started, cpu_started = time.perf_counter(), time.process_time()
        if not decode():
            return False
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
        self._scheduler.took(num_tokens, seconds)
        self._pace.took(num_tokens, num_threads, seconds, cpu_s)
        return True

    def _num_threads(self, num_tokens: int) -> int:
        """A share of the cores; for a seed always the same, for with flash attention the last bits of a
        logit depend on it (from 512 tokens on)."""
        self._cores.start(self._part, self._max_threads)
        if all(sequence.is_seeded for sequence in self._scheduler.running):
            return self._max_threads
        return self._pace.num_threads(num_tokens, self._cores.share(self._part))

    # ------------------------------------------------------------ in

    def _admit(self) -> None:
        """Make sequences of the jobs, and let run those that fit."""
        while self._jobs:
            self._open(self._jobs.popleft())
        for job, future in [each for each in self._preparing if each[1].done()]:
            self._preparing.remove((job, future))
            self._begin(job, future.result)
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
            sequence.tally.begin(sequence.prompt_index, sequence.num_decoded_tokens)

    def _open(self, job: Job[ModelTurn]) -> None:
        """Prepare the job for the model."""
        try:
            self.load()  # anew after a failure
        except ApiError as error:
            self._inbox.end(job, Failed(error))
            return
        turn = job.turn
        if is_quick(turn):
            self._begin(job, lambda: self._preparation.of(turn))
            return
        # In the meantime the others go on.
        future = self._preparers.submit(self._preparation.of, turn, lambda: job.cancelled)
        self._preparing.append((job, future))
        future.add_done_callback(lambda _: self._inbox.wake())

    def _begin(self, job: Job[ModelTurn], prepare: Callable[[], object]) -> None:
        """Put the job's sequences at the end of those that wait, or end it when nothing is to be written,
        or with its error."""
        try:
            prepared = prepare()
            if isinstance(prepared, Prepared):
                sequences = sequences_of(job, prepared, self._model)
                self._scheduler.waiting += sequences
                if prepared.echoes:
                    texts = [prepared.echoes[sequence.prompt_index] for sequence in sequences]
                    self._outbox += [(job, Text(n, text)) for n, text in enumerate(texts)]
            else:
                self._inbox.end(job, Done(prepared))
        except ApiError as error:
            self._inbox.end(job, Failed(error))
        except Exception:  # a template of somebody else's, for one, can fail in any way
            log.exception("a request failed")
            self._inbox.end(job, Failed(InternalError()))

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
        if sequence.max_tokens == 0:  # asked to read the prompt only
            self._finish(sequence, "length")
            return
        token = sequence.sampler.sample(logits_index)
        sequence.tokens.append(token)
        sequence.tally.drew()
        if self._model.is_end(token):
            self._finish(sequence, "stop")
            return
        if (num_top := sequence.num_top_logprobs) is not None:
            logits = self._model.logits(logits_index)
            spelled = self._model.spelling
            sequence.logprobs.add(token_logprob(logits, token, num_top, spelled))
        piece = sequence.marks.get(token) or self._model.piece(token)
        for item in sequence.items_of(piece):
            self._outbox.append((sequence.tally.job, item))
        if sequence.reader.found_stop:
            self._finish(sequence, "stop")
        elif sequence.num_generated >= sequence.max_tokens:
            self._finish(sequence, "length")

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        tally = sequence.tally
        # Bytes of a character that the limit cut in two stay behind: half of one is no text.
        self._outbox += [(tally.job, item) for item in sequence.rest()]
        if reason == "stop" and sequence.reader.num_calls:
            reason = "tool_calls"
        self._outbox.append((tally.job, Finish(sequence.index, reason)))
        self._leave(sequence)
        if tally.num_open == 0:
            self._send()
            self._inbox.end(tally.job, Done(tally.result()))

    def _send(self) -> None:
        """Deliver what was drawn. Just before the model computes, without Python's lock: while the event
        loop writes to the clients, this thread would only wait for it."""
        for job, item in self._outbox:
            try:
                job.deliver(item)
            except Exception:  # who breaks has left, and does the others no harm
                log.exception("an answer could not be delivered")
                job.cancel()
        self._outbox.clear()

    def _leave(self, sequence: Sequence) -> None:
        """Take the sequence out, keeping what it decoded for those to come."""
        self._scheduler.leave(sequence)
        if sequence.seq_id is not None:
            self._cache.end(sequence)
        sequence.sampler.close()
        sequence.tally.left(sequence.num_generated)
        if sequence.tally.num_open == 0:
            sequence.tally.count(self._metrics)

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
        self._send()
        for sequence in self._scheduler.all:
            self._inbox.end(sequence.tally.job, Failed(InternalError()))
        self._forget_all()

    def _forget_all(self) -> None:
        wait([future for _, future in self._preparing])  # they read the model's vocabulary
        for job, _ in self._preparing:
            self._inbox.end(job, Failed(InternalError()))
        self._preparing.clear()
        for sequence in self._scheduler.all:
            sequence.sampler.close()
        self._scheduler.clear()
        self._unload()


def _slice(sequence: Sequence, num_tokens: int) -> "Slice":
    from engine_room.chat.llama import Slice

    begin, end = sequence.num_decoded, sequence.num_decoded + num_tokens
    assert sequence.seq_id is not None
    return Slice(sequence.seq_id, begin, sequence.tokens[begin:end], end == len(sequence.tokens))
