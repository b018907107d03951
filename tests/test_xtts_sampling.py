"""Audio tokens are drawn as transformers draws them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_room.xtts.sampling import AudioSampler, AudioSampling, SamplingChanges

START = 64


def logits(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(66).astype(np.float32) * 3


def drawn(sampling: AudioSampling, seed: int, num: int = 30) -> list[int]:
    sampler = AudioSampler(sampling, seed, START)
    return [sampler.sample(logits()) for _ in range(num)]


def test_a_seed_gives_the_same_tokens_and_another_one_others() -> None:
    sampling = AudioSampling()
    assert drawn(sampling, 5) == drawn(sampling, 5)
    assert drawn(sampling, 5) != drawn(sampling, 6)


def test_a_temperature_of_zero_takes_the_likeliest_that_was_not_said() -> None:
    likeliest = np.argsort(-logits())
    assert drawn(AudioSampling(temperature=0, repetition_penalty=1), 1, 3) == [likeliest[0]] * 3
    first, second = drawn(AudioSampling(temperature=0, repetition_penalty=1000), 1, 2)
    assert (first, second) == tuple(likeliest[:2])


def test_only_the_top_k_are_drawn() -> None:
    likeliest = set(np.argsort(-logits())[:4])
    found = drawn(AudioSampling(temperature=5, top_k=4, top_p=1, repetition_penalty=1), 3, 400)
    assert set(found) == likeliest


def test_a_top_p_of_zero_and_the_least_of_temperatures_take_the_likeliest() -> None:
    for sampling in (AudioSampling(top_p=0), AudioSampling(temperature=1e-320)):
        assert drawn(sampling, 1) == drawn(AudioSampling(temperature=0), 1)


def test_what_a_request_changes_is_changed_and_the_rest_is_the_models() -> None:
    own = AudioSampling(0.65, 40, 0.8, 7.0)
    assert SamplingChanges().of(own) == own
    assert SamplingChanges(temperature=0, top_k=0).of(own) == AudioSampling(0, 0, 0.8, 7.0)
    assert SamplingChanges(top_p=1, repetition_penalty=1).of(own) == AudioSampling(0.65, 40, 1, 1)


@pytest.mark.parametrize("sampling", [AudioSampling(), AudioSampling(1.3, 20, 0.6, 2.0)])
def test_the_chances_are_those_of_transformers(sampling: AudioSampling) -> None:
    torch = pytest.importorskip("torch", reason="voice cloning is not installed")
    from transformers import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    likely = logits(4)
    likely[[1, START]] = likely.max()  # the two that count as said before there is any token
    scores = torch.from_numpy(likely)[None]
    said = torch.tensor([[1, START]])  # what the library's GPT is fed before the first token
    for process in (
        RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty),
        TemperatureLogitsWarper(sampling.temperature),
        TopKLogitsWarper(sampling.top_k),
        TopPLogitsWarper(sampling.top_p),
    ):
        scores = process(said, scores)
    chances = torch.softmax(scores, -1)[0].numpy()
    num = 20_000
    found = [AudioSampler(sampling, seed, START).sample(likely) for seed in range(num)]
    shares = np.bincount(found, minlength=66) / num
    assert set(np.flatnonzero(shares)) <= set(np.flatnonzero(chances))
    assert np.abs(shares - chances).max() < 0.015
