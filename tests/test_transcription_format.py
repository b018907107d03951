"""The same segments in every format, literally."""

import pytest

from engine_room.transcription_format import (
    Heard,
    Segment,
    TranscriptionAnswer,
    TranscriptionFrames,
    Word,
    text_of,
)


def segment(number: int, start: float, end: float, text: str, *words: Word) -> Segment:
    return Segment(number, 0, start, end, text, [1, 2], 0.0, -0.25, 1.5, 0.125, list(words))


SEGMENTS = [
    segment(
        0, 0.0, 2.5, " Hello there.", Word(" Hello", 0.0, 1.0, 0.5), Word(" there.", 1.0, 2.5, 1.0)
    ),
    segment(1, 3661.0009, 3662.9996, " Ünïcödé & <b>"),
]
HEARD = Heard("en", 3663.4)


def test_text_is_all_that_was_said_and_a_line_end() -> None:
    assert TranscriptionAnswer("text").whole(SEGMENTS, HEARD) == "Hello there. Ünïcödé & <b>\n"


def test_json_is_the_text_and_the_usage() -> None:
    assert TranscriptionAnswer("json").whole(SEGMENTS, HEARD) == {
        "text": "Hello there. Ünïcödé & <b>",
        "languages": [{"code": "en"}],
        "usage": {"type": "duration", "seconds": 3663},
    }


def test_srt_numbers_from_one_and_has_commas_in_its_times() -> None:
    assert TranscriptionAnswer("srt").whole(SEGMENTS, HEARD) == (
        "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n"
        "2\n01:01:01,001 --> 01:01:03,000\nÜnïcödé & <b>\n\n"
    )


def test_vtt_has_a_head_and_points_in_its_times() -> None:
    assert TranscriptionAnswer("vtt").whole(SEGMENTS, HEARD) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.500\nHello there.\n\n"
        "01:01:01.001 --> 01:01:03.000\nÜnïcödé & <b>\n\n"
    )


def test_verbose_json_has_the_segments_without_their_words() -> None:
    assert TranscriptionAnswer("verbose_json").whole(SEGMENTS[:1], Heard("en", 2.75)) == {
        "task": "transcribe",
        "language": "english",
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
    body = TranscriptionAnswer("verbose_json", granularities).whole(SEGMENTS, HEARD)
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
        (
            "json",
            {
                "text": "",
                "languages": [],
                "usage": {"type": "duration", "seconds": 2},
            },
        ),
    ],
)
def test_silence_is_an_answer_in_every_format(name: str, expected: object) -> None:
    assert TranscriptionAnswer(name).whole([], Heard("", 2.0)) == expected


def test_words_that_were_cut_over_segments_are_joined_as_they_were_said() -> None:
    assert text_of([segment(0, 0, 1, " un"), segment(1, 1, 2, "believable")]) == "unbelievable"


def test_a_stream_has_the_text_piece_by_piece_and_once_more_at_its_end() -> None:
    frames = TranscriptionFrames(TranscriptionAnswer())
    deltas = [frame for item in SEGMENTS for frame in frames.item(item)]
    assert list(frames.opening()) == []
    assert deltas == [
        {"type": "transcript.text.delta", "delta": "Hello there."},
        {"type": "transcript.text.delta", "delta": " Ünïcödé & <b>"},
    ]
    assert list(frames.closing(HEARD)) == [
        {
            "type": "transcript.text.done",
            "text": "Hello there. Ünïcödé & <b>",
            "languages": [{"code": "en"}],
            "usage": {"type": "duration", "seconds": 3663},
        }
    ]


def test_a_stream_tells_the_times_of_segments_and_words_that_are_asked_for() -> None:
    frames = TranscriptionFrames(TranscriptionAnswer(granularities=["segment", "word"]))
    first, second = SEGMENTS[:2]
    assert list(frames.item(first))[1] == {
        "type": "transcript.text.segment",
        "id": "seg_0",
        "start": first.start,
        "end": first.end,
        "text": first.text,
        "words": [{"word": w.word.strip(), "start": w.start, "end": w.end} for w in first.words],
    }
    assert list(frames.item(second))[1]["id"] == "seg_1"  # type: ignore[index]
    without = TranscriptionFrames(TranscriptionAnswer(granularities=["segment"]))
    assert "words" not in list(without.item(first))[1]  # type: ignore[operator]


def test_logprobs_are_those_of_the_words_whole_and_streamed() -> None:
    answer = TranscriptionAnswer(logprobs=True)
    wanted = [
        {"token": " Hello", "logprob": pytest.approx(-0.6931, abs=1e-4), "bytes": [*b" Hello"]},
        {"token": " there.", "logprob": 0.0, "bytes": [*b" there."]},
    ]
    whole = answer.whole(SEGMENTS, HEARD)
    assert isinstance(whole, dict)
    assert whole["logprobs"] == wanted
    frames = TranscriptionFrames(answer)
    for frame in [*frames.item(SEGMENTS[0]), *frames.closing(HEARD)]:
        assert isinstance(frame, dict)
        assert frame["logprobs"] == wanted


def test_a_translation_says_that_it_is_one() -> None:
    body = TranscriptionAnswer("verbose_json", task="translate").whole([], Heard("de", 1))
    assert isinstance(body, dict)
    assert (body["task"], body["language"]) == ("translate", "german")
