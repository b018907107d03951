"""Messages to a prompt, by the model's own Jinja template, or the one that is set for it."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jinja2

from engine_room.chat.jinja import compiled, to_json
from engine_room.chat.tool_format import PLAIN, ToolFormat, format_of, in_plain_words
from engine_room.chat.turn import IMAGE_HERE, ChatTurn, ThinkingMarks
from engine_room.errors import InvalidRequest

# For models that carry no template: ChatML, the most widely understood one.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTINUE_HERE = "\ue000continue here\ue000"
# Around text of a user's that looks like a control token of the model: two of Unicode's noncharacters.
LITERAL_BEGIN, LITERAL_END = "\ufdd0", "\ufdd1"
NO_LITERAL_MARKS = {ord(LITERAL_BEGIN): "\ufffd", ord(LITERAL_END): "\ufffd"}
THINKING_MARKS = (
    ThinkingMarks("<think>", "</think>"),
    ThinkingMarks("[THINK]", "[/THINK]"),
    ThinkingMarks("<|START_THINKING|>", "<|END_THINKING|>"),
)
# What a template made for other messages may do.
TEMPLATE_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, and what the answer to it will look like. Text between LITERAL_BEGIN and LITERAL_END is
    no control token, whatever it looks like.

    `thinking` is None for a model that does not think, or that has been told not to; `is_thinking` says
    that the prompt ends inside its thoughts.
    """

    text: str
    tool_format: ToolFormat
    thinking: ThinkingMarks | None = None
    is_thinking: bool = False

    def parts(self) -> Iterator[tuple[str, bool]]:
        """The text in parts, each with whether control tokens are recognised in it; IMAGE_HERE is a part of
        its own. The first is the beginning of the prompt, perhaps empty."""
        for number, part in enumerate(re.split(f"[{LITERAL_BEGIN}{LITERAL_END}]", self.text)):
            for at, text in enumerate(re.split(f"({IMAGE_HERE})", part)):
                if text or number == at == 0:
                    yield text, number % 2 == 0


class PromptTemplate:
    """A model's chat template. Stateless once built, any thread may use it. `control_texts` are the model's
    control tokens, which a message cannot contain."""

    def __init__(
        self, source: str, bos_token: str, eos_token: str, control_texts: Iterable[str] = ()
    ) -> None:
        try:
            self._template = compiled(source or CHATML)
        except jinja2.TemplateSyntaxError:
            self._template = compiled(CHATML)
        self._source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        texts = sorted(filter(None, control_texts), key=len, reverse=True)
        self._control_text = re.compile("|".join(map(re.escape, texts))) if texts else None
        self._marks = next((marks for marks in THINKING_MARKS if marks.end in source), None)
        # Some models that see were given templates for contents in parts only, and show no plain text.
        self._takes_parts = not self._shows(CONTINUE_HERE) and self._shows(_parts(CONTINUE_HERE))

    def prompt(self, turn: ChatTurn) -> Prompt:
        """The prompt for a turn. A template that refuses the messages as they are, or does not show the
        tools, gets the nearest form that says it all. Raises InvalidRequest when it refuses that too."""
        try:
            return self._prompt(turn)
        except RecursionError as error:
            message = "The messages, or the tools, hold objects nested too deeply."
            raise InvalidRequest(message, param="messages") from error

    def _prompt(self, turn: ChatTurn) -> Prompt:
        refusal = ""
        for tool_format, messages, tools in self._forms(turn):
            try:
                text = self._rendered(turn, messages, tools)
                text.encode()
            except UnicodeEncodeError as error:  # from a field that is handed on as it is
                raise InvalidRequest("A message has half of a surrogate pair.") from error
            except jinja2.TemplateError as error:
                refusal = str(error)
            except RecursionError:
                raise
            except TEMPLATE_FAILURES as error:
                refusal = f"{type(error).__name__}: {error}"
            else:
                if tool_format is PLAIN or _shows_tools(text, messages, tools):
                    return self._with_thinking(turn, Prompt(text, tool_format))
        raise InvalidRequest(
            f"The model's chat template refuses these messages: {refusal}", param="messages"
        )

    def _forms(self, turn: ChatTurn) -> Iterator[tuple[ToolFormat, Messages, list[Any]]]:
        """The messages and tools as the template may want them, the likeliest form first."""
        messages = [self._literal(message) for message in turn.messages]
        tools = [self._literal(tool.definition) for tool in turn.tools.shown] if turn.tools else []
        if tools or any(message.get("tool_calls") for message in messages):
            if known := format_of(self._source):
                if known.has_short_ids:
                    messages = [_with_ids(message, _short_id) for message in messages]
                yield known, messages, tools
                yield known, [_with_arguments_as_text(message) for message in messages], tools
            messages = in_plain_words(messages, tools)
        yield PLAIN, messages, []
        yield PLAIN, _alternating(messages), []

    def _rendered(self, turn: ChatTurn, messages: Messages, tools: list[Any]) -> str:
        arguments = turn.template_arguments | self._tokens
        if tools:
            arguments["tools"] = tools
        if not turn.continue_final_message:
            return self._template.render(**arguments, messages=self._contents(messages))
        # The final message is found again by a mark at its end: its text may occur in the template too.
        final = messages[-1] | {"content": messages[-1]["content"].rstrip() + CONTINUE_HERE}
        arguments["add_generation_prompt"] = False
        contents = self._contents([*messages[:-1], final])
        prompt = self._template.render(**arguments, messages=contents)
        return prompt[: prompt.rindex(CONTINUE_HERE)]

    def _contents(self, messages: Messages) -> Messages:
        if not self._takes_parts:
            return messages
        return [message | {"content": _parts(message["content"])} for message in messages]

    def _shows(self, content: Any) -> bool:
        """Whether a text is in the prompt when it is sent so."""
        message = {"role": "user", "content": content}
        try:
            return CONTINUE_HERE in self._template.render(
                **self._tokens, messages=[message], add_generation_prompt=True
            )
        except (jinja2.TemplateError, *TEMPLATE_FAILURES):
            return False

    def _with_thinking(self, turn: ChatTurn, prompt: Prompt) -> Prompt:
        """The prompt with what the model may think before it answers."""
        marks, text = self._marks, prompt.text
        if marks is None:
            return prompt
        if turn.continue_final_message:
            said = turn.messages[-1]["content"]
            is_thinking = marks.begin in said and marks.end not in said
            return Prompt(text, prompt.tool_format, marks if is_thinking else None, is_thinking)
        if text.rstrip().endswith(marks.end):
            return prompt
        is_thinking = text.rstrip().endswith(marks.begin)
        if turn.template_arguments.get("enable_thinking") is not False:
            return Prompt(text, prompt.tool_format, marks, is_thinking)
        # Told not to think, by a template that does not know how: the thoughts are over at once.
        begin = "" if is_thinking else marks.begin
        return Prompt(f"{text}{begin}\n\n{marks.end}\n\n", prompt.tool_format)

    def _literal(self, value: Any) -> Any:
        """The same value, its strings marked where they hold text that looks like a control token."""
        if isinstance(value, str):
            value = value.translate(NO_LITERAL_MARKS)  # a user's own would end a mark of ours
            marked = rf"{LITERAL_BEGIN}\g<0>{LITERAL_END}"
            return self._control_text.sub(marked, value) if self._control_text else value
        if isinstance(value, dict):
            return {self._literal(name): self._literal(item) for name, item in value.items()}
        return [self._literal(item) for item in value] if isinstance(value, list) else value


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _shows_tools(text: str, messages: Messages, tools: list[Any]) -> bool:
    """Whether the template let through what was called, and what can be."""
    names = [tool["function"]["name"] for tool in tools]
    names += [call["function"]["name"] for m in messages for call in m.get("tool_calls", ())]
    return all(name in text for name in names)


def _with_arguments_as_text(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_calls" not in message:
        return message
    calls = []
    for call in message["tool_calls"]:
        arguments = call["function"]["arguments"]
        text = arguments if isinstance(arguments, str) else to_json(arguments)
        calls.append(call | {"function": call["function"] | {"arguments": text}})
    return message | {"tool_calls": calls}


def _with_ids(message: dict[str, Any], id_of: Callable[[str], str]) -> dict[str, Any]:
    if "tool_call_id" in message:
        return message | {"tool_call_id": id_of(message["tool_call_id"])}
    if "tool_calls" in message:
        calls = [call | {"id": id_of(call["id"])} for call in message["tool_calls"]]
        return message | {"tool_calls": calls}
    return message


def _short_id(identifier: str) -> str:
    """Nine letters and digits, which Mistral's templates insist on; the same for the same id."""
    if re.fullmatch("[a-zA-Z0-9]{9}", identifier):
        return identifier
    return hashlib.sha256(identifier.encode("utf-8", "replace")).hexdigest()[:9]


def _alternating(messages: Iterable[dict[str, Any]]) -> Messages:
    """The nearest form that strict templates accept: system text in the next user message, user and
    assistant in turn, the user first."""
    merged: Messages = []
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
