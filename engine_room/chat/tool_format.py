"""How models write tool calls: the format that each family was trained on, and plain words for the rest.

A format is the texts around a call. They make the grammar that holds the model to it, the pattern that
reads its calls back, and, for models whose template knows no tools, the words that explain it.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class ToolFormat:
    """Calls are `opener lead call`, then `joint call` for each further one, then `closer`; a call is
    `head`, its arguments as JSON, `tail`. Spaces at the ends of these texts, and around line ends, are
    the model's to choose.

    In `head`, NAME is the function's name, "NAME" the same as JSON, and IDENTIFIER nine letters or
    digits. Without an `opener`, a call is the whole answer, perhaps after `prefix`.
    """

    opener: str
    head: str
    tail: str
    lead: str = ""
    joint: str | None = None  # None: one call an answer
    closer: str = ""
    prefix: str = ""
    has_short_ids: bool = False

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts of it that are control tokens in some models' vocabularies."""
        texts = " ".join((self.opener, self.prefix, self.head, self.tail, self.joint or ""))
        return tuple(dict.fromkeys(re.findall(r"\[[A-Z_]+\]|</?\|?\w+\|?>", texts)))

    @cached_property
    def head_pattern(self) -> re.Pattern[str]:
        """Finds a head in what a model wrote, once its arguments begin; the group `name` or `json_name` is
        the function."""
        pattern = re.escape(self.head.rstrip()).replace(
            '"NAME"', r'(?P<json_name>"(?:[^"\\]|\\.)*")', 1
        )
        pattern = pattern.replace("NAME", r"\s*(?P<name>[^\s\[\]]+)", 1)
        return re.compile(pattern.replace("IDENTIFIER", "[a-zA-Z0-9]{9}") + r"\s*(?={)")


# Hermes, Qwen 2.5 and 3, and many others.
HERMES = ToolFormat(
    opener="<tool_call>",
    lead="\n",
    head='{"name": "NAME", "arguments": ',
    tail="}\n</tool_call>",
    joint="\n<tool_call>\n",
)
PLAIN = HERMES  # what models without a format of their own are told to write
MISTRAL = ToolFormat(
    opener="[TOOL_CALLS]",
    lead=" [",
    head='{"name": "NAME", "arguments": ',
    tail="}",
    joint=", ",
    closer="]",
    has_short_ids=True,
)
# Mistral's models since 2025; the first of them write an id too.
MISTRAL_ARGS = ToolFormat(
    opener="[TOOL_CALLS]", head="NAME[ARGS]", tail="", joint="[TOOL_CALLS]", has_short_ids=True
)
MISTRAL_CALL_ID = ToolFormat(
    opener="[TOOL_CALLS]",
    head="NAME[CALL_ID]IDENTIFIER[ARGS]",
    tail="",
    joint="[TOOL_CALLS]",
    has_short_ids=True,
)
LLAMA_3 = ToolFormat(
    opener="", head='{"name": "NAME", "parameters": ', tail="}", prefix="<|python_tag|>"
)


def format_of(template: str) -> ToolFormat | None:
    """The format that a chat template was made for; None when it has no tools, or others than these."""
    if "tools" not in template:
        return None
    if "[TOOL_CALLS]" in template:
        if "[CALL_ID]" in template:
            return MISTRAL_CALL_ID
        return MISTRAL_ARGS if "[ARGS]" in template else MISTRAL
    if "<tool_call>" in template:
        # The same tags hold XML in some models.
        is_json = "<function=" not in template and "<arg_key>" not in template
        return HERMES if is_json else None
    if '"parameters": ' in template and "ipython" in template:
        return LLAMA_3
    return None


EXPLANATION = """You can call functions. Here they are, each as a JSON object:
<tools>
{tools}
</tools>
To call a function, write its name and its arguments as a JSON object between these tags:
<tool_call>
{{"name": "the function's name", "arguments": {{"an argument": "its value"}}}}
</tool_call>
Its result comes back between <tool_response> tags. When no function helps, answer in words."""


def in_plain_words(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The messages as a template without tools can say them: the functions explained in a system
    message, calls and results as text."""
    plain: list[dict[str, Any]] = []
    role_before = ""
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "tool":
            content = f"<tool_response>\n{content}\n</tool_response>"
            if role_before == "tool":  # results of calls that were made together
                content = f"{plain.pop()['content']}\n{content}"
            plain.append({"role": "user", "content": content})
        elif calls := message.get("tool_calls"):
            texts = [content, *map(_call_in_words, calls)]
            plain.append({"role": role, "content": "\n".join(text for text in texts if text)})
        else:
            plain.append(message)
        role_before = role
    if tools:
        lines = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
        explanation = EXPLANATION.format(tools="\n".join(lines))
        if plain and plain[0]["role"] == "system":
            explanation = f"{plain.pop(0)['content']}\n\n{explanation}"
        plain.insert(0, {"role": "system", "content": explanation})
    return plain


def _call_in_words(call: dict[str, Any]) -> str:
    function = call["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return (
        f'<tool_call>\n{{"name": {json.dumps(function["name"])}, "arguments": {arguments}}}\n'
        "</tool_call>"
    )
