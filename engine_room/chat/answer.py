"""A turn's items as OpenAI's answer: whole, or in chunks."""

import time
import uuid
from collections.abc import Iterable
from typing import Any

from engine_room.chat.turn import ChatResult, Finish, Text
from engine_room.schemas_chat import (
    AnswerMessage,
    ChatCompletion,
    Choice,
    PromptTokensDetails,
    Timings,
    Usage,
)


class ChatAnswer:
    """One answer on the wire; the same id and time in all its chunks."""

    def __init__(self, model: str, num_answers: int = 1, include_usage: bool = False) -> None:
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model
        self._num_answers = num_answers
        self._include_usage = include_usage
        self._num_open = num_answers
        self._last: list[dict[str, Any]] = []

    def whole(self, items: Iterable[Text | Finish], result: ChatResult) -> ChatCompletion:
        """The body of an answer that was not streamed."""
        texts: list[list[str]] = [[] for _ in range(self._num_answers)]
        reasons = {}
        for item in items:
            if isinstance(item, Text):
                texts[item.index].append(item.text)
            else:
                reasons[item.index] = item.reason
        choices = [
            Choice(
                index=index,
                message=AnswerMessage(role="assistant", content="".join(parts), refusal=None),
                logprobs=None,
                finish_reason=reasons[index],
            )
            for index, parts in enumerate(texts)
        ]
        return ChatCompletion(
            id=self._id,
            object="chat.completion",
            created=self._created,
            model=self._model,
            choices=choices,
            usage=usage_of(result),
            timings=timings_of(result),
        )

    def opening(self) -> Iterable[object]:
        """A first chunk per answer that says who speaks."""
        for index in range(self._num_answers):
            yield self._chunk(index, {"role": "assistant", "content": ""}, None)

    def item(self, item: Text | Finish) -> Iterable[object]:
        """One chunk: more text, or why an answer ended; of the last one, `closing` says that."""
        if isinstance(item, Text):
            yield self._chunk(item.index, {"content": item.text}, None)
            return
        self._num_open -= 1
        chunk = self._chunk(item.index, {}, item.reason)
        if self._num_open:
            yield chunk
        else:
            self._last.append(chunk)

    def closing(self, result: ChatResult) -> Iterable[object]:
        """Why the last answer ended; for those who asked, the usage in a chunk of its own without choices.
        The last chunk of all has the timings."""
        if self._include_usage:
            self._last.append(self._frame([]) | {"usage": usage_of(result).model_dump()})
        return with_timings(self._last, result)

    def _chunk(self, index: int, delta: dict[str, str], reason: str | None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._frame([choice])

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def usage_of(result: ChatResult) -> Usage:
    """How many tokens a turn took."""
    return Usage(
        prompt_tokens=result.num_prompt_tokens,
        completion_tokens=result.num_completion_tokens,
        total_tokens=result.num_prompt_tokens + result.num_completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=result.num_cached_tokens),
    )


def with_timings(chunks: list[dict[str, Any]], result: ChatResult) -> list[dict[str, Any]]:
    """The chunks, and in the last one the timings: null in any other would cost Open WebUI its text."""
    return [*chunks[:-1], chunks[-1] | {"timings": timings_of(result).model_dump()}]


def timings_of(result: ChatResult) -> Timings:
    """What the tokens of a turn took, under llama-server's names. The first token of an answer is the
    prompt's doing, so the speed of writing is that of those after it; 0 where there is nothing to tell."""
    num_read = result.num_prompt_tokens - result.num_cached_tokens
    num_written = max(result.num_completion_tokens - 1, 0)
    return Timings(
        cache_n=result.num_cached_tokens,
        prompt_n=num_read,
        prompt_ms=1000 * result.prompt_s,
        prompt_per_token_ms=_ratio(1000 * result.prompt_s, num_read),
        prompt_per_second=_ratio(num_read, result.prompt_s),
        predicted_n=result.num_completion_tokens,
        predicted_ms=1000 * result.generation_s,
        predicted_per_token_ms=_ratio(1000 * result.generation_s, num_written),
        predicted_per_second=_ratio(num_written, result.generation_s),
    )


def _ratio(amount: float, per: float) -> float:
    return amount / per if per else 0.0
