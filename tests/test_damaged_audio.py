"""What codecs have in store for a server that takes any file: every kind is read, every trap has a clear
answer, and thousands of damaged files neither stop the decoder nor fill the memory.
"""

import io
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine_room.decoding import decode, decoded
from engine_room.encoding import FORMATS, Encoder, Sound, encode
from engine_room.errors import InvalidAudio
from tests.conftest import PROJECT_DIR, Server
from tests.damaged_audio import KINDS, damaged_file, damaged_files, sound_file

RATE_HZ = 16_000
HEAR = "/v1/audio/transcriptions"
HOUR_S = 3600


def loudest_hz(sound: Sound) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound.samples)))) / sound.duration_s


@pytest.mark.parametrize("kind", KINDS, ids="/".join)
def test_every_container_and_codec_is_read(kind: tuple[str, str]) -> None:
    sound = decode(sound_file(*kind, duration_s=1), RATE_HZ)
    assert sound.duration_s == pytest.approx(1, abs=0.15)
    assert loudest_hz(sound) == pytest.approx(440, abs=5)


@pytest.mark.parametrize("kind", ["wav/pcm_s24le", "flac/flac", "ipod/aac", "ogg/libopus"])
@pytest.mark.parametrize("layout", ["5.1", "7.1"])
def test_surround_is_mixed_to_one_channel(kind: str, layout: str) -> None:
    container, codec = kind.split("/")
    sound = decode(sound_file(container, codec, layout=layout), RATE_HZ)
    assert sound.duration_s == pytest.approx(0.4, abs=0.1)
    assert loudest_hz(sound) == pytest.approx(440, abs=5)


def test_a_telephones_wav_is_read() -> None:
    silence = b"\xff" * 8_000  # a second, in µ-law
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 7, 1, 8_000, 8_000, 1, 8
    )
    sound = decode(head + struct.pack("<4sI", b"data", len(silence)) + silence, RATE_HZ)
    assert sound.duration_s == pytest.approx(1, abs=0.01)
    assert np.abs(sound.samples).max() < 0.001


def test_an_mp3_of_changing_bit_rate_behind_a_huge_picture_is_read() -> None:
    picture = b"\0image/jpeg\0\3\0" + bytes(range(256)) * 20_000
    frame = b"APIC" + _synchsafe(len(picture)) + b"\0\0" + picture
    tag = b"ID3\4\0\0" + _synchsafe(len(frame)) + frame
    tone = decode(sound_file("wav", "pcm_s16le", 1), RATE_HZ)
    low, high = encode(tone, "mp3"), sound_file("mp3", "libmp3lame", 1)
    sound = decode(tag + low + high, RATE_HZ)
    assert len(tag) > 5_000_000
    assert sound.duration_s == pytest.approx(2, abs=0.2)
    assert loudest_hz(sound) == pytest.approx(440, abs=5)


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def test_an_ogg_that_claims_ten_hours_has_the_sound_that_is_in_it() -> None:
    data = long_in_name_only()
    with av.open(io.BytesIO(data)) as container:
        assert container.duration // 1_000_000 == 10 * HOUR_S
    assert decode(data, RATE_HZ).duration_s == pytest.approx(1, abs=0.1)


def long_in_name_only() -> bytes:
    """A second of Opus whose last packet says that it ends after ten hours."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as target:
        stream = target.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.int16), "s16", "mono")
        frame.rate, frame.pts = 48_000, 0
        packets: list[Any] = [*stream.encode(frame), *stream.encode(None)]
        packets[-1].dts = packets[-1].pts = 10 * HOUR_S * 48_000
        target.mux(packets)
    return file.getvalue()


def test_a_wav_that_claims_two_gigabytes_has_the_sound_that_is_in_it() -> None:
    wav = bytearray(encode(Sound(np.zeros(RATE_HZ, np.float32), RATE_HZ), "wav"))
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\x7f"
    assert decode(bytes(wav), RATE_HZ).duration_s == 1


def repeated(name: str, block: Sound, times: int) -> bytes:
    """The block again and again."""
    encoder = Encoder(name, block.rate_hz)
    return b"".join(encoder.add(block.samples) for _ in range(times)) + encoder.finish()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Four hours of silence in three megabytes."""
    data = repeated("flac", Sound(np.zeros(60 * RATE_HZ, np.float32), RATE_HZ), 240)
    assert len(data) < 4_000_000
    return data


def test_hours_of_silence_are_refused_before_any_of_it_is_given_out(bomb: bytes) -> None:
    with pytest.raises(InvalidAudio, match="longer than 180 minutes"):
        next(decoded(bomb, RATE_HZ))


def test_a_cancelled_file_is_decoded_no_further(bomb: bytes) -> None:
    num_asked = 0

    def cancelled() -> bool:
        nonlocal num_asked
        num_asked += 1
        return num_asked > 10

    assert len(decode(bomb, RATE_HZ, cancelled).samples) == 0
    assert num_asked < 20


def test_streams_that_turn_up_on_the_way_do_no_harm() -> None:
    """A damaged MPEG-TS for which PyAV raises IndexError."""
    data = damaged_file(8, 12_239).data
    with av.open(io.BytesIO(data)) as container, pytest.raises(IndexError):
        list(container.demux(audio=0))
    assert decode(data, RATE_HZ).duration_s > 0.1


@pytest.mark.slow
def test_two_thousand_damaged_files_crash_nothing_hang_nowhere_and_leave_no_memory_behind() -> None:
    """In a process of their own: where FFmpeg dies, this test says on which file."""
    pytest.importorskip("resource", reason="tells how much memory a process has taken")
    child = subprocess.run(
        [sys.executable, "-m", "tests.damaged_audio", "7", "2000"],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    *names, last = child.stdout.splitlines()
    assert child.returncode == 0, f"on {last}: status {child.returncode}\n{child.stderr}"
    assert len(names) == 2000
    heard, grown = map(int, re.findall(r"\d+(?= of| MB)", last))
    assert 500 < heard < 1900  # some are too damaged, some are not
    assert grown < 50


@pytest.mark.slow
def test_damaged_files_with_any_label_are_answered_or_refused_by_the_server(server: Server) -> None:
    statuses = set()
    with server.http() as http:
        for number, file in enumerate(damaged_files(seed=3, count=40)):
            label = [*FORMATS, "webm", "txt"][number % 8]
            upload = {"file": (f"recording.{label}", file.data, f"audio/{label}")}
            answer = http.post(HEAR, files=upload)
            statuses.add(answer.status_code)
            assert answer.status_code in (200, 400), (file.name, answer.text)
            if answer.status_code == 400:
                assert answer.json()["error"]["code"] == "invalid_audio", file.name
    assert statuses == {200, 400}


def test_a_bomb_is_refused_by_the_server(server: Server, bomb: bytes) -> None:
    with server.http() as http:
        for fields in ({}, {"stream": "true"}):
            answer = http.post(HEAR, data=fields, files={"file": ("x.flac", bomb)})
            assert answer.status_code == 400
            assert "longer than 180 minutes" in answer.json()["error"]["message"]


@pytest.fixture
def grown_mb(server: Server) -> Callable[[], int]:
    """By how much the server's memory has been larger, at most, than it was at the start."""
    forget_peak = Path(f"/proc/{server.process.pid}/clear_refs")
    if not forget_peak.exists():
        pytest.skip("the memory of another process is looked up as Linux has it")
    with server.http() as http:  # once the models are there
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        assert http.post("/v1/chat/completions", json=body).status_code == 200
        silence = encode(Sound(np.zeros(RATE_HZ, np.float32), RATE_HZ), "wav")
        assert http.post(HEAR, files={"file": ("x", silence)}).status_code == 200
        assert http.post("/v1/audio/speech", json={"input": "Hi."}).status_code == 200
    forget_peak.write_text("5")
    status = Path(f"/proc/{server.process.pid}/status")

    def peak_mb() -> int:
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024

    before_mb = peak_mb()
    return lambda: peak_mb() - before_mb


def test_a_chunked_upload_of_two_gigabytes_is_stopped_on_its_way(
    server: Server, grown_mb: Callable[[], int]
) -> None:
    num_mb = 0

    def form() -> Iterator[bytes]:
        nonlocal num_mb
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(2_000):
            num_mb += 1
            yield bytes(1_000_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with server.http() as http:
        answer = http.post(HEAR, content=form(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "file_too_large"
    assert num_mb < 500
    assert grown_mb() < 100


@pytest.mark.slow
def test_an_hour_takes_no_more_memory_than_minutes_and_its_progress_is_in_the_log(
    server: Server, grown_mb: Callable[[], int]
) -> None:
    with server.http() as http:
        pause = np.zeros(600 * RATE_HZ, np.float32)
        body = {"input": "The harbour wakes before the town does.", "response_format": "wav"}
        said = decode(http.post("/v1/audio/speech", json=body).content, RATE_HZ).samples
        block = Sound(np.concatenate([said, pause]), RATE_HZ)
        # Two stretches, as two are heard at once.
        minutes, hour = repeated("flac", block, 2), repeated("flac", block, 6)
        for _ in range(2):
            assert http.post(HEAR, files={"file": ("x", minutes)}).text.count("harbo") == 2
        by_minutes_mb = grown_mb()
        answer = http.post(HEAR, files={"file": ("x", hour)})
    assert answer.json()["text"].count("harbo") == 6
    assert answer.json()["usage"]["seconds"] > HOUR_S
    assert grown_mb() - by_minutes_mb < 60  # its samples would be 230
    log = (server.folder / "server.log").read_text()
    assert max(map(int, re.findall(r"transcribed (\d+) minutes", log))) >= 60
