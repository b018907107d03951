"""A text with pauses, voices and SSML in it becomes the lines that are meant, and never an accident."""

import pytest

from engine_room.errors import InvalidRequest
from engine_room.speech_script import Line, script


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Hello.", [Line("Hello.")]),
        ("Wait. [pause:1.5s] Go.", [Line("Wait.", pause_s=1.5), Line("Go.")]),
        ("Wait.[Pause: 500 MS]Go.", [Line("Wait.", pause_s=0.5), Line("Go.")]),
        ("Wait.[pause:2]Go.[pause:.5]", [Line("Wait.", pause_s=2), Line("Go.", pause_s=0.5)]),
        ("[pause:1][pause:2] Go.", [Line("", pause_s=3), Line("Go.")]),
        ("😀[pause:1]Go.", [Line("", pause_s=1), Line("Go.")]),
        ("One.[pause:1]😀[pause:1]Two.", [Line("One.", pause_s=2), Line("Two.")]),
        ("[pause:1]", [Line("", pause_s=1)]),
        ("[pause:0]Go.", [Line("Go.")]),
    ],
)
def test_a_pause_is_the_silence_after_a_line(text: str, lines: list[Line]) -> None:
    assert script(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "Hi. [voice:nova] Ho. [voice:Old Man] Ha. [/voice] Hm.",
            [Line("Hi."), Line("Ho.", "nova"), Line("Ha.", "Old Man"), Line("Hm.")],
        ),
        ("[voice:nova]Hi. [voice:] Ho.", [Line("Hi.", "nova"), Line("Ho.")]),
        ("Hi [voice:nova] [voice:] you.", [Line("Hi   you.")]),
        ("[voice:a]Hi [voice:a] you.", [Line("Hi  you.", "a")]),
        ("One.[voice:a]😀[voice:]Two.", [Line("One.\nTwo.")]),
        ("[voice:nova]", []),
        ("[voice:x]" * 20_000 + "Hi.", [Line("Hi.", "x")]),
    ],
)
def test_a_voice_speaks_until_the_next_one(text: str, lines: list[Line]) -> None:
    assert script(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("<speak>One <break/> two</speak>", [Line("One", pause_s=0.5), Line("two")]),
        ('One<break time="250ms"/>two', [Line("One", pause_s=0.25), Line("two")]),
        ("One<BREAK time='1s' strength=none>two", [Line("One", pause_s=1), Line("two")]),
        ("One<break strength=x-strong>two", [Line("One", pause_s=1.2), Line("two")]),
        ('One <break strength="none"/>two', [Line("One two")]),
        ("One<break time/>two", [Line("One", pause_s=0.5), Line("two")]),
        ("<p>One.</p><p><s>Two.</s><s>Three.</s></p>", [Line("One.\nTwo.\nThree.")]),
        ('<sub alias="AT&amp;T">it</sub> rang', [Line("AT&T rang")]),
        ("H<sub>2</sub>O", [Line("H2O")]),
        (
            '<prosody rate="slow">a <prosody rate="120%">b</prosody> c</prosody> d',
            [Line("a", pace_ratio=0.75), Line("b", pace_ratio=0.9), Line("c", "", 0.75), Line("d")],
        ),
        ("<prosody rate='+20%'>a</prosody>", [Line("a", pace_ratio=1.2)]),
        ("<prosody rate='-10%'>a</prosody>", [Line("a", pace_ratio=0.9)]),
        ("<prosody rate=1.2>a", [Line("a", pace_ratio=1.2)]),
        (
            "<prosody rate='x-fast'>a<prosody rate='slow'>b",
            [Line("a", "", 1.6), Line("b", "", 0.75)],
        ),
        ("<prosody pitch='high'>a</prosody></prosody> b", [Line("a b")]),
        (
            '<prosody rate="fast">a[voice:v]b</prosody>c',
            [Line("a", "", 1.25), Line("b", "v", 1.25), Line("c", "v")],
        ),
    ],
)
def test_the_safe_part_of_ssml_is_obeyed(text: str, lines: list[Line]) -> None:
    assert script(text) == lines


@pytest.mark.parametrize(
    ("kind", "written", "said"),
    [
        ("characters", "abc1", "A B C 1"),
        ("spell-out", "I b m", "I B M"),
        ("digits", "12 34", "1 2 3 4"),
        ("cardinal", "1234", "one thousand, two hundred and thirty-four"),
        ("number", "-5", "minus five"),
        ("number", "five", "five"),
        ("ordinal", "22", "twenty-second"),
        ("telephone", "+1 (555) 123-4567", "+1, 5 5 5, 1 2 3, 4 5 6 7"),
        ("date", "03/04/2024", "03/04/2024"),
        ('date" format="dmy', "3.4.2024", "2024-04-03"),
        ('date" format="mdy', "3/4/2024", "2024-03-04"),
        ("time", "12:30", "12:30"),
        ("unit", "5 kg", "5 kg"),
        ("cardinal", "9" * 5000, "9" * 5000),
        ("no-such-kind", "x", "x"),
    ],
)
def test_what_is_to_be_said_as_something_is(kind: str, written: str, said: str) -> None:
    assert script(f'<say-as interpret-as="{kind}">{written}</say-as>') == [Line(said)]


def test_numbers_are_written_out_in_the_language_of_the_text() -> None:
    text = '<say-as interpret-as="cardinal">21</say-as>'
    assert script(text, "de-DE") == [Line("einundzwanzig")]
    assert script(text, "xx") == [Line("21")]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("[voice](x) and [voice:a](http://x) and [pause:1](x)", "voice and voice:a and pause:1"),
        (r"Write \[pause:1s].", "Write [pause:1s]."),
        ("Write `[pause:1s]` or ``<break/>``.", "Write [pause:1s] or ."),
        ("See:\n```xml\n<break time='9h'/>[pause:x]\n```\nDone.", "See:\nDone."),
        ("~~~\n[pause:x]\n```\n[pause:x]\n~~~\nDone.", "Done."),
        ("<think>[pause:9]</think>Yes.", "Yes."),
        ("<!-- <break/> -->Yes.", "Yes."),
        ("a <break and <breakfast> <break-dance> <prosodyx rate='z'>", "a <break and"),
        ("[pause 1s] [voice nova", "[pause 1s] [voice nova"),
    ],
)
def test_what_is_no_command_stays_text(text: str, read: str) -> None:
    assert script(text) == [Line(read)]


def test_code_is_read_only_where_nothing_else_is() -> None:
    assert script("```\ncode\n```") == [Line("code")]
    assert script("```\ncode\n```\n[pause:1]\nHi.") == [Line("", pause_s=1), Line("Hi.")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pause:soon]", "The pause 'soon' in input is not a time; write seconds"),
        ("[pause:]", "The pause '' in input is not a time"),
        ("[pause:-1s]", "The pause '-1s' in input is not a time"),
        ("[pause:61s]", "The pause '61s' in input is longer than 60 seconds"),
        (f"[pause:{'9' * 400}]", "longer than 60 seconds"),
        ("[pause:60]a" * 11, "The pauses in input make more than 600 seconds in all"),
        ("<break time='1h'/>", "The pause '1h' in input is not a time"),
        ("<break strength='huge'/>", "none, x-weak, weak, medium, strong, x-strong"),
        ("<prosody rate='soon'>", "The prosody rate 'soon' in input is none; write one of x-slow"),
        ("<prosody rate='-0.5'>", "The prosody rate '-0.5' in input is none"),
        ("<prosody rate='500%'>", "makes a pace of 5; from 0.25 to 4"),
        ("<prosody rate='0.5'>" * 3, "makes a pace of 0.125; from 0.25 to 4"),
        (f"<prosody rate='{'9' * 400}'>", "makes a pace of inf"),
    ],
)
def test_a_wrong_value_is_named_with_the_right_ones(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        script(text)
    assert message in refused.value.message
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    "text",
    [
        '<prosody rate="slow">' * 20_000,
        "<a><b>" * 30_000,
        "<break " * 30_000,
        '<break "' * 30_000,
        "<break " + "a" * 300_000,
        '<sub alias="x">' * 20_000,
        "<!--" * 30_000,
        "`" * 300_000,
        "` a" * 30_000,
        "```\n" * 30_000,
        "[pause:" * 20_000,
        "&lol;" * 30_000,
        "<think>" * 30_000,
        '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><speak>&c;</speak>' * 1_000,
        "<prosody rate='slow'><s></prosody></s><sub alias='x'>" * 3_000,
        "[voice:x]hi [voice:y]ho " * 3_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_monster_of_a_text_takes_time_for_its_length_only(text: str) -> None:
    """Each takes a second or two; where time grows with the square, hours."""
    assert script(text) is not None
