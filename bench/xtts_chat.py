"""The chat that the bench of cloned voices has written beside them."""

import queue
import time
from collections.abc import Callable
from typing import Any

from bench.clients import story
from engine_room.catalogue import BUNDLED_ID, Catalogue
from engine_room.chat.format import turn_from
from engine_room.chat.loading import chat_engine
from engine_room.chat.turn import ChatResult
from engine_room.cores import Cores
from engine_room.jobs import Done, Failed
from engine_room.schemas_chat import ChatRequest
from engine_room.settings import Settings

ANSWER_TOKENS = 32  # short, so that it is soon seen when the other is over


class Writer:
    """The chat engine with the bundled model, open; its prompt is known to it."""

    def __init__(self, cores: Cores) -> None:
        settings = Settings(_env_file=None)
        catalogue = Catalogue(settings)
        body = ChatRequest.model_validate(story("bench", ANSWER_TOKENS))
        self._turn = turn_from(body, catalogue.chat(BUNDLED_ID))
        self._engine = chat_engine(settings, catalogue, cores)

    def __enter__(self) -> "Writer":
        self._engine.open()
        self._written()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def tokens_per_s(self, is_over: Callable[[], bool]) -> float:
        """The pace of answers one after the other until it is over."""
        begun, num_tokens = time.perf_counter(), self._written()
        while not is_over():
            num_tokens += self._written()
        return num_tokens / (time.perf_counter() - begun)

    def _written(self) -> int:
        """The tokens of one answer. Raises the error it ended with."""
        events: queue.Queue[Any] = queue.Queue()
        self._engine.submit(self._turn, events.put)
        while not isinstance(event := events.get(), Done):
            if isinstance(event, Failed):
                raise event.error
        assert isinstance(event.result, ChatResult)
        return event.result.num_completion_tokens
