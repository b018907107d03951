"""The same segments in every format, literally."""

import pytest

from engine_room.errors import UnsupportedValue
from engine_room.transcription_format import (
    FORMATS,
    Heard,
    Segment,
    Word,
    check_format,
    render,
    text_of,
)


def segment(number: int, start: float, end: float, text: str, *words: Word) -> Segment:
    return Segment(number, 0, start, end, text, [1, 2], 0.0, -0.25, 1.5, 0.125, list(words))


SEGMENTS = [
    segment(0, 0.0, 2.5, " Hello there.", Word("Hello", 0.0, 1.0), Word("there.", 1.0, 2.5)),
    segment(1, 3661.0009, 3662.9996, " Ünïcödé & <b>"),
]
HEARD = Heard("en", 3663.4)


def test_text_is_all_that_was_said_and_a_line_end() -> None:
    assert render("text", SEGMENTS, HEARD) == "Hello there. Ünïcödé & <b>\n"


def test_json_is_the_text_and_the_usage() -> None:
    assert render("json", SEGMENTS, HEARD) == {
        "text": "Hello there. Ünïcödé & <b>",
        "usage": {"type": "duration", "seconds": 3663},
    }


def test_srt_numbers_from_one_and_has_commas_in_its_times() -> None:
    assert render("srt", SEGMENTS, HEARD) == (
        "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n"
        "2\n01:01:01,001 --> 01:01:03,000\nÜnïcödé & <b>\n\n"
    )


def test_vtt_has_a_head_and_points_in_its_times() -> None:
    assert render("vtt", SEGMENTS, HEARD) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.500\nHello there.\n\n"
        "01:01:01.001 --> 01:01:03.000\nÜnïcödé & <b>\n\n"
    )


def test_verbose_json_has_the_segments_without_their_words() -> None:
    assert render("verbose_json", SEGMENTS[:1], Heard("en", 2.75)) == {
        "task": "transcribe",
        "language": "en",
        "duration": 2.75,
        "text": "Hello there.",
        "segments": [
            {
                "id": 0,
                "seek": 0,
                "start": 0.0,
                "end": 2.5,
                "text": " Hello there.",
                "tokens": [1, 2],
                "temperature": 0.0,
                "avg_logprob": -0.25,
                "compression_ratio": 1.5,
                "no_speech_prob": 0.125,
            }
        ],
        "usage": {"type": "duration", "seconds": 3},
    }


@pytest.mark.parametrize(
    ("granularities", "fields"),
    [
        ([], {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"words", "segments"}),
    ],
)
def test_verbose_json_has_words_and_segments_as_asked(
    granularities: list[str], fields: set[str]
) -> None:
    body = render("verbose_json", SEGMENTS, HEARD, granularities)
    assert isinstance(body, dict)
    assert body.keys() & {"words", "segments"} == fields
    if "word" in granularities:
        assert body["words"] == [
            {"word": "Hello", "start": 0.0, "end": 1.0},
            {"word": "there.", "start": 1.0, "end": 2.5},
        ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", "\n"),
        ("srt", ""),
        ("vtt", "WEBVTT\n\n"),
        ("json", {"text": "", "usage": {"type": "duration", "seconds": 2}}),
    ],
)
def test_silence_is_an_answer_in_every_format(name: str, expected: object) -> None:
    assert render(name, [], Heard("en", 2.0)) == expected


def test_words_that_were_cut_over_segments_are_joined_as_they_were_said() -> None:
    assert text_of([segment(0, 0, 1, " un"), segment(1, 1, 2, "believable")]) == "unbelievable"


def test_a_format_that_does_not_exist_is_refused_with_those_that_do() -> None:
    for name in FORMATS:
        check_format(name)
    with pytest.raises(UnsupportedValue) as caught:
        check_format("docx")
    assert caught.value.message == (
        "response_format 'docx' is not supported; use one of: json, text, srt, vtt, verbose_json."
    )
