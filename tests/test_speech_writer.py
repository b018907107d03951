"""A file of speech: silences as they are to be, voices equally loud, captions on time, streamed or whole."""

import numpy as np
import pytest

from engine_room.decoding import decode
from engine_room.encoding import Samples, Sound
from engine_room.loudness import lufs_of
from engine_room.speech_output import Output
from engine_room.speech_writer import SpeechWriter
from engine_room.spoken import Caption, SpokenBlock
from tests.test_loudness import babble

RATE_HZ = 24_000
WAV = Output("wav", RATE_HZ)


def block(samples: Samples, text: str = "") -> SpokenBlock:
    return SpokenBlock(Sound(samples, RATE_HZ), text, len(text), len(samples) // 300)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def loud(seconds: float, level: float = 0.2) -> Samples:
    sign = np.where(np.arange(round(seconds * RATE_HZ)) % 2, 1, -1)
    samples: Samples = (level * sign).astype(np.float32)
    return samples


def written(writer: SpeechWriter, *calls: tuple[bytes, Caption | None]) -> list[Caption]:
    """The captions of calls to `add` and `end`."""
    return [caption for _, caption in calls if caption]


@pytest.mark.parametrize("stream", [False, True])
def test_the_silence_at_the_end_is_cut_and_that_within_is_kept(stream: bool) -> None:
    writer = SpeechWriter(WAV, RATE_HZ, stream, -22)
    writer.begin("nova", -22)
    writer.add(block(np.concatenate([loud(0.1), silence(0.5)])))
    writer.add(block(np.concatenate([silence(0.5), loud(0.1)])))
    writer.add(block(silence(3)))
    writer.end(0)
    writer.finish()
    samples = decode(writer.file, RATE_HZ).samples
    assert len(samples) / RATE_HZ == pytest.approx(0.1 + 1 + 0.1 + 0.15, abs=0.001)
    assert writer.spoken.duration_s == pytest.approx(len(samples) / RATE_HZ)


@pytest.mark.parametrize("stream", [False, True])
def test_a_pause_is_as_long_as_asked_for(stream: bool) -> None:
    writer = SpeechWriter(WAV, RATE_HZ, stream, -22)
    writer.begin("nova", -22)
    writer.add(block(np.concatenate([loud(0.1), silence(0.7)])))
    writer.end(1.5)
    writer.begin("nova", -22)
    writer.add(block(loud(0.1)))
    writer.end(0)
    writer.finish()
    heard = np.flatnonzero(np.abs(decode(writer.file, RATE_HZ).samples) > 0.01)
    assert np.diff(heard).max() / RATE_HZ == pytest.approx(1.5, abs=0.001)
    assert len(heard) == 2 * 2400


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_stream_and_a_whole_file_hold_the_same_sound(name: str) -> None:
    files = []
    for stream in (False, True):
        writer = SpeechWriter(Output(name, RATE_HZ), RATE_HZ, stream, -22)
        writer.begin("nova", -22)
        sent = [writer.add(block(part))[0] for part in np.split(babble(2), [9000, 20_000])]
        sent += [writer.end(0)[0], writer.finish()]
        assert b"".join(sent) if stream else not any(sent[:-1])
        files.append(decode(writer.file, RATE_HZ).samples)
    assert len(files[0]) == len(files[1])
    assert np.abs(files[0] - files[1]).max() < 0.001


def test_voices_come_out_equally_loud_each_by_all_that_it_says() -> None:
    writer = SpeechWriter(WAV, RATE_HZ, False, -20)
    quiet, strong = babble(3, 0.05), babble(3, 0.3, seed=2)
    for voice, samples in (("a", quiet), ("b", strong), ("a", quiet), ("b", strong)):
        writer.begin(voice, None)
        writer.add(block(np.concatenate([samples, loud(0.01, 0.01)])))
        writer.end(0)
    writer.finish()
    samples = decode(writer.file, RATE_HZ).samples
    for quarter in np.array_split(samples, 4):
        assert lufs_of(quarter, RATE_HZ) == pytest.approx(-20, abs=1)


def test_captions_say_when_each_piece_is_heard() -> None:
    writer = SpeechWriter(WAV, RATE_HZ, True, -22)
    writer.begin("nova", -22)
    captions = written(
        writer,
        writer.add(block(np.concatenate([loud(0.5), silence(0.25)]), "One.")),
        writer.add(block(loud(0.5), "Two.")),
        writer.add(block(loud(0.5))),
        writer.end(1),
    )
    writer.begin("onyx", -22)
    captions += written(writer, writer.add(block(loud(0.25), "Three.")), writer.end(0))
    assert captions == [
        Caption("One.", 0, 0.5),
        Caption("Two.", 0.75, 1.75),
        Caption("Three.", 2.75, 3.0),
    ]


def test_tokens_are_added_up() -> None:
    writer = SpeechWriter(WAV, RATE_HZ, False, -22)
    writer.begin("nova", -22)
    for text in ("One.", "Three."):
        writer.add(block(loud(0.5), text))
    writer.end(0)
    writer.finish()
    assert (writer.spoken.num_text_tokens, writer.spoken.num_audio_tokens) == (10, 80)
