"""Latents become sound piece by piece as they would at once."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_room.xtts.vocoder import (
    CONTEXT_FRAMES,
    SAMPLES_PER_FRAME,
    Context,
    Stretch,
    VocoderStream,
)

Floats = NDArray[np.float32]
STRETCHES = (4.0, 24_000 / 22_050)
SPEAKER = np.ones(512, np.float32)


def network(frames: Floats, speaker: Floats, context: Context) -> Floats:
    """Each sample sees as many frames on both sides as the real network does, and silence beyond."""
    assert speaker is SPEAKER
    padded = np.pad(frames, ((CONTEXT_FRAMES, CONTEXT_FRAMES), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT_FRAMES + 1, axis=0)
    weights = np.cos(np.arange(windows.shape[1] * windows.shape[2])).reshape(windows.shape[1:])
    sums = (windows * weights).sum((1, 2)).astype(np.float32)
    return np.repeat(without(sums, context), SAMPLES_PER_FRAME)


def without(frames: Floats, context: Context) -> Floats:
    before, after = (CONTEXT_FRAMES if is_context else 0 for is_context in context)
    return frames[before : len(frames) - after]


def latents(num: int) -> Floats:
    return np.random.default_rng(num).standard_normal((num, 3)).astype(np.float32)


def streamed(all_latents: Floats, cuts: list[int], stretches: tuple[float, ...]) -> list[Floats]:
    stream = VocoderStream(network, SPEAKER, stretches)
    edges = [0, *cuts, len(all_latents)]
    return [
        stream.add(all_latents[begin:end], end == len(all_latents))()
        for begin, end in itertools.pairwise(edges)
    ]


@pytest.mark.parametrize("speed", [1.0, 0.5, 1.7, 4.0])
@pytest.mark.parametrize("cuts", [[10, 34], [1, 2, 3, 40], list(range(1, 57)), [7]])
def test_a_stream_of_any_cuts_is_the_sound_of_all_at_once(cuts: list[int], speed: float) -> None:
    stretches = STRETCHES if speed == 1 else (1 / speed, *STRETCHES)
    whole = streamed(latents(57), [], stretches)[0]
    parts = np.concatenate(streamed(latents(57), cuts, stretches))
    assert len(parts) == len(whole)
    assert np.abs(parts - whole).max() < 1e-5


def test_the_work_may_be_done_in_any_order() -> None:
    stream = VocoderStream(network, SPEAKER, STRETCHES)
    all_latents = latents(57)
    works = [stream.add(all_latents[i : i + 19], i == 38) for i in range(0, 57, 19)]
    sounds = [work() for work in reversed(works)]
    whole = streamed(all_latents, [], STRETCHES)[0]
    assert np.abs(np.concatenate(sounds[::-1]) - whole).max() < 1e-5


def test_the_first_ten_latents_already_give_a_third_of_a_second() -> None:
    first = streamed(latents(57), [10], STRETCHES)[0]
    assert 0.25 < len(first) / 24_000 < 10 * 0.0465


def test_speed_shortens_the_sound() -> None:
    normal, fast = (streamed(latents(57), [], (f, *STRETCHES))[0] for f in (1.0, 0.5))
    assert len(fast) / len(normal) == pytest.approx(0.5, abs=0.02)


def test_one_latent_alone_is_sound() -> None:
    assert len(streamed(latents(1), [], STRETCHES)[0]) == 4 * SAMPLES_PER_FRAME


def test_context_is_on_each_side_but_where_the_sentence_begins_or_ends() -> None:
    seen: list[Context] = []

    def watching(frames: Floats, speaker: Floats, context: Context) -> Floats:
        seen.append(context)
        return network(frames, speaker, context)

    for cuts in ([0, 19, 38, 57], [0, 1]):
        stream = VocoderStream(watching, SPEAKER, STRETCHES)
        for begin, end in itertools.pairwise(cuts):
            stream.add(latents(57)[begin:end], is_last=end == cuts[-1])()
    assert seen == [(False, True), (True, True), (True, False), (False, False)]


def test_a_long_stream_decodes_each_frame_about_once() -> None:
    seen = 0

    def counting(frames: Floats, speaker: Floats, context: Context) -> Floats:
        nonlocal seen
        seen += len(frames)
        return np.repeat(without(frames[:, 0], context), SAMPLES_PER_FRAME)

    stream = VocoderStream(counting, SPEAKER, STRETCHES)
    for number in range(24):
        stream.add(latents(24), number == 23)()
    assert seen < 1.35 * 24 * 24 * 4.36


@pytest.mark.parametrize("factor", [4.0, 24_000 / 22_050, 1 / 1.3, 2.0])
def test_a_stretch_is_torchs_linear_interpolation(factor: float) -> None:
    torch = pytest.importorskip("torch", reason="voice cloning is not installed")
    inputs = latents(601)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(inputs.T[None].copy()), scale_factor=[factor], mode="linear"
    )[0].numpy()
    stretch = Stretch(factor)
    num = stretch.num_all(601)
    assert num == wanted.shape[1]
    # The two round the last bit of a position differently.
    assert np.abs(stretch.outputs(inputs, 0, 0, num, 601) - wanted.T).max() < 5e-5
