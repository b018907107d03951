"""Raw prompts and tokens on the wire: requests to turns, what the engine made of them to answers."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from engine_room.catalogue import ChatFile
from engine_room.chat.answer import timings_of, usage_of, with_timings
from engine_room.chat.format import grammar_of, sampling_of, turn_from, with_defaults
from engine_room.chat.grammar import Grammar, json_grammar
from engine_room.chat.turn import (
    ChatResult,
    CompletionTurn,
    Finish,
    Item,
    Text,
    Tokenized,
    TokenizeTurn,
)
from engine_room.errors import InvalidRequest
from engine_room.schemas_chat import ChatRequest
from engine_room.schemas_completion import (
    MAX_ANSWERS,
    CompletionRequest,
    TextChoice,
    TextCompletion,
    TokenizeRequest,
)

DEFAULT_MAX_TOKENS = 16  # OpenAI's
TOKENS_A_PIECE = 10_000


def completion_turn(body: CompletionRequest, file: ChatFile) -> CompletionTurn:
    """The engine's turn for a request. Raises InvalidRequest for what no model here can do."""
    _check_supported(body)
    body = with_defaults(body, file.defaults)
    stop = [body.stop] if isinstance(body.stop, str) else body.stop
    given = [n for n in (body.max_tokens, body.max_new_tokens) if n is not None]
    return CompletionTurn(
        file=file,
        keep_alive_s=body.keep_alive,
        prompts=tuple(body.prompt),
        suffix=body.suffix,
        echo=body.echo,
        sampling=sampling_of(body),
        max_tokens=[*given, DEFAULT_MAX_TOKENS][0],
        stop=tuple(text for text in stop if text),
        num_answers=body.n,
        grammar=_grammar(body),
        num_top_logprobs=body.logprobs,
    )


def _check_supported(body: CompletionRequest) -> None:
    if body.best_of is not None and body.best_of != body.n:
        raise InvalidRequest(
            f"best_of {body.best_of} is not supported: every answer that is written is given, so it "
            f"can only be n, which is {body.n}.",
            param="best_of",
            code="unsupported_value",
        )
    if len(body.prompt) * body.n > MAX_ANSWERS:
        raise InvalidRequest(
            f"{len(body.prompt)} prompts with {body.n} answers each are {len(body.prompt) * body.n} "
            f"answers; at most {MAX_ANSWERS} are given at once.",
            param="prompt" if len(body.prompt) > 1 else "n",
        )


def _grammar(body: CompletionRequest) -> Grammar | None:
    if body.json_schema is None:
        return grammar_of(body)
    if body.grammar or body.response_format:
        raise InvalidRequest(
            "json_schema, grammar and response_format exclude each other.", param="json_schema"
        )
    return json_grammar(body.json_schema, "json_schema")


class CompletionAnswer:
    """One answer on the wire; the same id and time in all its chunks."""

    def __init__(self, model: str, num_answers: int = 1, include_usage: bool = False) -> None:
        self._id = f"cmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model
        self._num_answers = self._num_open = num_answers
        self._include_usage = include_usage
        self._last: list[dict[str, Any]] = []
        self._num_chars = [0] * num_answers

    def whole(self, items: Iterable[Item], result: ChatResult) -> dict[str, Any]:
        """The body of an answer that was not streamed."""
        said: list[list[Item]] = [[] for _ in range(self._num_answers)]
        for item in items:
            said[item.index].append(item)
        answer = TextCompletion(
            id=self._id,
            object="text_completion",
            created=self._created,
            model=self._model,
            choices=[self._choice(index, items) for index, items in enumerate(said)],
            usage=usage_of(result),
            timings=timings_of(result),
        )
        return answer.model_dump()

    def _choice(self, index: int, items: list[Item]) -> TextChoice:
        finish = items[-1]
        assert isinstance(finish, Finish)
        texts = [item for item in items if isinstance(item, Text)]
        return TextChoice(
            text="".join(item.text for item in texts),
            index=index,
            logprobs=self._logprobs(index, texts),
            finish_reason=finish.reason,
        )

    def opening(self) -> Iterable[object]:
        """Nothing: the first chunk has text."""
        return ()

    def item(self, item: Item) -> Iterable[object]:
        """One chunk: more text, or why an answer ended; of the last one, `closing` says that."""
        if isinstance(item, Text):
            yield self._chunk(item.index, item.text, None, self._logprobs(item.index, [item]))
        elif isinstance(item, Finish):
            self._num_open -= 1
            chunk = self._chunk(item.index, "", item.reason)
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

    def _logprobs(self, index: int, texts: list[Text]) -> dict[str, Any] | None:
        """Of these texts, the next of an answer. A token's offset is where its text begins."""
        known, offsets = [], []
        for text in texts:
            for each in text.logprobs:
                known.append(each)
                offsets.append(self._num_chars[index])
                self._num_chars[index] += len(each.spelling.text)
            if not text.logprobs:  # the echo of the prompt
                self._num_chars[index] += len(text.text)
        if not known:
            return None
        return {
            "tokens": [each.spelling.text for each in known],
            "token_logprobs": [each.logprob for each in known],
            "top_logprobs": [
                {other.spelling.text: other.logprob for other in each.top} for each in known
            ],
            "text_offset": offsets,
        }

    def _chunk(
        self, index: int, text: str, reason: str | None, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        choice = {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}
        return self._frame([choice])

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def tokenize_turn(body: TokenizeRequest, file: ChatFile) -> TokenizeTurn:
    """The engine's turn for a request. Raises InvalidRequest for messages that make no prompt."""
    if body.messages is None:
        return TokenizeTurn(
            file=file,
            content=body.content if body.content is not None else body.prompt or "",
            add_special=body.add_special if body.content is not None else body.add_special_tokens,
            parse_special=body.parse_special,
            with_pieces=body.with_pieces,
        )
    chat = ChatRequest(
        messages=body.messages,
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        chat_template_kwargs=body.chat_template_kwargs,
        tools=body.tools,
    )
    return TokenizeTurn(file=file, content=turn_from(chat, file), with_pieces=body.with_pieces)


def token_list(result: Tokenized) -> bytes:
    """The body of a tokenize answer, as JSON. In pieces: one call of the encoder for a million tokens keeps
    the interpreter, and with it the running chats, for half a second."""
    num_tokens = len(result.tokens)
    parts = ",".join(_encoded(result))
    end = f'"count":{num_tokens},"max_model_len":{result.num_context_tokens}'
    return f'{{"tokens":[{parts}],{end}}}'.encode()


def _encoded(result: Tokenized) -> Iterator[str]:
    """The tokens as JSON, so many at a time."""
    encoded = {
        token: json.dumps({"id": token, "piece": _text_or_bytes(piece)}, separators=(",", ":"))
        for token, piece in (result.pieces or {}).items()
    }
    for begin in range(0, len(result.tokens), TOKENS_A_PIECE):
        tokens = result.tokens[begin : begin + TOKENS_A_PIECE].tolist()
        yield ",".join([encoded.get(token) or str(token) for token in tokens])


def _text_or_bytes(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
