"""Cloned voices are like their clips, and understood: told of a real model, in XTTS_MODEL_DIR.

What measures is tested on what is always there: the bundled voice, Whisper base, a tiny model.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine_room.clips import prepared
from engine_room.clones import ClonedVoice
from engine_room.encoding import Sound
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.gpt import Conditioning
from engine_room.xtts.turn import StudioVoice

pytest.importorskip("TTS", reason="voice cloning is not installed")
from bench.likeness import TEXTS, VOICES, Listener, cosine, word_error_rate, write_clips
from bench.xtts_sides import Ours, Torch, engine_of, late_s, scratch_settings
from tests.conftest import IS_REAL_XTTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
real = pytest.mark.skipif(
    not IS_REAL_XTTS,
    reason="random weights are like nobody: set XTTS_MODEL_DIR to an XTTS-v2 folder",
)
# Set before any real weights were measured: bounds between a clone that works and one that does not. The
# bundled voices that are cloned are understood without an error themselves.
MIN_COSINE = 0.6
MAX_WORD_ERROR_RATE = 0.2
PATHS = ("llama.cpp and ONNX", "torch")
SEED = 7


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="module")
def torch_path(xtts_folder: XttsFolder) -> Torch:
    return Torch(xtts_folder)


@pytest.fixture(scope="module")
def voices(torch_path: Torch, clips: dict[str, Path]) -> dict[str, Conditioning]:
    """What the model hears in each clip."""
    return {name: torch_path.coqui.conditioning([prepared(clip)]) for name, clip in clips.items()}


@pytest.fixture(scope="module")
def engine_path(
    xtts_folder: XttsFolder,
    studio_speakers: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ours]:
    """The engine on a CPU, with its default kind of GPT for a real model."""
    kind = "q8_0" if IS_REAL_XTTS else "f32"
    folder = tmp_path_factory.mktemp("engine")
    with engine_of(scratch_settings(folder, xtts_device="cpu", xtts_gpt_type=kind)) as engine:
        yield Ours(engine, xtts_folder, studio_speakers[0], is_endless=False)


@pytest.fixture(scope="module")
def speech(
    engine_path: Ours,
    torch_path: Torch,
    clips: dict[str, Path],
    voices: dict[str, Conditioning],
) -> dict[tuple[str, str, str], Sound]:
    """Each text in each cloned voice on each path."""
    said = {}
    for name, clip in clips.items():
        for text in TEXTS:
            cloned = ClonedVoice(name, (clip,))
            said[PATHS[0], name, text] = engine_path.say(text, cloned, SEED)
            said[PATHS[1], name, text] = torch_path.say(text, voices[name], SEED)
    return said


# ------------------------------------------------------------ a real model


@real
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", VOICES)
def test_a_cloned_voice_is_more_like_its_clip_than_like_another(
    speech: dict[tuple[str, str, str], Sound],
    torch_path: Torch,
    voices: dict[str, Conditioning],
    name: str,
    path: str,
) -> None:
    (other,) = {*VOICES} - {name}
    for text in TEXTS:
        heard = torch_path.coqui.conditioning([speech[path, name, text]]).speaker
        likeness = cosine(heard, voices[name].speaker)
        assert likeness >= MIN_COSINE, text
        assert likeness > cosine(heard, voices[other].speaker), text


@real
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", VOICES)
def test_a_cloned_voice_is_understood(
    speech: dict[tuple[str, str, str], Sound], listener: Listener, name: str, path: str
) -> None:
    heard = [listener.heard(speech[path, name, text]) for text in TEXTS]
    assert word_error_rate(" ".join(TEXTS), " ".join(heard)) <= MAX_WORD_ERROR_RATE, heard


# ------------------------------------------------------------ what measures


@pytest.mark.parametrize(
    ("heard", "rate"),
    [
        ("the Cat didn't sit down", 0),
        ("The cat did sit down.", 0.2),
        ("The cat didn't down.", 0.2),
        ("The fat cat didn't sit down", 0.2),
        ("", 1),
    ],
)
def test_the_word_error_rate_counts_words_that_are_wrong_missing_or_too_many(
    heard: str, rate: float
) -> None:
    assert word_error_rate("The cat didn't sit — down!", heard) == pytest.approx(rate)


def test_a_cosine_is_of_the_angle_whatever_the_lengths() -> None:
    right, up = np.array([2, 0], np.float32), np.array([0, 0.1], np.float32)
    assert cosine(right, 3 * right) == pytest.approx(1)
    assert cosine(right, up) == pytest.approx(0)
    assert cosine(right, -right) == pytest.approx(-1)


def test_a_listener_waits_for_what_is_not_there_when_it_is_due() -> None:
    assert late_s([(10.0, 1.0), (10.5, 1.0), (12.0, 1.0)]) == pytest.approx(0)
    assert late_s([(10.0, 1.0), (11.5, 1.0), (12.0, 1.0), (13.75, 1.0)]) == pytest.approx(0.75)


@pytest.mark.parametrize("name", VOICES)
def test_whisper_reads_back_what_the_bundled_voices_say(listener: Listener, name: str) -> None:
    from engine_room.speech_light import LightVoice
    from engine_room.standard_voices import STANDARD_VOICES

    light, character = LightVoice(), STANDARD_VOICES[name].character
    for text in TEXTS:
        sound = Sound(light.speak(text, character, seed=1), light.sample_rate_hz)
        assert word_error_rate(text, listener.heard(sound)) == 0


def test_the_clips_are_as_long_as_a_good_clip_is(clips: dict[str, Path]) -> None:
    assert set(clips) == set(VOICES)
    for clip in clips.values():
        assert 9 < prepared(clip).duration_s < 16


def test_the_speaker_encoder_hears_a_clip_as_itself_and_the_other_as_another(
    torch_path: Torch, clips: dict[str, Path], voices: dict[str, Conditioning]
) -> None:
    one, other = (voices[name].speaker for name in VOICES)
    again = torch_path.coqui.conditioning([prepared(clips[VOICES[0]])]).speaker
    assert cosine(one, again) == pytest.approx(1, abs=1e-6)
    assert cosine(one, other) < 0.99999


@pytest.mark.skipif(IS_REAL_XTTS, reason="its Q8_0 GPT soon draws another token than torch")
def test_both_paths_say_the_same_with_the_same_seed(
    engine_path: Ours, torch_path: Torch, studio_speakers: list[str]
) -> None:
    voice = torch_path.coqui.speakers()[studio_speakers[1]]
    cloned = StudioVoice(studio_speakers[1])
    # A stream, for what is wrong with a file is said again with another seed; these two speak long.
    ours = engine_path.say(TEXTS[0], cloned, 3, stream=True).samples
    same, other = (torch_path.say(TEXTS[0], voice, seed).samples for seed in (3, 1))
    middle = slice(2_400, 24_000)  # the ends are drawn in and out in ours
    assert len(ours[middle]) == len(same[middle]) == len(other[middle])
    assert np.abs(same[middle] - ours[middle]).max() < 2e-4
    assert np.abs(other[middle] - ours[middle]).max() > 1e-3
