"""The bench of how speech is understood compares what was said, not how it is written."""

import pytest

from bench.speech_accuracy import words


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "It cost $5.99 at 18.45.",
            "it cost five dollars and ninety-nine cents at eighteen forty-five",
        ),
        ("On March 15, 2024, 3.30 p.m.", "on March fifteenth, twenty twenty four, three thirty PM"),
        ("1,250 km, 5% to 10%", "one thousand two hundred fifty kilometers, five to ten percent"),
        ("In the 1990s, Dr. Mr. No. 5", "in the nineteen nineties, doctor mister number five"),
        (
            "the 21st, 2.5 of 1920x1080",
            "the twenty-first, two point five of nineteen twenty by ten eighty",
        ),
        ("an F.B.I. agent at 12:00", "an FBI agent at twelve o'clock"),
    ],
)
def test_digits_and_words_are_the_same(written: str, said: str) -> None:
    assert words(written) == words(said)


def test_other_words_are_not() -> None:
    assert words("fifteen") != words("50")
