"""A turn's items as OpenAI's answer: whole, or in chunks."""

import time
import uuid
from collections.abc import Iterable
from typing import Any

from engine_room.chat.logprobs import TokenLogprob, wire
from engine_room.chat.turn import ChatResult, Finish, Text
from engine_room.schemas_chat import (
    AnswerMessage,
    ChatCompletion,
    Choice,
    ChoiceLogprobs,
    PromptTokensDetails,
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

    def whole(self, items: Iterable[Text | Finish], result: ChatResult) -> ChatCompletion:
        """The body of an answer that was not streamed."""
        texts: list[list[str]] = [[] for _ in range(self._num_answers)]
        logprobs: list[list[TokenLogprob]] = [[] for _ in range(self._num_answers)]
        reasons = {}
        for item in items:
            if isinstance(item, Text):
                texts[item.index].append(item.text)
                logprobs[item.index] += item.logprobs
            else:
                reasons[item.index] = item.reason
        choices = [
            Choice(
                index=index,
                message=AnswerMessage(role="assistant", content="".join(parts), refusal=None),
                logprobs=_logprobs(logprobs[index]),
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
            usage=_usage(result),
        )

    def opening(self) -> Iterable[object]:
        """A first chunk per answer that says who speaks."""
        for index in range(self._num_answers):
            yield self._chunk(index, {"role": "assistant", "content": ""}, None)

    def item(self, item: Text | Finish) -> Iterable[object]:
        """One chunk: more text, or why an answer ended."""
        if isinstance(item, Text):
            yield self._chunk(item.index, {"content": item.text}, None, wire(item.logprobs))
        else:
            yield self._chunk(item.index, {}, item.reason)

    def closing(self, result: ChatResult) -> Iterable[object]:
        """The usage, in a chunk of its own without choices, for those who asked for it."""
        if self._include_usage:
            yield self._frame([]) | {"usage": _usage(result).model_dump()}

    def _chunk(
        self,
        index: int,
        delta: dict[str, str],
        reason: str | None,
        logprobs: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._frame([choice])

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def _logprobs(logprobs: list[TokenLogprob]) -> ChoiceLogprobs | None:
    known = wire(logprobs)
    return ChoiceLogprobs.model_validate(known) if known else None


def _usage(result: ChatResult) -> Usage:
    return Usage(
        prompt_tokens=result.num_prompt_tokens,
        completion_tokens=result.num_completion_tokens,
        total_tokens=result.num_prompt_tokens + result.num_completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=result.num_cached_tokens),
    )
