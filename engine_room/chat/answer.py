"""A turn's items as OpenAI's answer: whole, or in chunks."""

import time
import uuid
from collections.abc import Iterable
from typing import Any

from engine_room.chat.logprobs import wire
from engine_room.chat.turn import Arguments, ChatResult, Finish, Item, Reasoning, Text, ToolCall
from engine_room.schemas_chat import (
    AnswerMessage,
    ChatCompletion,
    Choice,
    ChoiceLogprobs,
    CompletionTokensDetails,
    PromptTokensDetails,
    Usage,
)


class ChatAnswer:
    """One answer on the wire; the same id and time in all its chunks. With `calls_functions`, a tool call
    is said in the older words, as a function call."""

    def __init__(
        self,
        model: str,
        num_answers: int = 1,
        include_usage: bool = False,
        calls_functions: bool = False,
    ) -> None:
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model
        self._num_answers = num_answers
        self._include_usage = include_usage
        self._calls_functions = calls_functions

    def whole(self, items: Iterable[Item], result: ChatResult) -> dict[str, Any]:
        """The body of an answer that was not streamed."""
        said: list[list[Item]] = [[] for _ in range(self._num_answers)]
        for item in items:
            said[item.index].append(item)
        answer = ChatCompletion(
            id=self._id,
            object="chat.completion",
            created=self._created,
            model=self._model,
            choices=[self._choice(index, items) for index, items in enumerate(said)],
            usage=_usage(result),
        )
        return answer.model_dump(exclude_unset=True)

    def _choice(self, index: int, items: list[Item]) -> Choice:
        finish = items[-1]
        assert isinstance(finish, Finish)
        calls = [_call(call, items) for call in items if isinstance(call, ToolCall)]
        text = "".join(item.text for item in items if isinstance(item, Text))
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not calls else None,
            "refusal": None,
        }
        if reasoning := "".join(item.text for item in items if isinstance(item, Reasoning)):
            message["reasoning_content"] = reasoning
        if calls and self._calls_functions:
            message["function_call"] = calls[0]["function"]
        elif calls:
            message["tool_calls"] = calls
        return Choice(
            index=index,
            message=AnswerMessage(**message),
            logprobs=_logprobs(items),
            finish_reason=self._reason(finish),
        )

    def opening(self) -> Iterable[object]:
        """A first chunk per answer that says who speaks."""
        for index in range(self._num_answers):
            yield self._chunk(index, {"role": "assistant", "content": ""}, None)

    def item(self, item: Item) -> Iterable[object]:
        """One chunk: more of an answer, or why it ended."""
        if isinstance(item, Finish):
            yield self._chunk(item.index, {}, self._reason(item))
        else:
            logprobs = wire(item.logprobs) if isinstance(item, Text) else None
            yield self._chunk(item.index, self._delta(item), None, logprobs)

    def closing(self, result: ChatResult) -> Iterable[object]:
        """The usage, in a chunk of its own without choices, for those who asked for it."""
        if self._include_usage:
            yield self._frame([]) | {"usage": _usage(result).model_dump()}

    def _delta(self, item: Text | Reasoning | ToolCall | Arguments) -> dict[str, Any]:
        if isinstance(item, Text):
            return {"content": item.text}
        if isinstance(item, Reasoning):
            return {"reasoning_content": item.text}
        if isinstance(item, ToolCall):
            head = {"id": item.id, "type": "function"}
            function = {"name": item.name, "arguments": ""}
        else:
            head, function = {}, {"arguments": item.text}
        if self._calls_functions:
            return {"function_call": function}
        return {"tool_calls": [{"index": item.number, **head, "function": function}]}

    def _reason(self, finish: Finish) -> str:
        is_call = finish.reason == "tool_calls"
        return "function_call" if is_call and self._calls_functions else finish.reason

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
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


def _call(call: ToolCall, items: list[Item]) -> dict[str, Any]:
    parts = [i.text for i in items if isinstance(i, Arguments) and i.number == call.number]
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": "".join(parts)},
    }


def _logprobs(items: list[Item]) -> ChoiceLogprobs | None:
    known = wire([each for item in items if isinstance(item, Text) for each in item.logprobs])
    return ChoiceLogprobs.model_validate(known) if known else None


def _usage(result: ChatResult) -> Usage:
    return Usage(
        prompt_tokens=result.num_prompt_tokens,
        completion_tokens=result.num_completion_tokens,
        total_tokens=result.num_prompt_tokens + result.num_completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=result.num_cached_tokens),
        completion_tokens_details=CompletionTokensDetails(
            reasoning_tokens=result.num_reasoning_tokens
        ),
    )
