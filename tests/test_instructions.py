"""Instructions in plain English change pace, pitch and pauses as they say, and never the other way."""

import pytest

from engine_room.instructions import Manner, manner


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ("", Manner()),
        ("Speak slowly and calmly.", Manner(pace_ratio=0.75)),
        ("in a cheerful, fast voice", Manner(pace_ratio=1.3, pitch_ratio=1.06)),
        ("With a deep, resonant voice", Manner(pitch_ratio=0.85)),
        ("Take long pauses between sentences", Manner(pause_ratio=1.6)),
        ("whisper", Manner(pace_ratio=0.85)),
        ("Very slowly, please", Manner(pace_ratio=0.631)),
        ("slightly faster", Manner(pace_ratio=1.14)),
        ("A bit slower than usual", Manner(pace_ratio=0.866)),
        ("Pitch: low. Pauses: brief", Manner(pitch_ratio=0.85, pause_ratio=0.7)),
        ("Take your time!", Manner(pace_ratio=0.75)),
        ("No pauses at all.", Manner(pause_ratio=0.5)),
        ("Like a little girl", Manner(pitch_ratio=1.2)),
        ("Don’t whisper, speak quickly", Manner(pace_ratio=1.3)),
        ("Not too loud and slow", Manner(pace_ratio=0.75)),
        ("Begin slowly, then fast", Manner(pace_ratio=0.975)),
        ("slow slow slow slowly slower", Manner(pace_ratio=0.75)),
    ],
)
def test_what_is_asked_for_is_understood(instructions: str, expected: Manner) -> None:
    assert manner(instructions) == expected


@pytest.mark.parametrize(
    "instructions",
    [
        "not too fast",
        "Don't rush",
        "do not speak too slowly",
        "never hurried or slow",
        "without long pauses",
        "Do not ever let your voice sound rushed",
        "too fast",
        "no need to hurry",
        "less slowly",
        "deep sorrow, high hopes and a low price",
        "a long story about a short man",
        "Parle lentement, 请慢一点",
        "breakfast",
        "\x00<b>[]()",
    ],
)
def test_what_is_denied_or_not_understood_changes_nothing(instructions: str) -> None:
    assert manner(instructions) == Manner()


def test_every_ratio_stays_within_bounds() -> None:
    said = manner("extremely very slowly in a very deep voice with no pauses, really no pauses")
    assert said == Manner(0.631, 0.771, 0.5)


def test_a_long_text_is_read_in_one_pass() -> None:
    assert manner("speak slowly and deep " * 100_000 + "no " * 100_000).pace_ratio == 0.75
