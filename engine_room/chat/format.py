"""A chat request as the engine's turn: its messages plain, its fields checked."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import Any, TypeVar

from engine_room.catalogue import ChatFile
from engine_room.chat.grammar import ANY_OBJECT, Grammar, gbnf_grammar, json_grammar
from engine_room.chat.images import Image, image_of
from engine_room.chat.tools import tool_use_of
from engine_room.chat.turn import IMAGE_HERE, ChatTurn, Sampling
from engine_room.errors import InvalidRequest, UnsupportedValue, quoted
from engine_room.model_settings import Defaults
from engine_room.schemas_chat import ChatRequest, Message, Part, SamplingFields
from engine_room.schemas_completion import CompletionRequest

RESPONSE_FORMATS = ("text", "json_object", "json_schema")
SAMPLING_NAMES = {field.name for field in dataclasses.fields(Sampling)}
TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
SAME_ROLE = {"developer": "system", "function": "tool"}
# Who names the first has named the second; other names of one thing win by themselves.
SAME_FIELD = {"max_new_tokens": "max_tokens"}
Fields = TypeVar("Fields", bound=SamplingFields)


def turn_from(body: ChatRequest, file: ChatFile, default_max_tokens: int = 0) -> ChatTurn:
    """The engine's turn for a request. Raises InvalidRequest for what no model here can do."""
    _check_supported(body)
    body = with_defaults(body, file.defaults)
    stop = [body.stop] if isinstance(body.stop, str) else body.stop
    images: list[Image] = []
    return ChatTurn(
        file=file,
        keep_alive_s=body.keep_alive,
        messages=_with_system(
            _plain_messages(body.messages, file, images), file.defaults.system_prompt
        ),
        images=tuple(images),
        sampling=sampling_of(body),
        max_tokens=body.max_completion_tokens or body.max_tokens or default_max_tokens or None,
        stop=tuple(text for text in stop if text),
        num_answers=body.n,
        continue_final_message=body.continue_final_message,
        grammar=grammar_of(body),
        num_top_logprobs=body.top_logprobs if body.logprobs else None,
        tools=tool_use_of(body),
        template_arguments=_template_arguments(body),
    )


def takes_long(body: ChatRequest) -> bool:
    """Whether its turn is not made in a moment: a large schema takes a second, an image some milliseconds."""
    return bool(
        body.grammar
        or body.response_format
        or body.tools
        or body.functions
        or any(part.image_url for _, part in parts_of(body))
    )


def parts_of(body: ChatRequest) -> Iterator[tuple[str, Part]]:
    """The parts of all messages, each with the place that errors name."""
    for index, message in enumerate(body.messages):
        if not isinstance(message.content, str):
            yield from ((f"messages[{index}].content", part) for part in message.content)


def with_defaults(fields: Fields, defaults: Defaults) -> Fields:
    """The same request, and what is set for its model where it names nothing."""
    named = {SAME_FIELD.get(name, name) for name in fields.model_fields_set}
    unnamed = {name: value for name, value in defaults.sampling.items() if name not in named}
    return fields.model_copy(update=unnamed)


def _with_system(messages: list[dict[str, Any]], prompt: str) -> list[dict[str, Any]]:
    if not prompt or any(message["role"] == "system" for message in messages):
        return messages
    return [{"role": "system", "content": prompt}, *messages]


def sampling_of(fields: SamplingFields) -> Sampling:
    """How the tokens of a request are drawn."""
    values = fields.model_dump(include=SAMPLING_NAMES)
    return Sampling(
        **values
        | {
            "repeat_penalty": fields.repetition_penalty or fields.repeat_penalty,
            "dry_sequence_breakers": tuple(fields.dry_sequence_breakers),
            "logit_bias": tuple(dict(fields.logit_bias).items()),
        }
    )


def _template_arguments(body: ChatRequest) -> dict[str, Any]:
    """What the template is told beside the messages; what it does not know it ignores."""
    arguments: dict[str, Any] = {"add_generation_prompt": body.add_generation_prompt}
    if body.reasoning_effort:
        arguments["reasoning_effort"] = body.reasoning_effort
        arguments["enable_thinking"] = body.reasoning_effort != "none"
    if body.enable_thinking is not None:
        arguments["enable_thinking"] = body.enable_thinking
    return arguments | body.chat_template_kwargs


def _check_supported(body: ChatRequest) -> None:
    """What would change the answer's form must be honoured or refused, never ignored."""
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs to be true.", param="top_logprobs")
    if body.continue_final_message and body.messages[-1].role != "assistant":
        raise InvalidRequest(
            "continue_final_message needs an assistant message at the end.", param="messages"
        )


def grammar_of(body: ChatRequest | CompletionRequest) -> Grammar | None:
    """What the answer's form must be. Raises InvalidRequest when it cannot be."""
    form = body.response_format.get("type") or "text"
    if form not in RESPONSE_FORMATS:
        raise UnsupportedValue("response_format", form, RESPONSE_FORMATS)
    if body.grammar and form != "text":
        raise InvalidRequest("grammar and response_format exclude each other.", param="grammar")
    if body.grammar:
        return gbnf_grammar(body.grammar, "grammar")
    if form == "json_object":
        return json_grammar(ANY_OBJECT, "response_format")
    if form == "json_schema":
        named = body.response_format.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if not isinstance(schema, dict):
            raise InvalidRequest(
                "response_format.json_schema.schema: a JSON schema is required.",
                param="response_format",
            )
        return json_grammar(schema, "response_format")
    return None


def _plain_messages(
    messages: list[Message], file: ChatFile, images: list[Image]
) -> list[dict[str, Any]]:
    """Messages as templates want them: text content, and only the fields that are set. A tool's result
    has the name of the function that was called. Images go into the list."""
    plain = []
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        fields: dict[str, Any] = {
            "role": SAME_ROLE.get(message.role, message.role),
            "content": _text(message.content, index, file, images),
        }
        if calls := _calls(message, f"messages[{index}]"):
            fields["tool_calls"] = calls
            names |= {call["id"]: call["function"]["name"] for call in calls}
        for name in ("name", "tool_call_id", "reasoning_content"):
            if value := getattr(message, name):
                fields[name] = value
        if called := names.get(message.tool_call_id):
            fields.setdefault("name", called)
        plain.append(fields)
    return plain


def _calls(message: Message, place: str) -> list[dict[str, Any]]:
    """The calls of a message, their arguments as objects where they are. Raises InvalidRequest."""
    calls = message.tool_calls
    if message.function_call and not calls:
        calls = [{"function": message.function_call}]
    plain = []
    for call in calls:
        function = call.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not isinstance(function, dict):
            raise InvalidRequest(
                f"{place} has a tool call without a function's name: {quoted(call)}.",
                param=f"{place}.tool_calls",
            )
        arguments = function.get("arguments") or {}
        if isinstance(arguments, str):
            # What another model wrote may be no JSON, or be a thousand brackets deep.
            with contextlib.suppress(ValueError, RecursionError):
                arguments = json.loads(arguments)
        plain.append(
            {
                "id": str(call.get("id") or ""),
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
        )
    return plain


def _text(content: str | list[Part], index: int, file: ChatFile, images: list[Image]) -> str:
    """The content as text, with IMAGE_HERE where there is an image, which goes into the list."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content:
        if part.type == "image_url":
            images.append(_image(part, f"messages[{index}].content", file))
            texts.append(IMAGE_HERE)
        elif part.type in TEXT_PARTS:
            texts.append(part.text or part.refusal)
        else:
            raise InvalidRequest(
                f"messages[{index}] has a part of type {quoted(part.type)}; text, image_url and, in chats, "
                "input_audio are read.",
                param=f"messages[{index}].content",
                code="unsupported_value",
            )
    return "".join(texts)


def _image(part: Part, place: str, file: ChatFile) -> Image:
    """Raises InvalidRequest, InvalidImage."""
    if file.mmproj is None:
        raise InvalidRequest(
            f"{place}: the model {file.id} cannot see images: there is no projector for it. If it was "
            f"trained on images, put its mmproj file into models/ as mmproj-{file.id}.gguf.",
            param=place,
            code="unsupported_value",
        )
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
    return image_of(url, place)
