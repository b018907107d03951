"""What a model writes is read as text, thoughts and calls, however it is cut."""

from collections.abc import Iterable
from itertools import product

import pytest

from engine_room.chat.reader import AnswerReader
from engine_room.chat.tool_format import (
    HERMES,
    LLAMA_3,
    MISTRAL,
    MISTRAL_ARGS,
    MISTRAL_CALL_ID,
    ToolFormat,
)
from engine_room.chat.turn import Finish, Item, Text, ThinkingMarks, ToolCall


def splits(text: str) -> list[list[str]]:
    """The text cut in every possible way."""
    cuts = product((False, True), repeat=len(text) - 1)
    found = []
    for cut in cuts:
        parts = [text[0]]
        for char, is_cut in zip(text[1:], cut, strict=True):
            if is_cut:
                parts.append(char)
            else:
                parts[-1] += char
        found.append(parts)
    return found


def out(stops: tuple[str, ...], parts: list[str]) -> str:
    """What goes out of an answer that comes in these parts, as the chat engine feeds them."""
    reader = AnswerReader(0, stops)
    items: list[Item] = []
    for part in parts:
        items += reader.feed(part)
        if reader.found_stop:
            break
    return said([*items, *reader.rest()])


def said(items: Iterable[Item]) -> str:
    return "".join(item.text for item in items if isinstance(item, Text))


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        (("STOP",), "a STOP b", "a "),
        (("STOP",), "a STO b", "a STO b"),
        (("STOP",), "STSTOPx", "ST"),
        (("aab",), "aaaab!", "aa"),
        (("abab",), "abaabab", "aba"),
        (("xy", "yz"), "axyzb", "a"),
        (("longer one", "er"), "a longer", "a long"),
        (("\n\n",), "a\nb\n\nc", "a\nb"),
        (("x",), "aaaa", "aaaa"),
        ((), "a STOP b", "a STOP b"),
        (("é🙂",), "caféé🙂!", "café"),
    ],
)
def test_however_the_text_is_cut_it_ends_before_the_first_stop_string(
    stops: tuple[str, ...], text: str, expected: str
) -> None:
    for parts in splits(text):
        assert out(stops, parts) == expected, parts


def test_no_part_of_a_stop_string_goes_out_before_it_is_known_to_be_none() -> None:
    reader = AnswerReader(0, ("<|end|>",))
    assert [said(reader.feed(char)) for char in "a<|en"] == ["a", "", "", "", ""]
    assert said(reader.feed("joy")) == "<|enjoy"
    assert said(reader.feed("<|end")) == ""
    assert said(reader.rest()) == "<|end"


def test_after_a_stop_string_nothing_more_goes_out() -> None:
    reader = AnswerReader(0, ("STOP",))
    assert said(reader.feed("a STOP and more")) == "a "
    assert reader.found_stop
    assert said(reader.rest()) == ""


# ---------------------------------------------------------------- thoughts and calls

THINK = ThinkingMarks("<think>", "</think>")
CITY = '{"city": "Paris {\\"}\\\\", "tags": ["a]", {}]}'
HERMES_CALL = '<tool_call>\n{"name": "weather", "arguments": ' + CITY + "}\n</tool_call>"


def read(reader: AnswerReader, parts: Iterable[str]) -> list[tuple[str, ...]]:
    """What was read, pieces of the same thing put together."""
    items = [item for part in parts for item in reader.feed(part)]
    found: list[list[str]] = []
    for item in [*items, *reader.rest()]:
        if isinstance(item, ToolCall):
            found.append(["call", str(item.number), item.name])
            continue
        assert not isinstance(item, Finish)
        kind = type(item).__name__.lower()
        if found and found[-1][0] == kind:
            found[-1][1] += item.text
        else:
            found.append([kind, item.text])
    return [tuple(each) for each in found]


def cuts(text: str) -> list[list[str]]:
    """Whole, character by character, and cut in two at every place."""
    return [[text], list(text), *([text[:at], text[at:]] for at in range(1, len(text)))]


called = [("call", "0", "weather"), ("arguments", CITY)]
again = [("call", "1", "weather"), ("arguments", "{}")]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (HERMES, HERMES_CALL, called),
        (HERMES, "Let me see.\n\n" + HERMES_CALL, [("text", "Let me see."), *called]),
        (
            HERMES,
            HERMES_CALL + '\n<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call>',
            [*called, *again],
        ),
        (HERMES, HERMES_CALL.replace('"arguments": ', '"arguments":\n\n'), called),
        (HERMES, HERMES_CALL.replace('"arguments": ', '"arguments":'), called),
        (HERMES, "2 < 3 and <tool> is no call ", [("text", "2 < 3 and <tool> is no call ")]),
        (
            MISTRAL,
            '[TOOL_CALLS] [{"name": "weather", "arguments": '
            + CITY
            + '}, {"name": "weather", "arguments": {}}]',
            [*called, *again],
        ),
        (
            MISTRAL_ARGS,
            f"Hm. [TOOL_CALLS]weather[ARGS]{CITY}[TOOL_CALLS]weather[ARGS]{{}}",
            [("text", "Hm."), *called, *again],
        ),
        (MISTRAL_CALL_ID, f"[TOOL_CALLS]weather[CALL_ID]aB3456789[ARGS]{CITY}", called),
        (LLAMA_3, '{"name": "weather", "parameters": ' + CITY + "}", called),
        (LLAMA_3, '<|python_tag|>{"name": "weather", "parameters": ' + CITY + "}", called),
        (LLAMA_3, '{"name": "weather"} is JSON', [("text", '{"name": "weather"} is JSON')]),
        (LLAMA_3, "{ braces }", [("text", "{ braces }")]),
    ],
)
def test_however_it_is_cut_each_familys_calls_are_read(
    form: ToolFormat, text: str, expected: list[tuple[str, ...]]
) -> None:
    for parts in cuts(text):
        assert read(AnswerReader(0, tool_format=form), parts) == expected, parts


@pytest.mark.parametrize(
    ("is_open", "text", "expected"),
    [
        (
            True,
            "\nLet me < think.\n</think>\n\nYes.",
            [("reasoning", "Let me < think."), ("text", "Yes.")],
        ),
        (False, "<think>\nHm\n</think>\n\nYes.", [("reasoning", "Hm"), ("text", "Yes.")]),
        (False, "Yes, <think> is a tag.", [("text", "Yes, <think> is a tag.")]),
        (False, "<thin ice>", [("text", "<thin ice>")]),
        (True, "never ends", [("reasoning", "never ends")]),
        (True, "cut </thi", [("reasoning", "cut </thi")]),
        (True, "a</think>" + HERMES_CALL, [("reasoning", "a"), *called]),
        (False, "<think>a</think>b" + HERMES_CALL, [("reasoning", "a"), ("text", "b"), *called]),
    ],
)
def test_however_they_are_cut_thoughts_are_told_from_the_answer(
    is_open: bool, text: str, expected: list[tuple[str, ...]]
) -> None:
    for parts in cuts(text):
        assert read(AnswerReader(0, (), THINK, is_open, HERMES), parts) == expected, parts


def test_thoughts_before_a_call_without_an_opener() -> None:
    text = '<think>a</think>\n{"name": "weather", "parameters": ' + CITY + "}"
    for parts in cuts(text):
        found = read(AnswerReader(0, (), THINK, False, LLAMA_3), parts)
        assert found == [("reasoning", "a"), *called]


def test_an_answer_cut_in_a_call_has_what_was_said_of_it_so_far() -> None:
    for end in range(len(HERMES_CALL)):
        found = read(AnswerReader(0, tool_format=HERMES), [HERMES_CALL[:end]])
        arguments = "".join(each[1] for each in found if each[0] == "arguments")
        assert CITY.startswith(arguments)
        assert HERMES_CALL[:end].startswith("".join(e[1] for e in found if e[0] == "text"))


def test_a_stop_string_ends_text_but_no_thoughts_and_no_arguments() -> None:
    text = "a STOP b</think>c" + HERMES_CALL.replace("Paris", "STOP") + " d"
    for parts in cuts(text):
        reader = AnswerReader(0, ("STOP",), THINK, True, HERMES)
        assert read(reader, parts)[0] == ("reasoning", "a STOP b")
        assert not reader.found_stop
    reader = AnswerReader(0, ("STOP",), THINK, True, HERMES)
    assert read(reader, ["a</think>b ST", "OP c"]) == [("reasoning", "a"), ("text", "b ")]
    assert reader.found_stop


def test_calls_have_ids_of_their_own() -> None:
    reader = AnswerReader(0, tool_format=HERMES)
    items = list(reader.feed((HERMES_CALL + "\n") * 3))
    assert len({item.id for item in items if isinstance(item, ToolCall)}) == 3


def test_without_tools_and_thoughts_all_is_text() -> None:
    text = " <think> " + HERMES_CALL + " "
    for parts in cuts(text):
        assert read(AnswerReader(0), parts) == [("text", text)]
