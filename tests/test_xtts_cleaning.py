"""What no voice can say never reaches it, and what it can say stays."""

import random
import unicodedata

import pytest

from engine_room.xtts.cleaning import cleaned
from tests.nasty_texts import nasty_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Hello 😀.", "Hello."),
        ("Hi😀there 👩‍👩‍👧 you 🇩🇪!", "Hi there you!"),
        ("Press 1️⃣ now", "Press 1 now"),
        ("a\x00b\x1bc\x85d", "a b c d"),
        ("zero\u200bwidth so\u00adft \ufeffmark", "zerowidth soft mark"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("<speak>Hello<break time='1s'/>world</speak>", "Hello world"),
        ("H<sub>2</sub>O <prosody rate='slow'>slowly</prosody>", "H2O slowly"),
        ("<p>One.</p><p>Two.</p>", "One.\nTwo."),
        ("AT&amp;T &lt;b&gt;bold&lt;/b&gt;", "AT&T bold"),
        ("a < b and c > d", "a b and c d"),
        ("I <3 <https://example.com>", "I 3 https://example.com"),
        ("cafe\u0301", "café"),
        ("Ｈｅｌｌｏ　１２３", "Hello 123"),
        ("𝐛𝐨𝐥𝐝 ﬁne ｶﾞ", "bold fine ガ"),
        ("٣ और ४", "3 और 4"),
        ("½ of 3㎏ is № 5", "1/2 of 3kg is No 5"),
        ("20 °C, 5 kg", "20 °C, 5 kg"),
        ("card 4111111111111111", "card " + " ".join("4111111111111111")),
        ("1.000.000.000.000.000", " ".join("1000000000000000")),
        ("999" + ",999" * 60 + " x", " ".join("9" * 183) + " x"),
        ("999,999,999,999,999", "999,999,999,999,999"),
        ("**Bold** and _soft_ and `code`, 2*3", "Bold and soft and code, 2 3"),
        ("# Title\n\nSee [this](http://example.com).", "Title\nSee this."),
        ("- Milk\n- Eggs\n* Bread", "Milk, Eggs, Bread"),
        (
            "A line that was\nwrapped at its end.\r\nThen more.",
            "A line that was wrapped at its end. Then more.",
        ),
        ("One.\n\n\n \nTwo.", "One.\nTwo."),
        ("What!!!!!!!! ------", "What!!! ---"),
    ],
)
def test_what_no_voice_can_say_never_reaches_it(text: str, plain: str) -> None:
    assert cleaned(text, "hi" if "और" in text else "en") == plain


def test_cleaned_text_has_no_control_characters_tags_or_emoji_whatever_comes() -> None:
    source = random.Random(9)
    for _ in range(500):
        plain = cleaned(nasty_text(source), "en")
        assert not set("<>\0\u200b\u200d\ufe0f😀→") & set(plain)
        assert not any(unicodedata.category(char)[0] == "C" for char in plain.replace("\n", ""))
        assert "  " not in plain


@pytest.mark.parametrize(
    ("language", "plain"), [("en", "Milk, Eggs"), ("ja", "Milk、 Eggs"), ("ar", "Milk، Eggs")]
)
def test_lines_without_a_mark_are_joined_by_the_languages_comma(language: str, plain: str) -> None:
    assert cleaned("Milk\nEggs", language) == plain
