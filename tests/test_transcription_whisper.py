"""The real transcription model: speech to segments, silence to none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine_room.catalogue import Catalogue
from engine_room.cores import Cores
from engine_room.encoding import Samples, Sound, decode, encode
from engine_room.errors import InvalidAudio, UnsupportedValue
from engine_room.jobs import Done, Event, Job
from engine_room.settings import Settings
from engine_room.speech_light import LightVoice
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.transcription_format import Heard, Segment, text_of
from engine_room.transcription_turn import TranscriptionTurn
from engine_room.transcription_whisper import RATE_HZ, WINDOW_S, WhisperModel, windows

SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech" / "jfk.flac"
SAID = (
    "And so my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings(_env_file=None, models_dir=tmp_path_factory.mktemp("models"))
    return Catalogue(settings).whisper_dir()


@pytest.fixture(scope="module")
def model(folder: Path) -> WhisperModel:
    return WhisperModel(folder, num_threads=1)


@pytest.fixture(scope="module")
def speech() -> Sound:
    if not SPEECH.is_file():
        pytest.skip(f"there is no recorded speech to transcribe ({SPEECH})")
    return decode(SPEECH.read_bytes(), RATE_HZ)


@pytest.fixture(scope="module")
def spoken() -> Sound:
    """A sentence of about four seconds, by the server's own voice."""
    voice = LightVoice()
    character = STANDARD_VOICES["nova"].character
    samples = voice.speak("The train to the old harbour leaves in the morning.", character, seed=1)
    return decode(encode(Sound(samples, voice.sample_rate_hz), "wav"), RATE_HZ)


def job(sound: Sound, language: str = "en", words: bool = False) -> Job[TranscriptionTurn]:
    return Job(TranscriptionTurn(encode(sound, "wav"), language, "", 0.0, words), print)


def heard(model: WhisperModel, asked: Job[TranscriptionTurn]) -> tuple[list[Segment], Heard]:
    *segments, last = model.answer(asked)
    assert isinstance(last, Done)
    assert isinstance(last.result, Heard)
    return only_segments(segments), last.result


def only_segments(events: Sequence[Event]) -> list[Segment]:
    assert all(isinstance(event, Segment) for event in events)
    return [event for event in events if isinstance(event, Segment)]


def noise(duration_s: float, level: float) -> Samples:
    random = np.random.default_rng(7)
    return (level * random.standard_normal(round(duration_s * RATE_HZ))).astype(np.float32)


def plain(text: str) -> list[str]:
    return "".join(char for char in text.lower() if char.isalpha() or char == " ").split()


def test_a_speech_is_written_down_with_its_words_and_language(
    model: WhisperModel, speech: Sound
) -> None:
    segments, result = heard(model, job(speech, language="", words=True))
    assert plain(text_of(segments)) == plain(SAID)
    assert result.language == "en"
    assert result.duration_s == pytest.approx(speech.duration_s, abs=0.01)
    assert [segment.id for segment in segments] == list(range(len(segments)))
    words = [word for segment in segments for word in segment.words]
    assert plain(" ".join(word.word for word in words)) == plain(SAID)
    assert all(0 <= word.start <= word.end <= speech.duration_s for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)


@pytest.mark.parametrize("language", ["en-US", "EN_us", "en"])
def test_a_language_may_have_a_region(model: WhisperModel, speech: Sound, language: str) -> None:
    beginning = replace(speech, samples=speech.samples[: 3 * RATE_HZ])
    segments, result = heard(model, job(beginning, language))
    assert "fellow americans" in text_of(segments).lower()
    assert result.language == "en"


def test_while_others_compute_it_takes_half_of_the_cores_and_writes_the_same(
    folder: Path, spoken: Sound
) -> None:
    cores = Cores(2)
    model = WhisperModel(folder, cores=cores)
    alone, _ = heard(model, job(spoken))
    assert model.num_threads == 2
    with cores.working("chat"):
        beside, _ = heard(model, job(spoken))
        assert model.num_threads == 1
    assert text_of(beside) == text_of(alone)
    heard(model, job(spoken))
    assert model.num_threads == 2


def test_a_fixed_number_of_threads_stays(folder: Path, spoken: Sound) -> None:
    cores = Cores(4)
    model = WhisperModel(folder, 2, cores)
    with cores.working("chat"), cores.working("speech"):
        heard(model, job(spoken))
        assert model.num_threads == 2


@pytest.mark.parametrize("level", [0.0, 0.001])
@pytest.mark.parametrize("duration_s", [0.01, 3.0])
def test_silence_has_no_segments(model: WhisperModel, level: float, duration_s: float) -> None:
    segments, result = heard(model, job(Sound(noise(duration_s, level), RATE_HZ)))
    assert segments == []
    assert result.duration_s == pytest.approx(duration_s, abs=0.01)


def test_silence_in_an_unknown_language_has_no_segments(model: WhisperModel) -> None:
    segments, _ = heard(model, job(Sound(noise(2, 0), RATE_HZ), language=""))
    assert segments == []


def test_a_language_the_model_does_not_know_is_refused_with_those_it_knows(
    model: WhisperModel,
) -> None:
    with pytest.raises(UnsupportedValue, match=r"language 'klingon' is not supported.*en, es"):
        list(model.answer(job(Sound(noise(1, 0), RATE_HZ), language="klingon")))


def test_a_cancelled_job_ends_without_its_segments(model: WhisperModel, speech: Sound) -> None:
    asked = job(speech)
    asked.cancel()
    assert list(model.answer(asked)) == []


def test_what_is_no_audio_is_refused(model: WhisperModel) -> None:
    with pytest.raises(InvalidAudio):
        list(model.answer(Job(TranscriptionTurn(b"hello", "", "", 0.0, False), print)))


def test_a_long_sound_is_cut_where_it_is_quiet_and_nothing_of_it_is_lost() -> None:
    loud = noise(3.5 * WINDOW_S, 0.5)
    quiet_at = [100 * RATE_HZ, 190 * RATE_HZ, 300 * RATE_HZ]
    for at in quiet_at:
        loud[at : at + RATE_HZ // 2] = 0
    cuts = list(windows(loud, RATE_HZ))
    assert [begin for begin, _ in cuts] == [0] + [end for _, end in cuts[:-1]]
    assert cuts[-1][1] == len(loud)
    assert all(end - begin <= WINDOW_S * RATE_HZ for begin, end in cuts)
    for at, (_, end) in zip(quiet_at, cuts, strict=False):
        assert at < end < at + RATE_HZ // 2


@pytest.mark.parametrize("num_samples", [0, 1, RATE_HZ, WINDOW_S * RATE_HZ])
def test_a_short_sound_is_one_window(num_samples: int) -> None:
    samples = np.zeros(num_samples, np.float32)
    assert list(windows(samples, RATE_HZ)) == [(0, num_samples)]


@pytest.mark.slow
def test_words_late_in_a_long_file_have_their_place_in_it(
    model: WhisperModel, spoken: Sound
) -> None:
    silence = noise(WINDOW_S + 30, 0)
    late = Sound(np.concatenate([silence, spoken.samples]), RATE_HZ)
    segments, result = heard(model, job(late, words=True))
    assert plain(text_of(segments))[:4] == ["the", "train", "to", "the"]
    assert result.duration_s == pytest.approx(late.duration_s, abs=0.01)
    assert [segment.id for segment in segments] == list(range(len(segments)))
    words = [word for segment in segments for word in segment.words]
    assert WINDOW_S + 29 < segments[0].start < WINDOW_S + 32
    assert WINDOW_S + 29 < words[0].start < WINDOW_S + 32


def test_a_job_cancelled_after_its_first_segment_gives_no_more(
    model: WhisperModel, spoken: Sound
) -> None:
    twice = Sound(np.concatenate([spoken.samples, noise(1.5, 0), spoken.samples]), RATE_HZ)
    assert len(heard(model, job(twice))[0]) == 2
    asked = job(twice)
    events = iter(model.answer(asked))
    assert isinstance(next(events), Segment)
    asked.cancel()
    assert list(events) == []
