"""Tracks decoded together say what each says alone."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest

from engine_room.decoding import decode
from engine_room.encoding import Samples, Sound, encode
from engine_room.settings import Settings
from engine_room.speech_light import LightVoice
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.transcription_network import Network, Track, in_turn
from engine_room.whisper_models import WhisperModels

RATE_HZ = 16_000
SENTENCES = [
    "The train to the old harbour leaves in the morning.",
    "My grandfather kept a small shop at the corner, where he repaired clocks.",
    "In spring the river rises, and the meadows on the other side turn into mirrors.",
    "The older people watch the marks on the bridge.",
    "Nobody hurries, yet everything is done within the hour.",
    "A woman with a red pencil writes the prices on a board.",
    "The ticking filled the dark room like rain on a wide and quiet lake.",
    "Children love those weeks, because school begins late and ends early.",
]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    settings = Settings(_env_file=None, models_dir=tmp_path_factory.mktemp("models"))
    models = WhisperModels(settings.models_dir)
    return Network(models.ready(models.bundled), 1, lambda: 1, "cpu")


@pytest.fixture(scope="module")
def sentences() -> list[Samples]:
    voice, character = LightVoice(), STANDARD_VOICES["nova"].character
    spoken = [
        Sound(voice.speak(text, character, seed=1), voice.sample_rate_hz) for text in SENTENCES
    ]
    return [decode(encode(sound, "wav"), RATE_HZ).samples for sound in spoken]


def track_of(network: Network, speech: Samples, **options: Any) -> Track:
    track, _ = network.transcribe(
        speech, language="en", condition_on_previous_text=False, **options
    )
    assert isinstance(track, Track)
    return track


def told(tracks: list[Track], cancelled: Callable[[], bool] = lambda: False) -> list[list[Any]]:
    return [list(in_turn(track, tracks, cancelled)) for track in tracks]


@pytest.mark.parametrize("options", [{}, {"initial_prompt": "Colour.", "hotwords": "harbour"}])
def test_tracks_of_any_length_say_together_what_each_says_alone(
    network: Network, sentences: list[Samples], options: dict[str, str]
) -> None:
    speeches = [sentences[0], np.concatenate(sentences * 2), np.concatenate(sentences[:2])]
    assert len(speeches[1]) > 30 * RATE_HZ  # so that it goes on while the others are done
    alone = [list(track_of(network, speech, **options)) for speech in speeches]
    together = told([track_of(network, speech, **options) for speech in speeches])
    assert [[s.text for s in segments] for segments in together] == [
        [s.text for s in segments] for segments in alone
    ]
    for one, other in zip(chain(*together), chain(*alone), strict=True):
        assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.1)
        assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=0.05)
        assert (one.seek, one.temperature) == (other.seek, other.temperature)


def test_a_part_that_the_model_is_unsure_of_is_tried_again_warmer(
    network: Network, sentences: list[Samples]
) -> None:
    options = {"compression_ratio_threshold": 0.1, "temperature": [0.0, 0.2]}
    tracks = [track_of(network, speech, **options) for speech in sentences[:2]]
    assert [s.temperature for segments in told(tracks) for s in segments] == [0.2, 0.2]


def test_a_part_in_which_the_model_hears_nobody_says_nothing(
    network: Network, sentences: list[Samples]
) -> None:
    options = {"no_speech_threshold": -1.0, "log_prob_threshold": 0.0}
    tracks = [track_of(network, speech, **options) for speech in sentences[:2]]
    assert told(tracks) == [[], []]
    assert all(track.is_done for track in tracks)


def test_when_cancelled_no_further_part_is_decoded(
    network: Network, sentences: list[Samples]
) -> None:
    speech = np.concatenate(sentences * 2)
    tracks = [track_of(network, speech), track_of(network, speech)]
    first = next(in_turn(tracks[0], tracks, lambda: False))
    assert "train" in first.text
    reached = [track.seek for track in tracks]
    assert told(tracks, lambda: True) == [[], []]
    assert [track.seek for track in tracks] == reached
    assert not any(track.is_done for track in tracks)
