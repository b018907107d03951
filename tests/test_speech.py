"""The speech engine with a voice of a few lines: text in, one file out, whole or in blocks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_room.encoding import FORMATS, Samples, decode
from engine_room.errors import InvalidRequest
from engine_room.jobs import Done, Event, Job
from engine_room.recordings import Recordings
from engine_room.settings import Settings
from engine_room.speech import Speech, SpeechTurn
from engine_room.standard_voices import STANDARD_VOICES, Character

TEXT = "One two. Three four five. " + "Six seven eight nine ten. " * 20


class Beeps:
    """A tenth of a second of sound for every piece, at a pitch that is its number; silent for '#'."""

    sample_rate_hz = 24_000

    def __init__(self) -> None:
        self.spoken: list[str] = []
        self.asked: list[tuple[Character, float]] = []

    def speak(self, piece: str, character: Character, speed: float) -> Samples:
        self.spoken.append(piece)
        self.asked.append((character, speed))
        return np.full(0 if "#" in piece else 2400, 0.25, np.float32)


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    recordings = Recordings(Settings(_env_file=None, audio_dir=tmp_path))
    recordings.open()
    yield recordings
    recordings.close()


def job(text: str = TEXT, format_name: str = "wav", **changes: Any) -> Job[SpeechTurn]:
    turn: dict[str, Any] = {
        "language": "",
        "voice": STANDARD_VOICES["echo"],
        "speed": 1.0,
        "stream": False,
    }
    return Job(SpeechTurn(text=text, format_name=format_name, **(turn | changes)), print)


def answered(recordings: Recordings, asked: Job[SpeechTurn]) -> list[bytes]:
    """The blocks of an answer that ends with Done."""
    *blocks, last = Speech(Beeps(), recordings).answer(asked)
    assert last == Done()
    return [block for block in blocks if isinstance(block, bytes)]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_a_whole_answer_is_one_file_of_the_format_asked_for(
    recordings: Recordings, name: str
) -> None:
    (data,) = answered(recordings, job(format_name=name))
    assert decode(data, 24_000).duration_s == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("name", FORMATS)
def test_a_streamed_answer_comes_in_blocks_that_make_one_file(
    recordings: Recordings, name: str
) -> None:
    blocks = answered(recordings, job(format_name=name, stream=True))
    data = b"".join(blocks)
    assert all(blocks)
    if name == "pcm":
        assert len(data) == 3 * 2400 * 2
    else:
        assert decode(data, 24_000).duration_s == pytest.approx(0.3, abs=0.1)


def test_the_first_block_comes_before_the_second_piece_is_spoken(recordings: Recordings) -> None:
    voice = Beeps()
    answer = iter(Speech(voice, recordings).answer(job(format_name="wav", stream=True)))
    first = next(answer)
    assert isinstance(first, bytes)
    assert first[:4] == b"RIFF"
    assert len(first) == 44 + 4800
    assert voice.spoken == ["One two."]


def test_the_voice_gets_its_character_and_the_speed(recordings: Recordings) -> None:
    voice = Beeps()
    list(Speech(voice, recordings).answer(job("Hello.", speed=1.5)))
    assert voice.asked == [(STANDARD_VOICES["echo"].character, 1.5)]


def test_the_answer_is_kept_as_a_whole_file_however_it_was_sent(
    recordings: Recordings, tmp_path: Path
) -> None:
    answered(recordings, job("Hello there.", stream=True))
    (whole,) = answered(recordings, job("Hello there.", voice=STANDARD_VOICES["onyx"]))
    recordings.close()
    files = sorted(tmp_path.iterdir())
    assert [path.name[20:] for path in files] == ["echo_hello-there.wav", "onyx_hello-there.wav"]
    assert [path.read_bytes() for path in files] == [whole, whole]


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_answer_stops_at_the_next_piece_and_is_not_kept(
    recordings: Recordings, tmp_path: Path, stream: bool
) -> None:
    class Leaving(Beeps):
        def speak(self, piece: str, character: Character, speed: float) -> Samples:
            asked.cancel()
            return super().speak(piece, character, speed)

    voice = Leaving()
    asked = job(stream=stream)
    events: list[Event] = list(Speech(voice, recordings).answer(asked))
    assert Done() not in events
    assert voice.spoken == ["One two."]
    recordings.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "text", ["...", "abc #", "Das ist ganz und gar kein englischer Satz, nein."]
)
def test_what_cannot_be_spoken_is_refused_before_the_first_byte(
    recordings: Recordings, tmp_path: Path, stream: bool, text: str
) -> None:
    with pytest.raises(InvalidRequest):
        next(iter(Speech(Beeps(), recordings).answer(job(text, stream=stream))))
    recordings.close()
    assert list(tmp_path.iterdir()) == []


def test_a_silent_piece_does_not_silence_the_others(recordings: Recordings) -> None:
    (data,) = answered(recordings, job("Hello. # " + "and then more words " * 30))
    assert decode(data, 24_000).duration_s > 0.1
