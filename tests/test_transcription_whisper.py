"""The real transcription model: speech to segments, silence to none."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_room.cores import Cores
from engine_room.decoding import decode
from engine_room.encoding import Samples, Sound, as_float, as_int16, encode
from engine_room.errors import InvalidAudio, Unavailable, UnsupportedValue
from engine_room.jobs import Done, Event, Job
from engine_room.settings import Settings
from engine_room.speech_light import LightVoice
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.transcription_format import Heard, Segment, text_of
from engine_room.transcription_turn import SpeechFilter, TranscriptionTurn
from engine_room.transcription_whisper import RATE_HZ, WINDOW_S, WhisperModel, is_invented, windows
from engine_room.whisper_models import WhisperModels

SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech" / "jfk.flac"
SAID = (
    "And so my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings(_env_file=None, models_dir=tmp_path_factory.mktemp("models"))
    models = WhisperModels(settings.models_dir)
    return models.ready(models.bundled)


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


def job(sound: Sound, language: str = "en", **fields: Any) -> Job[TranscriptionTurn]:
    turn = TranscriptionTurn(encode(sound, "wav"), Path("unused"), language, **fields)
    return Job(turn, print)


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


@pytest.mark.parametrize("language", ["en-US", "English"])
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
    for languages in ((), ("de", "en")):
        sound = Sound(noise(2, 0), RATE_HZ)
        segments, result = heard(model, job(sound, language="", languages=languages))
        assert segments == []
        assert result.language == ""


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
        list(model.answer(Job(TranscriptionTurn(b"hello", Path("unused")), print)))


def test_a_long_sound_is_cut_where_it_is_quiet_and_nothing_of_it_is_lost() -> None:
    loud = as_int16(noise(3.5 * WINDOW_S, 0.5))
    quiet_at = [100 * RATE_HZ, 190 * RATE_HZ, 300 * RATE_HZ]
    for at in quiet_at:
        loud[at : at + RATE_HZ // 2] = 0
    cuts = list(windows(np.array_split(loud, 999), RATE_HZ))
    assert np.array_equal(np.concatenate([samples for _, samples in cuts]), as_float(loud))
    assert all(len(samples) <= WINDOW_S * RATE_HZ for _, samples in cuts)
    ends = [begin + len(samples) for begin, samples in cuts]
    assert [begin for begin, _ in cuts] == [0, *ends[:-1]]
    for at, end in zip(quiet_at, ends, strict=False):
        assert at < end < at + RATE_HZ // 2


@pytest.mark.parametrize("num_samples", [0, 1, RATE_HZ, WINDOW_S * RATE_HZ])
def test_a_short_sound_is_one_window(num_samples: int) -> None:
    ((begin, samples),) = windows([np.zeros(num_samples, np.int16)], RATE_HZ)
    assert (begin, len(samples)) == (0, num_samples)


@pytest.mark.parametrize("language", ["", "en"])
def test_a_long_sound_is_told_in_order_with_the_times_it_has_in_the_file(
    model: WhisperModel, spoken: Sound, language: str
) -> None:
    """Of four windows, which are decoded two at once where the language is known."""
    every_s = 100
    pause = noise(every_s - spoken.duration_s, 0)
    sound = Sound(np.concatenate([spoken.samples, pause] * 4), RATE_HZ)
    segments, result = heard(model, job(sound, language))
    assert ["train" in segment.text.lower() for segment in segments] == [True] * 4
    assert [segment.start for segment in segments] == pytest.approx(
        [0, every_s, 2 * every_s, 3 * every_s], abs=0.5
    )
    assert [segment.id for segment in segments] == [0, 1, 2, 3]
    assert result.language == "en"
    assert result.duration_s == pytest.approx(4 * every_s, abs=0.1)


def test_windows_read_no_further_than_they_need() -> None:
    num_read = 0

    def blocks() -> Iterator[NDArray[np.int16]]:
        nonlocal num_read
        for _ in range(1000):
            num_read += 1
            yield np.ones(RATE_HZ, np.int16)

    next(windows(blocks(), RATE_HZ))
    assert num_read <= WINDOW_S + 1


SECONDS = np.arange(4 * RATE_HZ) / RATE_HZ
NOT_SPEECH = {
    "hiss": noise(4, 0.2),
    "rumble": np.cumsum(noise(4, 0.01)),
    "hum": sum(np.sin(2 * np.pi * 50 * k * SECONDS) / k for k in range(1, 12)) / 4,
    "chord": sum(np.sin(2 * np.pi * hz * SECONDS) for hz in (220, 277, 330, 440)) / 5,
    "beeps": 0.5 * np.sin(2 * np.pi * 1000 * SECONDS) * (np.floor(SECONDS * 2) % 2),
    "claps": noise(4, 0.3) * np.exp(-30 * (SECONDS % 0.37)),
    "notes": np.concatenate(
        [
            np.sin(2 * np.pi * hz * SECONDS[:8000]) * np.exp(-3 * SECONDS[:8000]) * 0.4
            for hz in (196, 220, 262, 294, 330, 262, 392, 196)
        ]
    ),
}


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_noise_and_music_are_no_words(model: WhisperModel, name: str) -> None:
    sound = Sound(NOT_SPEECH[name].astype(np.float32), RATE_HZ)
    assert heard(model, job(sound, language=""))[0] == []


@pytest.mark.parametrize(
    ("avg_logprob", "no_speech_prob", "compression_ratio", "invented"),
    [
        (-1.2, 0.5, 1.0, True),
        (-1.2, 0.1, 3.0, True),
        (-1.2, 0.1, 1.0, False),  # mumbled, but nothing else speaks against it
        (-0.5, 0.9, 3.0, False),  # sure of it: somebody who says the same again
    ],
)
def test_text_the_model_hardly_believes_is_invented_if_more_speaks_against_it(
    avg_logprob: float, no_speech_prob: float, compression_ratio: float, invented: bool
) -> None:
    segment = Segment(0, 0, 0, 1, "", [], 0, avg_logprob, compression_ratio, no_speech_prob, [])
    assert is_invented(segment) is invented


def test_a_language_is_chosen_among_those_it_may_be(model: WhisperModel, spoken: Sound) -> None:
    _, result = heard(model, job(spoken, "", languages=("de", "en-GB")))
    assert result.language == "en"
    _, result = heard(model, job(spoken, "", languages=("German",)))
    assert result.language == "de"
    with pytest.raises(UnsupportedValue):
        list(model.answer(job(spoken, "", languages=("de", "klingon"))))


def test_a_translation_is_english(model: WhisperModel, spoken: Sound) -> None:
    segments, result = heard(model, job(spoken, "", task="translate"))
    assert "train" in text_of(segments)
    assert result.language == "en"


def test_hotwords_set_the_spelling(model: WhisperModel, spoken: Sound) -> None:
    assert "Harbor" in text_of(heard(model, job(spoken))[0])
    assert "harbour" in text_of(heard(model, job(spoken, hotwords="harbour"))[0]).lower()


@pytest.mark.parametrize(("hotwords", "spelling"), [("harbor " * 300, "harbor"), ("", "harbour")])
def test_hotwords_and_a_prompt_share_the_room_that_there_is(
    model: WhisperModel, spoken: Sound, hotwords: str, spelling: str
) -> None:
    fields = {"prompt": "The old harbour. " * 300, "hotwords": hotwords}
    assert spelling in text_of(heard(model, job(spoken, **fields))[0]).lower().split()


def test_what_counts_as_speech_can_be_said(model: WhisperModel, spoken: Sound) -> None:
    samples = spoken.samples * 0.1 + noise(4, 0.01)[: len(spoken.samples)]
    noisy = Sound(samples.astype(np.float32), RATE_HZ)
    assert "train" in text_of(heard(model, job(noisy))[0])
    assert heard(model, job(noisy, speech_filter=SpeechFilter(threshold=0.99)))[0] == []


def test_a_folder_that_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no model")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Unavailable, match=rf"{tmp_path.name} cannot be loaded on cpu"):
        WhisperModel(tmp_path)


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
