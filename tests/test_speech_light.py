"""The real bundled voice, speaking. How alike its characters are is told in `standard_voices`."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import resample_poly, sosfilt

from engine_room.speech_light import (
    MAX_PHONEMES,
    NUM_BINS,
    LightVoice,
    _median_of_five,
    cut,
    plain,
)
from engine_room.standard_voices import STANDARD_VOICES, Character

Floats = NDArray[np.float32]

SENTENCE = "The old keeper walked slowly down to the harbour, carrying a yellow lantern."
NEUTRAL = Character()


@pytest.fixture(scope="module")
def light_voice() -> LightVoice:
    return LightVoice()


@pytest.fixture(scope="module")
def spoken(light_voice: LightVoice) -> dict[str, Floats]:
    """The sentence in each of the voices."""
    return {
        name: light_voice.speak(SENTENCE, voice.character, seed=1)
        for name, voice in STANDARD_VOICES.items()
    }


def duration_s(samples: Floats) -> float:
    return len(samples) / LightVoice.sample_rate_hz


def pitch_hz(samples: Floats) -> float:
    """The median pitch of the voiced 50 ms windows, from the peak of their autocorrelation."""
    size, rate_hz, pitches = 1200, 24_000, []
    for start in range(0, len(samples) - size, size // 2):
        window = samples[start : start + size] - samples[start : start + size].mean()
        correlation = np.correlate(window, window, "full")[size - 1 :]
        lags = slice(rate_hz // 400, rate_hz // 55)
        # The shorter overlap at longer lags is made up for.
        scaled = correlation[lags] * size / (size - np.arange(lags.start, lags.stop))
        if correlation[0] > 0.5 and scaled.max() > 0.6 * correlation[0]:
            first_good = np.flatnonzero(scaled > 0.9 * scaled.max())[0]
            peak = first_good + int(np.argmax(scaled[first_good : first_good + 12]))
            pitches.append(rate_hz / (lags.start + peak))
    return float(np.median(pitches))


def brightness_hz(samples: Floats) -> float:
    """The centre of gravity of the magnitude spectrum."""
    magnitudes = np.abs(np.fft.rfft(samples))
    return float(np.average(np.fft.rfftfreq(len(samples), 1 / 24_000), weights=magnitudes))


def loudness_db(samples: Floats) -> float:
    """Loudness of the whole, K-weighted as in ITU-R BS.1770-4 (its filters are for 48 kHz)."""
    filters = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077],
        [1.0, -2.0, 1.0, 1, -1.99004745483398, 0.99007225036621],
    ]
    weighted = sosfilt(np.array(filters), resample_poly(samples, 2, 1))
    return float(-0.691 + 10 * np.log10(np.mean(weighted**2)))


def test_every_voice_gives_finite_sound_within_range(spoken: dict[str, Floats]) -> None:
    assert len(spoken) == 13
    for name, samples in spoken.items():
        assert samples.dtype == np.float32, name
        assert samples.ndim == 1, name
        assert np.isfinite(samples).all(), name
        assert 0.1 < np.abs(samples).max() < 1.0, name
        assert 3.5 < duration_s(samples) < 6.5, name


def test_all_voices_are_equally_loud(spoken: dict[str, Floats]) -> None:
    loudness = {name: loudness_db(samples) for name, samples in spoken.items()}
    middle = (min(loudness.values()) + max(loudness.values())) / 2
    assert max(abs(value - middle) for value in loudness.values()) < 1.5, loudness
    assert -24 < middle < -18


def test_the_deep_voices_are_deep_and_the_clear_ones_bright(spoken: dict[str, Floats]) -> None:
    pitches = {name: pitch_hz(samples) for name, samples in spoken.items()}
    assert pitches["echo"] < 105
    assert pitches["onyx"] < 115
    assert 130 < pitches["alloy"] < 185
    assert 180 < pitches["nova"] < 230
    assert pitches["shimmer"] > 195
    assert brightness_hz(spoken["echo"]) < brightness_hz(spoken["onyx"])
    assert brightness_hz(spoken["echo"]) < brightness_hz(spoken["alloy"])
    assert brightness_hz(spoken["alloy"]) < brightness_hz(spoken["nova"])


def test_every_voice_is_described_and_no_two_alike() -> None:
    assert list(STANDARD_VOICES) == sorted(STANDARD_VOICES)
    assert all(name == voice.id for name, voice in STANDARD_VOICES.items())
    assert len({voice.description for voice in STANDARD_VOICES.values()}) == 13
    assert len({voice.character for voice in STANDARD_VOICES.values()}) == 13


def test_silence_before_and_after_is_short(spoken: dict[str, Floats]) -> None:
    for name, samples in spoken.items():
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
        assert loud[0] < 0.3 * 24_000, name
        assert len(samples) - loud[-1] < 0.3 * 24_000, name


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.5, 2.0, 4.0])
def test_speed_scales_the_duration_and_keeps_the_pitch(
    light_voice: LightVoice, spoken: dict[str, Floats], speed: float
) -> None:
    samples = light_voice.speak(SENTENCE, STANDARD_VOICES["nova"].character, speed, seed=1)
    assert duration_s(samples) * speed == pytest.approx(duration_s(spoken["nova"]), rel=0.06)
    assert pitch_hz(samples) == pytest.approx(pitch_hz(spoken["nova"]), rel=0.12)
    assert loudness_db(samples) == pytest.approx(loudness_db(spoken["nova"]), abs=2.5)


def test_pitch_ratio_changes_the_pitch_and_not_the_duration(light_voice: LightVoice) -> None:
    as_it_is = light_voice.speak(SENTENCE, NEUTRAL, seed=1)
    lower = light_voice.speak(SENTENCE, Character(pitch_ratio=0.7), seed=1)
    assert pitch_hz(lower) == pytest.approx(0.7 * pitch_hz(as_it_is), rel=0.05)
    assert duration_s(lower) == pytest.approx(duration_s(as_it_is), rel=0.02)


def test_the_same_seed_gives_the_same_samples(
    light_voice: LightVoice, spoken: dict[str, Floats]
) -> None:
    again = light_voice.speak(SENTENCE, STANDARD_VOICES["shimmer"].character, seed=1)
    other = light_voice.speak(SENTENCE, STANDARD_VOICES["shimmer"].character, seed=2)
    assert np.array_equal(again, spoken["shimmer"])
    assert not np.array_equal(other, spoken["shimmer"])


@pytest.mark.parametrize(
    "piece", ["", " \n\t", "...", "?!", "—", "( )", "😀👍🏽", "\x00\x07", "[]()"]
)
def test_nothing_readable_gives_no_samples(light_voice: LightVoice, piece: str) -> None:
    assert light_voice.speak(piece, NEUTRAL).shape == (0,)


@pytest.mark.parametrize(
    "piece",
    [
        "a" * 5000,
        "a1" * 200,
        "1" * 61,
        "1,234" * 9,
        "$" + "9" * 40,
        "[" * 5000 + "a",
        "①Y x² ½ ٣",
        "\x00hello\x1bthere\x07",
        "e\u0301te\u0301 \u200bnai\u0308ve",
        "Hi 😀!",
    ],
    ids=lambda piece: repr(piece[:8]),
)
def test_strange_text_is_spoken_all_the_same(light_voice: LightVoice, piece: str) -> None:
    samples = light_voice.speak(piece, NEUTRAL)
    assert samples.size > 2400
    assert np.abs(samples).max() < 1.0


def test_a_markdown_link_is_read_as_text(light_voice: LightVoice) -> None:
    injected = light_voice.speak("[yes](/nˈO/)", NEUTRAL, seed=1)
    assert not np.array_equal(injected, light_voice.speak("no", NEUTRAL, seed=1))
    assert plain("[hibari](https://x)") == " hibari (https://x)"
    with_address = light_voice.speak("[hibari](https://x)", NEUTRAL)
    assert duration_s(with_address) > duration_s(light_voice.speak("hibari", NEUTRAL)) + 0.5


def test_a_long_number_is_read_digit_by_digit() -> None:
    assert plain("call 1234567890123456 now") == "call 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 now"
    assert plain("call 123,456,789 now") == "call 123,456,789 now"


def test_no_run_of_the_network_is_longer_than_its_limit_and_nothing_is_lost() -> None:
    with_clauses = "a" * 150 + ", " + "b" * 150 + "; " + "c" * 300
    with_words = "abcdefg " * 200
    without = "a" * 1000
    for phonemes in (with_clauses, with_words, without, "", "short"):
        runs = list(cut(phonemes))
        assert "".join(runs) == phonemes
        assert all(len(run) <= MAX_PHONEMES for run in runs)
    assert next(cut(with_clauses)).endswith("b; ")
    assert next(cut(with_words)).endswith("g ")


def test_the_median_of_five_rows_is_scipys() -> None:
    values = np.random.default_rng(1).normal(size=(NUM_BINS, 50)).astype(np.float32)
    assert np.array_equal(_median_of_five(values), median_filter(values, size=(5, 1)))
