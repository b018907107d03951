"""A clip is worth what is said of it, and made ready it is clean, even and short enough."""

import io
import os
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engine_room.clips import (
    MAX_CLIP_S,
    check_usable,
    checked,
    checked_file,
    clean_path,
    cleaned,
    decoded,
    is_voice,
    mark_kept,
    of_voice,
    prepared,
    references,
)
from engine_room.encoding import FORMATS, Samples, Sound, encode
from engine_room.errors import InvalidAudio

RATE_HZ = 24_000


def speech(duration_s: float, level: float = 0.3) -> Samples:
    """Something like speech: a buzz of four syllables a second, with a pause after every eighth."""
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 150 * n * times_s) / n for n in range(1, 12)) / 2
    syllables = np.clip(np.sin(2 * np.pi * 4 * times_s), 0, 1) ** 0.5 * ((times_s % 2.5) < 2)
    return np.asarray(buzz * syllables * level, np.float32)


def silence(duration_s: float) -> Samples:
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def codes(*parts: Samples) -> list[str]:
    """What is found in a sound of these parts, as a clip and as a voice of one clip."""
    findings = checked(Sound(np.concatenate(parts), RATE_HZ))
    return [finding.code for finding in (*findings.found, *of_voice([findings]))]


def wav(samples: Samples, rate_hz: int = RATE_HZ, num_channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((num_channels, 2, rate_hz, 0, "NONE", ""))
        writer.writeframes((samples * 32_767).astype("<i2").repeat(num_channels).tobytes())
    return file.getvalue()


def kept(folder: Path, data: bytes, name: str = "clip.wav") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def refusal(path: Path) -> str:
    with pytest.raises(InvalidAudio) as caught:
        check_usable([path.name], [checked(decoded(path))])
    assert caught.value.param == "audio_sample"
    return caught.value.message


# ---------------------------------------------------------------- what a clip is worth


def test_a_good_clip_has_nothing_against_it() -> None:
    findings = checked(Sound(np.concatenate([silence(2), speech(10), silence(1)]), RATE_HZ))
    assert findings.found == ()
    assert findings.duration_s == 13
    assert findings.speech_s == pytest.approx(9, abs=1)
    assert of_voice([findings]) == ()


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (0.2, ["too_short"]),
        (2, ["too_short"]),
        (4, ["short"]),
        (10, []),
        (40, ["more_than_needed"]),
    ],
)
def test_six_to_thirty_seconds_of_speech_are_best_and_three_are_needed(
    duration_s: float, expected: list[str]
) -> None:
    assert codes(speech(duration_s)) == expected


def test_only_speech_counts_not_the_silence_around_it() -> None:
    assert codes(silence(20), speech(1), silence(20)) == ["too_short"]


def test_silence_and_a_constant_are_problems_each_with_its_reason() -> None:
    for samples, reason in (
        (silence(10), "only silence"),
        (silence(10) + np.float32(0.4), "constant"),
        (silence(10)[:0], "only silence"),
        (speech(10, 0.0001), "only silence"),
    ):
        findings = checked(Sound(samples, RATE_HZ))
        assert [finding.kind for finding in findings.found] == ["problem"]
        assert reason in findings.found[0].message
        assert findings.speech_s == 0


def test_clipping_noise_and_uneven_loudness_are_warned_of() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 10 * RATE_HZ).astype(np.float32)
    assert codes(np.clip(speech(10) * 5, -1, 1)) == ["clipping"]
    assert codes(speech(10) + noise) == ["noise"]
    assert codes(speech(9), speech(9, 0.05)) == ["levels"]
    assert codes(speech(9), speech(9, 0.2)) == []
    assert codes(speech(10) + np.float32(0.3)) == []


def test_a_faint_recording_is_none_the_worse() -> None:
    assert codes(speech(10, 0.01)) == []


def test_clips_of_one_voice_are_compared_and_add_up() -> None:
    near, far = (checked(Sound(speech(4, level), RATE_HZ)) for level in (0.4, 0.05))
    assert [finding.code for finding in of_voice([near, near])] == []
    assert [finding.code for finding in of_voice([near, far])] == ["levels"]
    short = checked(Sound(speech(0.5), RATE_HZ))
    with pytest.raises(InvalidAudio, match=r"'b\.wav': there are only 0\.\d s"):
        check_usable(["a.wav", "b.wav"], [near, short])
    check_usable(["a.wav", "b.wav"], [near, far])


# ---------------------------------------------------------------- made ready


def test_a_clip_made_ready_is_trimmed_even_and_without_an_offset() -> None:
    rough = np.concatenate([silence(2), speech(8, 0.02), silence(3)]) + np.float32(0.1)
    ready = cleaned(Sound(rough, RATE_HZ))
    assert ready.rate_hz == RATE_HZ
    assert ready.duration_s == pytest.approx(8, abs=1)
    assert abs(float(ready.samples.mean())) < 0.001
    level_db = 20 * np.log10(np.sqrt(np.mean(ready.samples**2)))
    assert level_db == pytest.approx(-20, abs=2)
    assert np.abs(ready.samples).max() <= 0.9


@pytest.mark.parametrize("level", [0.003, 0.3, 3])
def test_every_loudness_becomes_the_same(level: float) -> None:
    ready = cleaned(Sound(np.clip(speech(5, level), -1, 1), RATE_HZ))
    assert 20 * np.log10(np.sqrt(np.mean(ready.samples**2))) == pytest.approx(-20, abs=2)


def test_silence_cannot_be_made_ready() -> None:
    with pytest.raises(InvalidAudio, match="only silence"):
        cleaned(Sound(silence(3), RATE_HZ))


@pytest.mark.parametrize("form", [name for name in FORMATS if name != "pcm"])
def test_clips_of_every_format_are_prepared(tmp_path: Path, form: str) -> None:
    path = kept(tmp_path, encode(Sound(speech(5), RATE_HZ), form), "clip.bin")
    assert prepared(path).duration_s == pytest.approx(5, abs=0.7)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.bin"]


def test_the_sound_of_a_video_is_prepared(tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as film:
        pictures = film.add_stream("mpeg4", rate=5)
        pictures.width = pictures.height = 32
        sound = film.add_stream("aac", rate=RATE_HZ, layout="mono")
        for _ in range(25):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            film.mux(pictures.encode(picture))
        frame = av.AudioFrame.from_ndarray(speech(5)[np.newaxis], format="flt", layout="mono")
        frame.rate = RATE_HZ
        film.mux([*sound.encode(frame), *sound.encode(None), *pictures.encode(None)])
    assert prepared(path).duration_s == pytest.approx(5, abs=0.7)


def test_a_kept_clean_clip_is_used_while_its_recording_is_the_one_it_was_made_of(
    tmp_path: Path,
) -> None:
    path = kept(tmp_path, wav(speech(8)))
    clean = clean_path(path)
    assert clean.name == "clip.wav.clean.wav"
    clean.write_bytes(wav(speech(4)))
    mark_kept(path)
    assert prepared(path).duration_s == 4
    for moved_in in (1, 2_000_000_000):  # a file that is moved keeps its time, which may be older
        os.utime(path, (moved_in, moved_in))
        assert prepared(path).duration_s == pytest.approx(8, abs=0.7)


def test_a_clean_clip_that_is_a_link_or_a_folder_is_left_alone(tmp_path: Path) -> None:
    path = kept(tmp_path, wav(speech(8)))
    clean_path(path).symlink_to(kept(tmp_path, wav(speech(4)), "other.wav"))
    mark_kept(path)
    assert prepared(path).duration_s == pytest.approx(8, abs=0.7)
    clean_path(path).unlink()
    clean_path(path).mkdir()
    mark_kept(path)
    assert prepared(path).duration_s == pytest.approx(8, abs=0.7)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
@pytest.mark.timeout(20)
def test_a_clean_clip_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = kept(tmp_path, wav(speech(8)))
    os.mkfifo(clean_path(path))
    mark_kept(path)
    assert prepared(path).duration_s == pytest.approx(8, abs=0.7)


def test_a_voice_is_learnt_from_the_first_half_minute_of_each_clip(tmp_path: Path) -> None:
    paths = [kept(tmp_path, wav(speech(s)), f"{s}.wav") for s in (40, 5)]
    long, short = references(paths)
    assert long.duration_s == 30
    assert short.duration_s == pytest.approx(5, abs=0.7)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (wav(speech(0.2)), "only 0.2 s of speech; a voice needs 3"),
        (wav(speech(0.02)), "only 0.0 s"),
        (wav(silence(9)), "only silence"),
        (b"", "empty"),
        (b"PK", "not audio"),
    ],
)
def test_what_was_dropped_in_and_is_no_voice_is_said_of_the_voice(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    with pytest.raises(InvalidAudio, match=reason) as caught:
        references([kept(tmp_path, data)])
    assert caught.value.param == "voice"
    assert "'clip.wav'" in caught.value.message


def test_clips_are_a_voice_when_all_are_heard_and_there_is_a_second_of_speech() -> None:
    long, short, none = (
        checked(Sound(samples, RATE_HZ)) for samples in (speech(4), speech(0.2), silence(4))
    )
    assert is_voice([long, short])
    assert not is_voice([short])
    assert not is_voice([long, none])
    assert not is_voice([])


def test_a_file_is_looked_at_again_when_it_changed(tmp_path: Path) -> None:
    path = kept(tmp_path, wav(speech(8)))
    assert checked_file(path).duration_s == 8
    assert checked_file(path) is checked_file(path)
    path.write_bytes(wav(speech(9)))
    assert checked_file(path).duration_s == 9


# ---------------------------------------------------------------- bad and odd files


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "hello" * 1000)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (wav(speech(0.2)), "only 0.2 s"),
        (wav(silence(10)), "only silence"),
        (wav(silence(10) + np.float32(0.5)), "constant"),
        (zipped(), "not audio"),
        (b"RIFF", "not audio"),
        (wav(silence(0)), "no sound"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not audio"),
    ],
)
def test_what_cannot_be_a_voice_is_refused_with_the_reason_and_the_files_name(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    message = refusal(kept(tmp_path, data))
    assert reason in message
    assert "clip.wav" in message or "speech" in message


def test_a_file_that_is_gone_or_a_folder_is_refused_too(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.wav", tmp_path):
        with pytest.raises(InvalidAudio, match="cannot be read"):
            decoded(path)


def test_a_truncated_mp3_is_what_came_before(tmp_path: Path) -> None:
    whole = encode(Sound(speech(10), RATE_HZ), "mp3")
    assert checked(decoded(kept(tmp_path, whole[: len(whole) // 2]))).duration_s == pytest.approx(
        5, abs=0.2
    )


def test_eight_channels_at_192_khz_are_one_at_24(tmp_path: Path) -> None:
    samples = np.repeat(speech(4, 0.1), 8)
    sound = decoded(kept(tmp_path, wav(samples, 192_000, num_channels=8)))
    assert sound.rate_hz == RATE_HZ
    assert sound.duration_s == pytest.approx(4, abs=0.01)
    assert checked(sound).found == ()


def test_of_a_long_recording_only_the_first_minutes_are_decoded_and_that_is_said(
    tmp_path: Path,
) -> None:
    path = kept(tmp_path, wav(np.tile(speech(10)[::3], 360), 8000))
    sound = decoded(path)
    assert sound.duration_s == MAX_CLIP_S + 1
    assert "long" in [finding.code for finding in checked(sound).found]
    assert cleaned(sound).duration_s <= MAX_CLIP_S
