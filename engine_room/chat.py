"""The chat engine: one thread that holds a model and continues one conversation at a time.

A second request waits its turn; none is ever cut off. One model is in memory; a turn for another one
loads that in its place.
"""

import codecs
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine_room.catalogue import Catalogue, ChatFile
from engine_room.chat_format import PromptTemplate, StopStrings
from engine_room.chat_turn import ChatResult, ChatTurn, Finish, FinishReason, Text
from engine_room.errors import ContextLengthExceeded
from engine_room.jobs import Done, Engine, Event, Job
from engine_room.settings import Settings

if TYPE_CHECKING:
    from engine_room.chat_llama import LlamaModel

log = logging.getLogger(__name__)
# A prompt is decoded in chunks that take about this long, so that a hang-up is noticed between them.
CHUNK_S = 0.25
MIN_CHUNK_TOKENS = 16


def chat_engine(settings: Settings, catalogue: Catalogue) -> Engine[ChatTurn]:
    """The engine, not yet open."""

    def load() -> Callable[[Job[ChatTurn]], Iterator[Event]]:
        chat = Chat(settings)
        chat.use(catalogue.chat(""))
        return chat.answer

    return Engine("chat", load, settings.max_queued)


class Chat:
    """The model in memory and how a turn is answered with it. Belongs to the engine's thread."""

    def __init__(self, settings: Settings) -> None:
        self._max_context_tokens = settings.chat_context_tokens
        self._num_threads = settings.chat_threads or os.cpu_count() or 1
        self._file: ChatFile | None = None
        self._model: LlamaModel

    def use(self, file: ChatFile) -> None:
        """Have this model in memory, in place of the one before. Raises Unavailable."""
        if file == self._file:
            return
        from engine_room import chat_llama  # late: the server answers before this library is loaded

        if self._file:
            self._model.close()
            self._file = None
        started = time.perf_counter()
        self._model = chat_llama.LlamaModel(file.path, self._max_context_tokens, self._num_threads)
        self._template = PromptTemplate(
            self._model.template, self._model.bos_text, self._model.eos_text
        )
        self._max_chunk_tokens = chat_llama.MAX_BATCH_TOKENS
        self._chunk_tokens = MIN_CHUNK_TOKENS * 4
        self._file = file
        log.info("chat model %s loaded in %.1f s", file.id, time.perf_counter() - started)

    def answer(self, job: Job[ChatTurn]) -> Iterator[Event]:
        """Text and Finish items for each answer of the turn, then Done with a ChatResult."""
        turn = job.turn
        self.use(turn.file)
        prompt = self._model.tokenize(self._template.prompt(turn))
        if len(prompt) >= self._model.num_context_tokens:
            raise ContextLengthExceeded(len(prompt), self._model.num_context_tokens)
        self._model.forget()
        num_completion_tokens = 0
        if not self._prefill(prompt[:-1], job):
            return
        for index in range(turn.num_answers):
            # The prompt's last token is decoded anew for each answer: its logits start every one.
            self._model.forget(len(prompt) - 1)
            num_completion_tokens += yield from self._one_answer(job, index, prompt)
            if job.cancelled:
                return
        yield Done(ChatResult(len(prompt), num_completion_tokens))

    def _prefill(self, tokens: list[int], job: Job[ChatTurn]) -> bool:
        """Decode the prompt chunk by chunk; False when the client left meanwhile."""
        done = 0
        while done < len(tokens) and not job.cancelled:
            chunk = tokens[done : done + self._chunk_tokens]
            started = time.perf_counter()
            self._model.decode(chunk)
            rate = len(chunk) / (time.perf_counter() - started)
            self._chunk_tokens = int(
                max(MIN_CHUNK_TOKENS, min(self._max_chunk_tokens, rate * CHUNK_S))
            )
            done += len(chunk)
        return not job.cancelled

    def _one_answer(
        self, job: Job[ChatTurn], index: int, prompt: list[int]
    ) -> Generator[Event, None, int]:
        """The items of one answer; returns how many tokens it took."""
        turn = job.turn
        room = self._model.num_context_tokens - len(prompt)
        max_tokens = min(room, turn.max_tokens or room)
        # A seed fixes all answers of a turn, not that they are the same.
        seed = turn.sampling.seed + index if turn.sampling.seed >= 0 else -1
        sampler = self._model.sampler(replace(turn.sampling, seed=seed))
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        stops = StopStrings(turn.stop)
        reason: FinishReason = "length"
        num_tokens = 0
        token = prompt[-1]
        try:
            while num_tokens < max_tokens and not job.cancelled:
                self._model.decode([token])
                token = sampler.sample()
                num_tokens += 1
                if self._model.is_end(token):
                    reason = "stop"
                    break
                if text := stops.feed(characters.decode(self._model.piece(token))):
                    yield Text(index, text)
                if stops.found:
                    reason = "stop"
                    break
        finally:
            sampler.close()
        # Bytes of a character that the limit cut in two stay in `characters`: half of one is no text.
        if text := stops.rest():
            yield Text(index, text)
        yield Finish(index, reason)
        return num_tokens
