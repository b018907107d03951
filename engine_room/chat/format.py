"""Messages to a prompt, by the model's own template; generated text to content.

Implements what Hugging Face's chat templates expect of their surroundings:
https://huggingface.co/docs/transformers/chat_templating
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine_room.catalogue import ChatFile
from engine_room.chat.grammar import ANY_OBJECT, Grammar, gbnf_grammar, json_grammar
from engine_room.chat.turn import ChatTurn, Sampling
from engine_room.errors import InvalidRequest, UnsupportedValue
from engine_room.schemas_chat import ChatRequest, Message, Part, SamplingFields
from engine_room.schemas_completion import CompletionRequest

# For models that carry no template: ChatML, the most widely understood one.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTINUE_HERE = "\ue000continue here\ue000"
RESPONSE_FORMATS = ("text", "json_object", "json_schema")
SAME_ROLE = {"developer": "system", "function": "tool"}


def turn_from(body: ChatRequest, file: ChatFile, default_max_tokens: int = 0) -> ChatTurn:
    """The engine's turn for a request. Raises InvalidRequest for what no model here can do."""
    _check_supported(body)
    stop = [body.stop] if isinstance(body.stop, str) else body.stop
    return ChatTurn(
        file=file,
        messages=[_plain(message, index) for index, message in enumerate(body.messages)],
        sampling=sampling_of(body),
        max_tokens=body.max_completion_tokens or body.max_tokens or default_max_tokens or None,
        stop=tuple(text for text in stop if text),
        num_answers=body.n,
        continue_final_message=body.continue_final_message,
        grammar=grammar_of(body),
        template_arguments=body.chat_template_kwargs
        | {"add_generation_prompt": body.add_generation_prompt},
    )


def sampling_of(fields: SamplingFields) -> Sampling:
    """How tokens are drawn for a request."""
    return Sampling(
        temperature=fields.temperature,
        top_p=fields.top_p,
        top_k=fields.top_k,
        min_p=fields.min_p,
        repeat_penalty=fields.repetition_penalty or fields.repeat_penalty,
        presence_penalty=fields.presence_penalty,
        frequency_penalty=fields.frequency_penalty,
        seed=fields.seed,
    )


def _check_supported(body: ChatRequest) -> None:
    """What would change the answer's form must be honoured or refused, never ignored."""
    if body.logprobs:
        raise InvalidRequest("logprobs are not supported by this version.", param="logprobs")
    for name, choice in (("tool_choice", body.tool_choice), ("function_call", body.function_call)):
        if choice not in ("auto", "none"):
            raise UnsupportedValue(name, choice, ["auto", "none"])
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


def _plain(message: Message, index: int) -> dict[str, Any]:
    """A message as templates want it: text content, and only the fields that are set."""
    plain: dict[str, Any] = {
        "role": SAME_ROLE.get(message.role, message.role),
        "content": _text(message.content, index),
    }
    for name in ("name", "tool_calls", "tool_call_id"):
        if value := getattr(message, name):
            plain[name] = value
    return plain


def _text(content: str | list[Part], index: int) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if part.type not in ("text", "input_text", "output_text", "refusal"):
            raise InvalidRequest(
                f"messages[{index}] has a part of type {part.type!r}; the models of this server read "
                "text only.",
                param=f"messages[{index}].content",
                code="unsupported_value",
            )
    return "".join(part.text or part.refusal for part in content)


class PromptTemplate:
    """A model's Jinja chat template. Stateless once built; sandboxed, for it comes with the file."""

    def __init__(self, source: str, bos_token: str, eos_token: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
        try:
            self._template = environment.from_string(source or CHATML)
        except jinja2.TemplateSyntaxError:
            self._template = environment.from_string(CHATML)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}

    def prompt(self, turn: ChatTurn) -> str:
        """The prompt for a turn. A template that refuses the messages as they are gets the nearest form
        that strict ones accept. Raises InvalidRequest when it refuses that too."""
        for messages in (turn.messages, _alternating(turn.messages)):
            try:
                prompt = self._rendered(turn, messages)
                prompt.encode()
                return prompt
            except (
                UnicodeEncodeError
            ) as error:  # from a field that is handed on as it is, as tools are
                raise InvalidRequest("A message has half of a surrogate pair.") from error
            except jinja2.TemplateError as error:
                refusal = str(error)
            except (TypeError, ValueError, KeyError, OverflowError) as error:
                refusal = f"{type(error).__name__}: {error}"
        raise InvalidRequest(
            f"The model's chat template refuses these messages: {refusal}", param="messages"
        )

    def _rendered(self, turn: ChatTurn, messages: list[dict[str, Any]]) -> str:
        arguments = turn.template_arguments | self._tokens
        if not turn.continue_final_message:
            return self._template.render(**arguments, messages=messages)
        # The final message is found again by a mark at its end: its text may occur in the template too.
        final = messages[-1] | {"content": messages[-1]["content"].rstrip() + CONTINUE_HERE}
        arguments["add_generation_prompt"] = False
        prompt = self._template.render(**arguments, messages=[*messages[:-1], final])
        return prompt[: prompt.rindex(CONTINUE_HERE)]


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _alternating(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nearest form that strict templates accept: system text in the next user message, user and
    assistant in turn, the user first."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if not merged and role == "assistant":
            merged.append({"role": "user", "content": ""})
        if merged and merged[-1]["role"] == role:
            texts = (merged[-1]["content"], message["content"])
            merged[-1] = {"role": role, "content": "\n\n".join(text for text in texts if text)}
        else:
            merged.append({"role": role, "content": message["content"]})
    return merged


class StopStrings:
    """Text on its way out, held back while it might be the beginning of a stop string."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """The text that may go out now; after a stop string (`found`) that is the text before it."""
        self._held += text
        hits = [at for at in map(self._held.find, self._stops) if at >= 0]
        if hits:
            self.found = True
            return self._held[: min(hits)]
        length = max((self._overlap(stop) for stop in self._stops), default=0)
        ready, self._held = (
            self._held[: len(self._held) - length],
            self._held[len(self._held) - length :],
        )
        return ready

    def _overlap(self, stop: str) -> int:
        """How many characters at the end are a beginning of this stop string."""
        for length in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:length]):
                return length
        return 0

    def rest(self) -> str:
        """What was still held back when the answer ended by itself."""
        return "" if self.found else self._held
