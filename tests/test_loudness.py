"""Loudness is what the standard says, and every voice comes out as loud as asked."""

import numpy as np
import pyloudnorm
import pytest

from engine_room.loudness import ASSUMED_LUFS, CEILING, Floats, Leveller, limited, lufs_of

RATE_HZ = 24_000


def babble(seconds: float, level: float = 0.1, seed: int = 1) -> Floats:
    """Noise with syllables and pauses, as speech has them."""
    rng = np.random.default_rng(seed)
    syllables = np.repeat(rng.uniform(0, 1, round(seconds * 5)) ** 2, RATE_HZ // 5)
    noise = np.convolve(rng.standard_normal(len(syllables)), np.ones(8) / 8, "same")
    samples: Floats = (4 * noise * syllables * level).astype(np.float32)
    return samples


@pytest.mark.parametrize("level", [0.01, 0.1, 0.5])
def test_loudness_is_that_of_the_standard(level: float) -> None:
    samples = babble(8, level)
    expected = pyloudnorm.Meter(RATE_HZ).integrated_loudness(samples.astype(np.float64))
    assert lufs_of(samples, RATE_HZ) == pytest.approx(expected, abs=0.1)


def test_silence_and_a_moment_have_no_loudness() -> None:
    assert lufs_of(np.zeros(RATE_HZ, np.float32), RATE_HZ) is None
    assert lufs_of(babble(1)[:1000], RATE_HZ) is None


@pytest.mark.parametrize("target", [-30.0, -26.0, -22.0])
def test_a_voice_whose_loudness_is_known_is_brought_to_the_target_at_once(target: float) -> None:
    samples = babble(4, 0.04)
    levelled = Leveller(RATE_HZ, target, lufs_of(samples, RATE_HZ)).add(samples)
    assert lufs_of(levelled, RATE_HZ) == pytest.approx(target, abs=0.5)
    heard = (np.abs(samples) > 1e-3) & (np.abs(levelled) < 0.7)
    assert np.ptp(levelled[heard] / samples[heard]) < 0.01  # one gain, but where it is limited


def test_a_voice_that_has_the_target_already_is_left_as_it_is() -> None:
    samples = babble(1)
    assert np.array_equal(Leveller(RATE_HZ, -22, -22).add(samples), samples)


@pytest.mark.parametrize("level", [0.03, 0.06, 0.2])
def test_a_stream_comes_near_the_target_within_seconds(level: float) -> None:
    samples = babble(20, level)
    levelled = Leveller(RATE_HZ, ASSUMED_LUFS).add(samples)
    late = slice(8 * RATE_HZ, None)
    before, after = lufs_of(samples[late], RATE_HZ), lufs_of(levelled[late], RATE_HZ)
    assert before is not None
    assert after is not None
    assert abs(after - ASSUMED_LUFS) < 1.5
    assert abs(after - ASSUMED_LUFS) < abs(before - ASSUMED_LUFS) / 3 + 0.5


def test_a_stream_is_levelled_the_same_however_it_is_cut() -> None:
    samples = babble(3, 0.4)
    whole = Leveller(RATE_HZ, -22).add(samples)
    leveller = Leveller(RATE_HZ, -22)
    cuts = [leveller.add(part) for part in np.split(samples, [1, 777, 2400, 2401, 30_000])]
    assert np.array_equal(np.concatenate(cuts), whole)


def test_the_gain_has_no_steps() -> None:
    flat = np.full(3 * RATE_HZ, 0.01, np.float32)
    tone = flat * np.sin(np.arange(len(flat), dtype=np.float32) * 0.3)
    gain = Leveller(RATE_HZ, -22).add(tone)[5:] / tone[5:]
    gain = gain[np.abs(tone[5:]) > 0.005]
    assert np.abs(np.diff(gain)).max() < 0.001
    assert gain[-1] > 1.5 * gain[0]


def test_no_sample_clips_and_quiet_ones_stay() -> None:
    samples = np.array([-9, -1, -0.7, -0.3, 0, 0.3, 0.7, 1, 9], np.float32)
    within = limited(samples)
    assert np.abs(within).max() <= CEILING
    assert np.array_equal(within[2:7], samples[2:7])
    assert (np.diff(within) > 0).all()
    loud = Leveller(RATE_HZ, -10, -22).add(babble(2, 0.4))
    assert np.abs(loud).max() <= CEILING
