"""Sound survives every format, whole and streamed; what is no sound is refused."""

import io
import os
import socket
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from engine_room.decoding import decode
from engine_room.encoding import FORMATS, Encoder, Samples, Sound, as_int16, encode, with_true_sizes
from engine_room.errors import InvalidAudio

RATE_HZ = 24_000
# The codec works in frames of so many samples, and may pad by two of them.
FRAME_SAMPLES = {"mp3": 1152, "aac": 1024, "opus": 480, "flac": 0, "wav": 0}
every_format = pytest.mark.parametrize("name", FORMATS)
every_container = pytest.mark.parametrize("name", FRAME_SAMPLES)


def tone(duration_s: float = 1.0, hz: float = 440) -> Samples:
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * hz * times_s)).astype(np.float32)


def streamed(name: str, samples: Samples, *cuts: int) -> bytes:
    encoder = Encoder(name, RATE_HZ)
    return b"".join(map(encoder.add, np.split(samples, cuts))) + encoder.finish()


def loudest_hz(samples: Samples, rate_hz: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples))


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidAudio) as caught:
        decode(data, 16_000)
    return caught.value.message


@every_container
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_tone_comes_back_from_every_format(name: str, way: str) -> None:
    samples = tone()
    data = (
        encode(Sound(samples, RATE_HZ), name)
        if way == "whole"
        else streamed(name, samples, 1000, 9000)
    )
    sound = decode(data, RATE_HZ)
    extra = len(sound.samples) - len(samples)
    assert 0 <= extra <= 2 * FRAME_SAMPLES[name] + 1
    assert loudest_hz(sound.samples, RATE_HZ) == pytest.approx(440, abs=2)
    assert np.abs(sound.samples).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", ["wav", "flac", "pcm"])
def test_lossless_formats_give_back_the_same_samples_however_they_are_cut(name: str) -> None:
    samples = tone()
    for data in (encode(Sound(samples, RATE_HZ), name), streamed(name, samples, 1, 7000, 7001)):
        if name == "pcm":
            back = np.frombuffer(data, "<i2")
        else:
            back = (decode(data, RATE_HZ).samples * 32_768).astype(np.int16)
        assert np.array_equal(back, as_int16(samples))


@every_format
def test_pieces_of_any_size_make_the_same_file_as_one_piece(name: str) -> None:
    samples = tone()
    one = streamed(name, samples)
    cuts = streamed(name, samples, *range(777, len(samples), 777))
    if name == "opus":  # an Ogg stream has a random serial number
        assert np.array_equal(decode(one, RATE_HZ).samples, decode(cuts, RATE_HZ).samples)
    else:
        assert one == cuts


@pytest.mark.parametrize("name", ["mp3", "aac", "opus"])
def test_joined_pieces_have_no_gap(name: str) -> None:
    samples = tone()
    back = decode(streamed(name, samples, 8000, 16_000), RATE_HZ).samples
    level = np.abs(back[4000:20_000]).reshape(-1, 100).max(axis=1)
    assert level.min() > 0.4


@every_format
def test_a_short_first_sentence_can_be_heard_before_the_next_is_made(name: str) -> None:
    encoder = Encoder(name, RATE_HZ)
    begun = encoder.add(tone(1.5))
    assert len(begun) > 4 * len(encoder.finish())
    if name != "pcm":
        assert decode(begun, RATE_HZ).duration_s > 1.2


@every_format
def test_an_empty_block_changes_nothing(name: str) -> None:
    samples = tone(0.2)
    encoder = Encoder(name, RATE_HZ)
    nothing = encoder.add(samples[:0])
    data = nothing + encoder.add(samples) + encoder.add(samples[:0]) + encoder.finish()
    assert len(data) == len(streamed(name, samples))


def test_a_streamed_wav_begins_with_a_whole_44_byte_header_of_unknown_size() -> None:
    encoder = Encoder("wav", RATE_HZ)
    first = encoder.add(tone(0.01))
    assert first[:44] == (
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0"
        b"\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data\xdb\xff\xff\xff"
    )
    assert len(first) == 44 + 480


def test_a_whole_wav_has_44_bytes_of_header_and_says_its_true_size() -> None:
    data = encode(Sound(tone(0.01), RATE_HZ), "wav")
    assert len(data) == 44 + 480
    assert data[4:8] == (480 + 36).to_bytes(4, "little")
    assert data[40:44] == (480).to_bytes(4, "little")
    assert with_true_sizes("wav", streamed("wav", tone(0.01))) == data


def test_only_a_wav_is_changed_when_sizes_are_filled_in() -> None:
    assert with_true_sizes("mp3", b"RIFF and so on") == b"RIFF and so on"


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_two_mp3_answers_joined_last_twice_as_long(way: str) -> None:
    samples = tone()
    data = encode(Sound(samples, RATE_HZ), "mp3") if way == "whole" else streamed("mp3", samples)
    assert data[:2] == b"\xff\xf3"  # a frame at once: no tag before it
    once = decode(data, RATE_HZ)
    twice = decode(data + data, RATE_HZ)
    assert len(twice.samples) == 2 * len(once.samples)


def test_samples_out_of_range_are_held_at_its_ends() -> None:
    loud = np.array([-9, -1, 0, 1, 9], np.float32)
    assert as_int16(loud).tolist() == [-32_767, -32_767, 0, 32_767, 32_767]


def test_an_upload_comes_at_the_rate_that_is_asked_for_and_as_mono() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=44_100, layout="stereo")
        both = np.stack([np.full(44_100, 8000), np.zeros(44_100)]).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(both.T.reshape(1, -1), format="s16", layout="stereo")
        frame.rate = 44_100
        container.mux(stream.encode(frame))
    sound = decode(file.getvalue(), 16_000)
    assert sound.rate_hz == 16_000
    assert sound.duration_s == pytest.approx(1, abs=0.01)
    assert np.median(sound.samples) == pytest.approx(8000 / 32_768 / 2, rel=0.5)


@pytest.mark.parametrize("container", ["webm", "mp4", "ogg", "matroska", "mov", "mpegts", "adts"])
def test_what_browsers_and_telephones_record_is_read_whatever_it_is_called(container: str) -> None:
    codec = "libopus" if container in ("webm", "ogg", "matroska") else "aac"
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        stream = target.add_stream(codec, rate=48_000, layout="mono")
        sound = np.repeat(tone(), 2)
        frame = av.AudioFrame.from_ndarray(as_int16(sound)[np.newaxis], "s16", "mono")
        frame.rate = 48_000
        frame.pts = 0
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    back = decode(file.getvalue(), 16_000)
    assert back.duration_s == pytest.approx(1, abs=0.1)
    assert loudest_hz(back.samples, 16_000) == pytest.approx(440, abs=5)


def test_a_file_that_breaks_off_gives_what_came_before() -> None:
    wav = encode(Sound(tone(), RATE_HZ), "wav")
    assert decode(wav[: 44 + 24_000], RATE_HZ).duration_s == 0.5
    mp3 = encode(Sound(tone(), RATE_HZ), "mp3")
    assert decode(mp3[: len(mp3) // 2], RATE_HZ).duration_s == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", ["mp3", "aac"])
def test_damage_in_the_middle_costs_only_what_it_hit(name: str) -> None:
    data = bytearray(encode(Sound(tone(4), RATE_HZ), name))
    middle = len(data) // 2
    data[middle : middle + 300] = np.random.default_rng(1).bytes(300)
    assert decode(bytes(data), RATE_HZ).duration_s > 3


def test_an_empty_upload_is_said_to_be_empty() -> None:
    assert refusal(b"") == "The uploaded file is empty."


def test_an_upload_of_more_than_three_hours_is_refused_before_it_fills_the_memory() -> None:
    num_seconds = 3 * 60 * 60 + 1
    slow = b"RIFF\0\0\0\x7fWAVEfmt \x10\0\0\0\1\0\1\0\x64\0\0\0\xc8\0\0\0\2\0\x10\0data\0\0\0\x7f"
    assert "longer than 180 minutes" in refusal(slow + bytes(2 * 100 * num_seconds))


def test_a_header_without_sound_has_no_sound_in_it() -> None:
    wav = encode(Sound(tone(), RATE_HZ), "wav")
    assert refusal(wav[:44]) == "The uploaded file has no sound in it."


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("speech.wav", encode(Sound(tone(), RATE_HZ), "wav"))
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"hello world\n" * 100,
        bytes(100_000),
        zipped(),
        b'{"a": 1}',
        b"<html><body>404</body></html>",
        b"%PDF-1.4\n" + b"x" * 1000,
        b"1\n00:00:00,000 --> 00:00:02,000\nHi\n",
        encode(Sound(tone(), RATE_HZ), "wav")[:20],
        encode(Sound(tone(), RATE_HZ), "mp3")[:20],
    ],
    ids=["byte", "text", "zeros", "zip", "json", "html", "pdf", "srt", "wav stub", "mp3 stub"],
)
def test_what_is_no_sound_is_refused_with_the_formats_there_are(data: bytes) -> None:
    assert refusal(data) == (
        "The uploaded file is not audio that can be decoded; send wav, mp3, flac, m4a, mp4, ogg, "
        "opus, webm or aac."
    )


def test_random_bytes_never_crash_the_decoder() -> None:
    random = np.random.default_rng(7)
    for size in (10, 1000, 50_000):
        refusal(random.bytes(size))


@every_container
def test_damaged_files_give_sound_or_are_refused_but_never_crash(name: str) -> None:
    random = np.random.default_rng(7)
    whole = encode(Sound(tone(0.3), RATE_HZ), name)
    for _ in range(60):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 12):
            data[at] = random.integers(0, 256)
        try:
            sound = decode(bytes(data), 16_000)
        except InvalidAudio:
            continue
        assert sound.samples.dtype == np.float32
        assert len(sound.samples) > 0


def test_a_picture_has_no_audio_in_it() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refusal(file.getvalue()) == "The uploaded file has no audio in it."


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile secret.wav\n",
        "ffconcat version 1.0\nfile '{folder}/secret.wav'\n",
        "ffconcat version 1.0\nfile 'file:{folder}/secret.wav'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nsecret.aac\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile://{folder}/secret.aac\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1">'
        "<BaseURL>file://{folder}/secret.wav</BaseURL>"
        "</Representation></AdaptationSet></Period></MPD>",
    ],
)
def test_an_upload_never_leads_to_a_local_file(
    playlist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.wav").write_bytes(encode(Sound(tone(), RATE_HZ), "wav"))
    (tmp_path / "secret.aac").write_bytes(encode(Sound(tone(), RATE_HZ), "aac"))
    monkeypatch.chdir(tmp_path)
    assert "not audio" in refusal(playlist.format(folder=os.fspath(tmp_path)).encode())


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile 'http://{address}/a.mp3'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n",
    ],
)
def test_an_upload_never_calls_an_address(playlist: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert "not audio" in refusal(playlist.format(address=address).encode())
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_an_upload_never_makes_the_server_listen() -> None:
    session = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
    )
    # FFmpeg would open this port; held by us it could not, and would fail in another way.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1
    with pytest.raises(InvalidAudio) as caught:
        decode(session.format(port=port).encode(), 16_000)
    assert isinstance(caught.value.__cause__, av.error.ArgumentError)  # refused by its format


def test_a_sound_knows_how_long_it_is() -> None:
    assert Sound(tone(0.5), RATE_HZ).duration_s == 0.5


@pytest.mark.parametrize("rate_hz", [1, 99, 768_001, 1_358_978_496])
def test_a_file_that_says_an_absurd_sample_rate_is_refused_at_once(rate_hz: int) -> None:
    data = bytearray(encode(Sound(tone(3), RATE_HZ), "wav"))
    data[24:28] = rate_hz.to_bytes(4, "little")
    assert f"{rate_hz:,} samples a second" in refusal(bytes(data))


@pytest.mark.parametrize("rate_hz", [4000, 8000, 192_000, 768_000])
def test_rates_of_telephones_and_studios_are_fine(rate_hz: int) -> None:
    data = bytearray(encode(Sound(tone(3), RATE_HZ), "wav"))
    data[24:28] = rate_hz.to_bytes(4, "little")
    assert decode(bytes(data), 16_000).duration_s == pytest.approx(3 * RATE_HZ / rate_hz, abs=0.01)


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.by_pydub])
def test_a_disk_that_is_full_is_no_hindrance(name: str, caplog: pytest.LogCaptureFixture) -> None:
    resource = pytest.importorskip("resource", reason="limits what a process may write")
    sound = Sound(tone(2), RATE_HZ)
    usual = encode(sound, name)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        made = encode(sound, name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ("without pydub" in caplog.text) is (name != "wav")
    heard, expected = decode(made, RATE_HZ), decode(usual, RATE_HZ)
    assert heard.duration_s == pytest.approx(expected.duration_s, abs=0.1)
    assert np.abs(heard.samples[5000:40_000] - expected.samples[5000:40_000]).max() < 0.05
