"""A voice may have any name that is a folder's name everywhere and is mistaken for no other."""

import unicodedata

import pytest

from engine_room.errors import InvalidRequest
from engine_room.voice_names import checked_name, composed, folded


@pytest.mark.parametrize(
    "name",
    [
        "Grandma",
        "My Voice v1.2",
        "Jürgen 漢字",
        "👩‍👧 Mum",
        "🙂",
        "صوت",
        "O'Brien, Pat (1)",
        "con-man",
        "null",
    ],
)
def test_names_of_any_script_are_fine(name: str) -> None:
    assert checked_name(name) == name


def test_a_name_is_composed_and_without_spaces_around_it() -> None:
    assert checked_name(unicodedata.normalize("NFD", "  Zoë ")) == "Zoë"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("\u200d", "is empty"),
        (".", "with a dot"),
        ("..", "with a dot"),
        (".hidden", "with a dot"),
        ("bob.", "with a dot"),
        ("../bob", "'/'"),
        ("a/b", "'/'"),
        ("a\\b", r"'\\\\'"),
        ("C:", "':'"),
        ("a\0b", r"U\+0000"),
        ("a\nb", r"U\+000A"),
        ("a\x1b[31m", r"U\+001B"),
        ("a\u202eb", r"U\+202E"),
        ("\ud83d", r"U\+D83D"),
        ("x" * 300, "has 300 characters"),
        ("🙂" * 70, "280 bytes"),
        ("CON", "reserved by Windows"),
        ("nul.wav", "reserved by Windows"),
        ("Com1", "reserved by Windows"),
        ("alloy", "standard voice"),
        ("ALLOY ", "standard voice"),
        ("Àlloy", "standard voice"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason_and_what_would_be_right(
    name: str, why: str
) -> None:
    with pytest.raises(InvalidRequest, match=why) as caught:
        checked_name(name)
    assert caught.value.param == "name"
    assert "1 to 80 characters" in caught.value.message
    assert len(caught.value.message) < 400
    caught.value.message.encode()


def test_names_that_read_alike_fold_to_one() -> None:
    assert {folded(name) for name in ("José", "jose", " JOSÉ", "Jose\u0301")} == {"jose"}
    assert folded("straße") == folded("STRASSE")
    assert folded("漢字") != folded("漢")
    assert composed("Jose\u0301") == "José"
