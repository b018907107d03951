"""The grammar of a whole answer: thoughts, then text, tool calls, or what the asked form is.

Written in Lark as llguidance reads it: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
A lexeme marked lazy ends at its first chance: so text ends where a call begins, and is a call from there.
"""

import json
import re
from collections.abc import Mapping

from engine_room.chat.grammar import Grammar
from engine_room.chat.tool_format import ToolFormat
from engine_room.chat.turn import ThinkingMarks, Tool, ToolUse

ANYTHING = r"(.|\n)*"
# A small model that has to call may find no end.
MAX_CALLS = 32
SPACE = r"/[ \n]{0,2}/"


def answer_grammar(
    form: Grammar | None,
    tools: ToolUse | None,
    tool_format: ToolFormat,
    thinking: ThinkingMarks | None,
    is_thinking: bool,
    control_tokens: Mapping[str, int],
) -> Grammar | None:
    """The grammar that an answer keeps to; None when it may be anything. `form` is what an answer in
    words must look like; `control_tokens` are the ids of the marks that are tokens of their own."""
    if tools is None and (form is None or thinking is None):
        return form
    writer = _Writer(control_tokens)
    answers = []
    if form is not None:
        answers.append("@form")
    if tools is not None:
        answers.append(writer.calls(tools, tool_format))
        if not tools.is_required and form is None:
            answers[-1] = writer.text_before(tool_format.opener, answers[-1])
            answers.append("text")
    start = " | ".join(answers)
    if thinking is not None:
        start = f"{writer.thoughts(thinking, is_thinking)} space ({start})"
    rules = [f"start: {start}", f"text: /{ANYTHING}/", f"space: {SPACE}", *writer.rules]
    return Grammar("\n".join(rules), form)


class _Writer:
    """Writes rules; `rules` are those that what it gave back refers to."""

    def __init__(self, control_tokens: Mapping[str, int]) -> None:
        self.rules: list[str] = []
        self._control_tokens = control_tokens

    def calls(self, tools: ToolUse, form: ToolFormat) -> str:
        """One call or several, as the format has them, from after the opener when it has one."""
        calls = " | ".join(
            self._call(number, tool, form) for number, tool in enumerate(tools.callable)
        )
        self.rules.append(f"call: {calls}")
        several = form.joint is not None and tools.allows_several
        more = f"({self._literal(form.joint or '')} call){{0,{MAX_CALLS - 1}}}" if several else ""
        begin = f"({self._literal(form.prefix)})?" if form.prefix else ""
        around = [self._literal(text) for text in (form.opener, form.lead, form.closer)]
        return " ".join(filter(None, (begin, *around[:2], "call", more, around[2])))

    def _call(self, number: int, tool: Tool, form: ToolFormat) -> str:
        name = json.dumps(tool.name)
        head = form.head.replace('"NAME"', name, 1).replace("NAME", tool.name, 1)
        before, has_id, after = head.partition("IDENTIFIER")
        self.rules.append(f"arguments_{number}: {tool.arguments_rule}")
        if has_id:
            begin = f"{self._literal(before)} /[a-zA-Z0-9]{{9}}/ {self._literal(after)}"
        elif form.opener:
            begin = self._literal(head)
        else:  # told from text by its first words
            self.rules.append(f"head_{number}[lazy]: {_pattern('', head)}")
            begin = f"head_{number}"
        return f"{begin} arguments_{number} {self._literal(form.tail)}".strip()

    def text_before(self, opener: str, calls: str) -> str:
        """Text that goes over into calls. `calls` begin with the opener."""
        if not opener:
            return calls
        if opener in self._control_tokens:
            return f"text {calls}"
        self.rules.append(f"before[lazy]: {_pattern(ANYTHING, opener)}")
        return f"before {calls.removeprefix(json.dumps(opener)).strip()}"

    def thoughts(self, marks: ThinkingMarks, is_thinking: bool) -> str:
        """Thoughts to their end; when they have not begun yet the model may leave them out."""
        begin = "" if is_thinking else self._literal(marks.begin)
        if marks.end in self._control_tokens:
            thoughts = f"{begin} text {self._literal(marks.end)}"
        else:
            self.rules.append(f"thoughts[lazy]: {_pattern(ANYTHING, marks.end)}")
            thoughts = f"{begin} thoughts"
        return thoughts if is_thinking else f"({thoughts})?"

    def _literal(self, text: str) -> str:
        """A text as rules: control tokens by their ids, spaces at ends and line ends as free."""
        marks = "|".join(map(re.escape, self._control_tokens)) or "(?!)"
        parts = re.split(rf"({marks}|\s*\n\s*|^\s+|\s+$)", text)
        return " ".join(self._part(part) for part in parts if part)

    def _part(self, part: str) -> str:
        if part in self._control_tokens:
            return f"<[{self._control_tokens[part]}]>"
        return "space" if part.isspace() else json.dumps(part)


def _pattern(anything: str, text: str) -> str:
    escaped = re.escape(text).replace("/", r"\/")
    return f"/{anything}{escaped}/"
