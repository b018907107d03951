"""The speech engine with a voice of a few lines: text in, blocks of sound out."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine_room.cores import Cores
from engine_room.encoding import Samples
from engine_room.errors import InvalidRequest, NothingToSay
from engine_room.jobs import Done, Event, Job
from engine_room.speech import Speech, SpeechTurn
from engine_room.spoken import SpokenBlock
from engine_room.standard_voices import STANDARD_VOICES, Character

TEXT = "One two. Three four five. " + "Six seven eight nine ten. " * 20
ECHO = STANDARD_VOICES["echo"]


ONE_CORE = Cores(1)


class Beeps:
    """A tenth of a second of sound for every piece; silent for '#'."""

    sample_rate_hz = 24_000

    def __init__(self) -> None:
        self.spoken: list[str] = []
        self.asked: list[tuple[Character, float]] = []

    def speak(self, piece: str, character: Character, speed: float) -> Samples:
        self.spoken.append(piece)
        self.asked.append((character, speed))
        return np.full(0 if "#" in piece else 2400, 0.25, np.float32)


def job(text: str = TEXT, **changes: Any) -> Job[SpeechTurn]:
    return Job(SpeechTurn(text, "", ECHO, **changes), print)


def blocks(asked: Job[SpeechTurn], voice: Beeps | None = None) -> list[SpokenBlock]:
    """The blocks of an answer that ends with Done."""
    *items, last = Speech(voice or Beeps()).answer(asked)
    assert last == Done()
    return [item for item in items if isinstance(item, SpokenBlock)]


def test_each_piece_is_a_block_with_its_text_its_characters_and_its_frames() -> None:
    said = blocks(job())
    assert said[0].text == "One two."
    assert len(said) == 3
    assert " ".join(block.text for block in said) == TEXT.strip()
    for block in said:
        assert block.sound.duration_s == pytest.approx(0.1)
        assert (block.num_text_tokens, block.num_audio_tokens) == (len(block.text), 8)


def test_each_sentence_is_a_block_where_that_is_wanted() -> None:
    said = blocks(job("One two. Three four five. Six.", by_sentence=True))
    assert [block.text for block in said] == ["One two.", "Three four five.", "Six."]


def test_the_first_block_comes_before_the_second_piece_is_spoken() -> None:
    voice = Beeps()
    assert isinstance(next(iter(Speech(voice, ONE_CORE).answer(job()))), SpokenBlock)
    assert voice.spoken == ["One two."]


def test_with_more_cores_the_next_piece_is_spoken_meanwhile() -> None:
    class Waiting(Beeps):
        """Its first piece is over when the second has been begun."""

        def __init__(self) -> None:
            super().__init__()
            self.second = threading.Event()

        def speak(self, piece: str, character: Character, speed: float) -> Samples:
            if self.spoken:
                self.second.set()
            samples = super().speak(piece, character, speed)
            assert self.second.wait(20)
            return samples

    said = [item for item in Speech(Waiting(), Cores(2)).answer(job()) if item != Done()]
    assert [item.text for item in said if isinstance(item, SpokenBlock)] == [
        block.text for block in blocks(job())
    ]


def test_the_voice_gets_its_character_the_speed_and_the_pitch() -> None:
    voice = Beeps()
    blocks(job("Hello.", speed=1.5, pitch_ratio=0.8), voice)
    own = ECHO.character
    assert voice.asked == [(replace(own, pitch_ratio=own.pitch_ratio * 0.8), 1.5)]


def test_longer_pauses_come_after_every_sentence_and_shrink_with_the_speed() -> None:
    for speed, pause_s in ((1.0, 0.4), (2.0, 0.2)):
        said = blocks(job("One. Two. Three.", pause_ratio=2, speed=speed))
        lengths_s = [block.sound.duration_s for block in said]
        assert lengths_s == pytest.approx([0.1 + pause_s] * 3)
        assert not said[0].sound.samples[2400:].any()


def test_shorter_pauses_take_from_the_silence_that_a_sentence_ends_with_and_no_more() -> None:
    class Trailing(Beeps):
        silence_s = 0.3

        def speak(self, piece: str, character: Character, speed: float) -> Samples:
            silence = np.zeros(round(self.silence_s * self.sample_rate_hz), np.float32)
            return np.concatenate([super().speak(piece, character, speed), silence])

    voice = Trailing()
    for voice.silence_s, left_s in ((0.3, 0.1), (0.15, 0.0)):
        asked = job("One. Two.", pause_ratio=0.5)
        said = [e for e in Speech(voice, ONE_CORE).answer(asked) if isinstance(e, SpokenBlock)]
        lengths_s = [block.sound.duration_s for block in said]
        assert lengths_s == pytest.approx([0.1 + left_s] * 2, abs=0.001)


def test_a_cancelled_answer_stops_at_the_next_piece() -> None:
    class Leaving(Beeps):
        def speak(self, piece: str, character: Character, speed: float) -> Samples:
            asked.cancel()
            return super().speak(piece, character, speed)

    voice, asked = Leaving(), job()
    events: list[Event] = list(Speech(voice, ONE_CORE).answer(asked))
    assert Done() not in events
    assert voice.spoken == ["One two."]


def test_what_is_silent_is_nothing_to_say() -> None:
    for text in ("...", "abc #"):
        with pytest.raises(NothingToSay):
            next(iter(Speech(Beeps()).answer(job(text))))


def test_what_is_not_english_is_refused_before_the_first_block() -> None:
    german = "Das ist ganz und gar kein englischer Satz, nein."
    with pytest.raises(InvalidRequest, match="another language"):
        next(iter(Speech(Beeps()).answer(job(german))))


def test_a_silent_piece_does_not_silence_the_others() -> None:
    said = blocks(job("Hello. # " + "and then more words " * 30))
    assert sum(block.sound.duration_s for block in said) > 0.1
