"""Windows of frames become what the library's network makes of all of them."""

from typing import Any

import pytest

from engine_room.xtts.vocoder import CONTEXT_FRAMES, SAMPLES_PER_FRAME

pytest.importorskip("TTS", reason="voice cloning is not installed")
pytestmark = [
    pytest.mark.slow,
    # What torch says of the library's older ways is not about us.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
NUM_FRAMES, NUM_CHANNELS = 60, 16


@pytest.fixture(scope="module")
def generator() -> Any:
    """The library's network as it is in XTTS, with random weights."""
    import torch
    from TTS.tts.layers.xtts.hifigan_decoder import HifiDecoder

    torch.manual_seed(1)
    decoder = HifiDecoder(decoder_input_dim=NUM_CHANNELS, d_vector_dim=512)
    return decoder.waveform_decoder.eval().requires_grad_(False)


def inputs() -> tuple[Any, Any]:
    import torch

    torch.manual_seed(2)
    return torch.randn(1, NUM_CHANNELS, NUM_FRAMES), torch.randn(1, 512, 1)


@pytest.mark.parametrize(
    ("begin", "end"), [(0, 60), (0, 1), (0, 20), (13, 14), (20, 40), (47, 60), (59, 60)]
)
def test_a_window_is_that_part_of_the_whole(generator: Any, begin: int, end: int) -> None:
    import torch

    from engine_room.xtts.vocoder_torch import WindowedVocoder

    frames, speaker = inputs()
    before, after = begin > 0, end < NUM_FRAMES
    window = frames[:, :, begin - before * CONTEXT_FRAMES : end + after * CONTEXT_FRAMES]
    sound = WindowedVocoder(generator)(window, speaker, torch.tensor([before, after]).long())
    wanted = generator(frames, g=speaker).flatten()
    wanted = wanted[begin * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
    assert sound.shape == wanted.shape
    assert (sound - wanted).abs().max() < 1e-6


def test_each_frames_sound_depends_on_as_many_frames_as_are_its_context_and_on_no_more(
    generator: Any,
) -> None:
    import copy

    from engine_room.xtts.vocoder_torch import WindowedVocoder

    frames, speaker = (each.double().requires_grad_() for each in inputs())
    sound = copy.deepcopy(generator).double()(frames, g=speaker).reshape(-1, SAMPLES_PER_FRAME)
    sound[30].sum().backward()
    (seen,) = frames.grad[0].abs().sum(0).nonzero(as_tuple=True)
    assert (seen.min(), seen.max()) == (30 - CONTEXT_FRAMES, 30 + CONTEXT_FRAMES)
    assert WindowedVocoder(generator).num_context_frames == CONTEXT_FRAMES
