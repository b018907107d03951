"""An answer read as the model writes it: thoughts, text, tool calls; and where it stops."""

import json
import re
import secrets
from collections.abc import Callable, Iterator

from engine_room.chat.tool_format import ToolFormat
from engine_room.chat.turn import Arguments, Item, Reasoning, Text, ThinkingMarks, ToolCall


class AnswerReader:
    """Text goes in, items come out as soon as they are sure: what might be the beginning of a mark or of
    a stop string waits. `found_stop` is true once a stop string has come.

    Stop strings end the text of an answer, not thoughts or arguments. Without tools and thoughts all is
    text, spaces included.
    """

    def __init__(
        self,
        index: int,
        stops: tuple[str, ...] = (),
        thinking: ThinkingMarks | None = None,
        is_thinking: bool = False,
        tool_format: ToolFormat | None = None,
    ) -> None:
        self.found_stop = False
        self.num_calls = 0
        self.num_out = 0  # characters up to the end of the last item, marks and all
        self._num_in = 0
        self._index = index
        self._stops = stops
        self._thinking = thinking
        self._format = tool_format
        self._held = ""
        self._depth = 0
        self._in_string = self._is_escaped = False
        # Spaces between marks and text are nobody's words.
        self._trims_spaces = thinking is not None or tool_format is not None
        self._is_new = True  # nothing has been said since the beginning, or since the thoughts
        self._read: Callable[[], Item | None]
        if thinking and is_thinking:
            self._read = self._read_thoughts
        else:
            self._read = self._read_beginning

    @property
    def is_thinking(self) -> bool:
        """True while the model thinks."""
        return self._read == self._read_thoughts

    def feed(self, text: str) -> Iterator[Item]:
        """The items that are sure with this text."""
        self._held += text
        self._num_in += len(text)
        while self._held and not self.found_stop:
            before = (len(self._held), self._read)
            if item := self._read():
                yield item
            if (len(self._held), self._read) == before:
                return

    def rest(self) -> Iterator[Item]:
        """What was still held back when the answer ended by itself. Half a call's head is nothing."""
        if self.found_stop or not self._held:
            return
        if self._read == self._read_thoughts:
            yield Reasoning(self._index, self._held)
        elif self._read in (self._read_text, self._read_beginning):
            yield Text(self._index, self._held)

    # ------------------------------------------------------------ states

    def _read_beginning(self) -> Item | None:
        """The first words: do they begin thoughts, or a call that has no opener?"""
        said = self._held.lstrip()
        if self._thinking and said.startswith(self._thinking.begin):
            self._held = said[len(self._thinking.begin) :]
            self._read = self._read_thoughts
        elif self._format and not self._format.opener and self._begins_call(said):
            self._held = said
            self._read = self._read_head
        elif not self._might_begin(said):
            self._read = self._read_text
        return None  # what is held is read again, in the new state

    def _begins_call(self, said: str) -> bool:
        assert self._format
        return bool(self._format.head_pattern.match(said.removeprefix(self._format.prefix)))

    def _might_begin(self, said: str) -> bool:
        marks = [self._thinking.begin] if self._thinking else []
        if self._format and not self._format.opener:
            # A head has the function's name in it: what comes before that tells it from text.
            before_name, _, after_name = self._format.head.partition("NAME")
            marks += [self._format.prefix, before_name]
            said = said.removeprefix(self._format.prefix)
            if said.startswith(before_name):
                _, quote, after = said[len(before_name) :].partition('"')
                rest = quote + after
                return after_name.startswith(rest) or rest.rstrip() == after_name.rstrip()
        return any(mark.startswith(said) for mark in marks)

    def _read_thoughts(self) -> Item | None:
        assert self._thinking
        if self._is_new:
            self._held = self._held.lstrip()
        thoughts, end, after = self._held.partition(self._thinking.end)
        if not end:
            return self._out(Reasoning, (self._thinking.end,), holds_spaces=True)
        item = self._said(Reasoning, thoughts.rstrip())
        self._held, self._is_new, self._thinking = after, True, None
        self._read = self._read_beginning
        return item

    def _read_text(self) -> Item | None:
        opener = self._format.opener if self._format else ""
        if self._is_new and self._trims_spaces:
            self._held = self._held.lstrip()
        marks = (*self._stops, opener) if opener else self._stops
        hits = [(at, mark) for mark in marks if (at := self._held.find(mark)) >= 0]
        if not hits:
            return self._out(Text, marks, holds_spaces=self._format is not None)
        at, mark = min(hits)
        text = self._held[:at]
        item = self._said(Text, text if mark in self._stops else text.rstrip())
        self._held = self._held[at + len(mark) :]
        if mark in self._stops:
            self.found_stop = True
        else:
            self._read = self._read_head
        return item

    def _read_head(self) -> Item | None:
        """The function's name, when the head is complete."""
        assert self._format
        found = self._format.head_pattern.search(self._held)
        if not found:
            return None
        self._held = self._held[found.end() :]
        self._read = self._read_arguments
        self.num_calls += 1
        call_id = f"call_{secrets.token_hex(12)}"
        return ToolCall(self._index, self.num_calls - 1, call_id, _name(found))

    def _read_arguments(self) -> Item | None:
        """A JSON object, to its last brace."""
        for at, character in enumerate(self._held):
            if self._is_last(character):
                text, self._held = self._held[: at + 1], self._held[at + 1 :]
                self._read = self._read_head
                break
        else:
            text, self._held = self._held, ""
        return Arguments(self._index, self.num_calls - 1, text)

    def _is_last(self, character: str) -> bool:
        """Go on by one character of an object; True at the brace that ends it."""
        if self._is_escaped:
            self._is_escaped = False
        elif self._in_string:
            self._is_escaped = character == "\\"
            self._in_string = character != '"'
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            return self._depth == 0
        return False

    # ------------------------------------------------------------ out

    def _out(
        self, kind: type[Text] | type[Reasoning], marks: tuple[str, ...], holds_spaces: bool
    ) -> Item | None:
        """All that is held but for what might begin a mark, and for spaces that might come before one."""
        length = len(self._held) - max((_overlap(self._held, mark) for mark in marks), default=0)
        if holds_spaces:
            length = len(self._held[:length].rstrip())
        item = self._said(kind, self._held[:length])
        self._held = self._held[length:]
        return item

    def _said(self, kind: type[Text] | type[Reasoning], text: str) -> Item | None:
        """An item for the text that what is held begins with."""
        self.num_out = self._num_in - len(self._held) + len(text)
        self._is_new = self._is_new and not text
        return kind(self._index, text) if text else None


def _name(head: re.Match[str]) -> str:
    groups = head.groupdict()
    return str(json.loads(groups["json_name"])) if "json_name" in groups else groups["name"]


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of the text are a beginning of the mark."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
