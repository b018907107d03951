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
    Timings,
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
        self._num_open = num_answers
        self._last: list[dict[str, Any]] = []

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
            usage=usage_of(result),
            timings=timings_of(result),
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
        """One chunk: more of an answer, or why it ended; of the last one, `closing` says that."""
        if not isinstance(item, Finish):
            logprobs = wire(item.logprobs) if isinstance(item, Text) else None
            yield self._chunk(item.index, self._delta(item), None, logprobs)
            return
        self._num_open -= 1
        chunk = self._chunk(item.index, {}, self._reason(item))
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


def usage_of(result: ChatResult) -> Usage:
    """How many tokens a turn took."""
    return Usage(
        prompt_tokens=result.num_prompt_tokens,
        completion_tokens=result.num_completion_tokens,
        total_tokens=result.num_prompt_tokens + result.num_completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=result.num_cached_tokens),
        completion_tokens_details=CompletionTokensDetails(
            reasoning_tokens=result.num_reasoning_tokens
        ),
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
