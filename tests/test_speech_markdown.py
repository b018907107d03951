"""What people write is read out as they mean it."""

import pytest

from engine_room.speech_markdown import readable


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("**Bold**, *it* and `code_x`, snake_case.", "Bold, it and code_x, snake_case."),
        ("# Title\n\nText\nmore", "Title.\nText\nmore"),
        ("- one\n- two *b*\n\n1. first\n2. second", "one\ntwo b\n1. first\n2. second"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |  |", "a, b.\n1, 2.\n3."),
        ("See [this](http://x.y/z), ![alt text](i.png).", "See this, alt text."),
        ("At <https://example.com/a>.", "At https://example.com/a."),
        ("Code:\n```py\nprint(1)\n```\nDone.", "Code:\nDone."),
        ("```py\nprint(1)\n```", "print(1)"),
        ("<think>hmm\nno</think>Yes.", "Yes."),
        ("so it is</think>Yes.", "Yes."),
        ("Yes. <thinking>and then", "Yes."),
        ("Fine 👍🏽, all 👨‍👩‍👧 of you!", "Fine , all  of you!"),
        ("<b>Hi</b><br>there<script>x()</script> &amp; you", "Hi\nthere & you"),
        ("<p>One</p><p>Two</p>", "One\nTwo"),
        ("I <3 you, a < b and c > d", "I <3 you, a < b and c > d"),
        ('*sighs* "Well," she said', 'sighs "Well," she said'),
        ("**cut in", "cut in"),
        ("cut off** here", "cut off here"),
        ("5 * 3 = 15 and 2*3*4", "5 * 3 = 15 and 2×3×4"),
        ("    four spaces are no code", "four spaces are no code"),
        ("~~old~~ new", "old new"),
        ("> quoted\n> lines", "quoted\nlines"),
        ("C# and a_b_c, #1", "C# and a_b_c, #1"),
        (r"\*not bold\*", "not bold"),
        ("Hello, world.", "Hello, world."),
        ("Zeile eins\nZeile zwei", "Zeile eins\nZeile zwei"),
        ("日本語**です**。", "日本語です。"),
    ],
)
def test_marks_are_not_read_and_words_are(written: str, read: str) -> None:
    assert readable(written) == read


@pytest.mark.parametrize(
    "written", ["", "😀", "---", "* * *", "<br>", "<think>only", "**", "\u200b"]
)
def test_marks_alone_are_nothing_to_read(written: str) -> None:
    assert readable(written) == ""


@pytest.mark.parametrize(
    "written",
    [
        "*" * 20_000,
        "<" * 20_000,
        "[" * 20_000,
        "`" * 20_000,
        "> " * 9_999,
        "(" * 20_000,
        "<p>" * 6_000,
        "&" * 20_000,
        "- " * 9_999 + "x",
        "![" * 9_999,
        "</think>" * 2_000,
        "<think>" * 2_000,
        "|" * 20_000,
        "_a" * 9_999,
        "**a " * 5_000,
    ],
)
@pytest.mark.timeout(20)
def test_no_text_takes_long(written: str) -> None:
    assert len(readable(written)) <= len(written)
