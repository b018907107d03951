"""What a model writes is read as text, thoughts and calls, however it is cut."""

from collections.abc import Iterable
from itertools import product

import pytest

from engine_room.chat.reader import AnswerReader
from engine_room.chat.turn import Item, Text


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
