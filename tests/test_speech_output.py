"""Each format has the sample rates and bit rates that it has; anything else is refused by name."""

import io

import av
import numpy as np
import pytest

from engine_room.decoding import decode
from engine_room.encoding import FORMATS, Sound, with_true_sizes
from engine_room.errors import InvalidRequest
from engine_room.speech_output import checked_output

RATE_HZ = 24_000
TONE = (0.5 * np.sin(np.arange(RATE_HZ) * 2 * np.pi * 440 / RATE_HZ)).astype(np.float32)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_a_tone_has_the_asked_for_rate_in_every_format(name: str, rate_hz: int) -> None:
    output = checked_output(name, rate_hz, None)
    encoder = output.encoder(RATE_HZ)
    streamed = b"".join(map(encoder.add, np.split(TONE, [1, 7000]))) + encoder.finish()
    for data in (output.encode(Sound(TONE, RATE_HZ)), with_true_sizes(name, streamed)):
        if name == "pcm":
            samples = (np.frombuffer(data, "<i2") / 32_768).astype(np.float32)
            assert output.media_type == f"audio/pcm;rate={rate_hz};channels=1"
        else:
            samples = decode(data, rate_hz).samples
            with av.open(io.BytesIO(data)) as container:
                found_hz = container.streams.audio[0].rate
            assert found_hz == (
                48_000 if name == "opus" else rate_hz
            )  # all opus is played at 48 kHz
        assert len(samples) / rate_hz == pytest.approx(1, abs=0.25)
        loudest = np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples)
        assert loudest == pytest.approx(440, abs=4)


@pytest.mark.parametrize("name", ["mp3", "aac", "opus"])
def test_more_bits_make_a_larger_file(name: str) -> None:
    rng = np.random.default_rng(1)
    noise = Sound(rng.uniform(-0.3, 0.3, RATE_HZ).astype(np.float32), RATE_HZ)
    small, large = (
        len(checked_output(name, RATE_HZ, bits).encode(noise)) for bits in (24_000, 128_000)
    )
    assert large > 2.5 * small


def test_what_a_format_has_not_is_refused_with_what_it_has() -> None:
    with pytest.raises(InvalidRequest, match=r"44100.*8000, 12000, 16000, 24000, 48000") as caught:
        checked_output("opus", 44_100, None)
    assert caught.value.param == "sample_rate"
    with pytest.raises(InvalidRequest, match="8000 to 96000"):
        checked_output("wav", 0, None)
    with pytest.raises(InvalidRequest, match=r"wav has no bitrate.*mp3, opus, aac"):
        checked_output("wav", 24_000, 96_000)
    with pytest.raises(InvalidRequest, match=r"bitrate 96 .*mp3 has 8000 to 320000"):
        checked_output("mp3", 24_000, 96)
    with pytest.raises(InvalidRequest, match=r"mp4.*mp3"):
        checked_output("mp4", 24_000, None)
