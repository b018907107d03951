"""Sound files of every container and codec that can be written here, and damaged ones made of them.

    python -m tests.damaged_audio 7 2000

decodes 2,000 damaged files as uploads are, and says before each which one it is. It ends with status 1 when
one takes longer than PATIENCE_S or fails in a way that is no InvalidAudio, and dies where FFmpeg dies.
"""

import faulthandler
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import av
import numpy as np

from engine_room.decoding import decoded
from engine_room.errors import InvalidAudio

PATIENCE_S = 10
# container, codec
KINDS = [
    (kind.partition("/")[0], kind.partition("/")[2])
    for kind in """
    wav/pcm_s16le wav/pcm_u8 wav/pcm_s24le wav/pcm_s32le wav/pcm_f32le wav/pcm_f64le wav/pcm_mulaw
    wav/pcm_alaw wav/adpcm_ms wav/adpcm_ima_wav wav/libmp3lame wav/g722 w64/pcm_s16le mp3/libmp3lame flac/flac
    ogg/vorbis ogg/libopus ogg/flac ipod/aac ipod/alac mp4/aac mp4/libmp3lame mp4/flac mp4/libopus
    mp4/video mov/pcm_s16le mov/adpcm_ima_qt 3gp/aac adts/aac mpegts/aac mpegts/mp2 mpegts/ac3 mpeg/mp2
    webm/libopus webm/vorbis matroska/pcm_s16le matroska/flac matroska/aac matroska/ac3 matroska/eac3
    matroska/tta matroska/wavpack aiff/pcm_s16be caf/pcm_s16le caf/alac caf/pcm_mulaw au/pcm_s16be
    au/pcm_mulaw asf/wmav2 avi/libmp3lame avi/adpcm_ms avi/video flv/aac amr/libopencore_amrnb
    """.split()
]
RATES_HZ = {"libopencore_amrnb": 8_000, "vorbis": 44_100, "wmav2": 44_100, "libopus": 48_000}
RATES_HZ |= {"ac3": 48_000, "eac3": 48_000}
# What files begin with; random bytes follow.
BEGINNINGS = [
    b"RIFF\xff\xff\xff\x7fWAVEfmt ",
    b"fLaC\0\0\0\x22",
    b"OggS\0\2",
    b"ID3\4\0\0\0\0\0\x7f",
    b"\xff\xfb\x90\x64",
    b"\xff\xf1\x50\x80",
    b"\0\0\0\x18ftypM4A ",
    b"\x1a\x45\xdf\xa3",
    b"FORM\0\0\xff\xffAIFF",
    b"caff\0\1\0\0desc",
    b".snd\0\0\0\x18",
    b"#!AMR\n",
    b"FLV\1\5\0\0\0\x09",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    b"G" + bytes(187) + b"G",
    b"\0\0\1\xba",
]


@dataclass(frozen=True, slots=True)
class File:
    """A file, and what it is."""

    name: str
    data: bytes


def sound_file(container: str, codec: str, duration_s: float = 0.4, layout: str = "mono") -> bytes:
    """A tone in this container and codec; with the codec `video` beside a picture."""
    has_picture, codec = codec == "video", "aac" if codec == "video" else codec
    codec = "libmp3lame" if has_picture and container == "avi" else codec
    layout = "stereo" if codec == "vorbis" else layout
    rate_hz = RATES_HZ.get(codec, 16_000)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        if has_picture:
            picture = target.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        stream = target.add_stream(codec, rate=rate_hz, layout=layout, options={"strict": "-2"})
        if codec == "wmav2":
            stream.bit_rate = 96_000
        times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
        tone = (9_000 * np.sin(2 * np.pi * 440 * times_s)).astype(np.int16)
        channels = np.repeat(tone, stream.codec_context.channels)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(channels, "s16", layout)
        frame.rate = rate_hz
        frame.pts = 0
        if has_picture:
            for _ in range(4):
                black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                target.mux(picture.encode(black))
            target.mux(picture.encode(None))
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return file.getvalue()


@cache
def seeds() -> list[File]:
    """A short file of each of KINDS, and one of eight channels."""
    files = [File(f"{form}/{codec}", sound_file(form, codec)) for form, codec in KINDS]
    return [*files, File("flac of 7.1", sound_file("flac", "flac", layout="7.1"))]


def damaged_files(seed: int, count: int) -> Iterator[File]:
    """So many damaged files, of every kind in turn."""
    return (damaged_file(seed, number) for number in range(count))


def damaged_file(seed: int, number: int) -> File:
    """One of them; the same for the same seed."""
    random = np.random.default_rng([seed, number])
    file = seeds()[number % len(seeds())]
    name, *others = random.permutation(list(DAMAGES))
    data = DAMAGES[name](file.data, random)
    if data and random.random() < 0.3:
        name, data = f"{name}, {others[0]}", DAMAGES[others[0]](data, random)
    return File(f"{number}: {file.name}, {name}", data)


def _bits_flipped(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in random.integers(0, len(data), random.integers(1, 40)):
        changed[at] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _header_flipped(data: bytes, random: np.random.Generator) -> bytes:
    return _bits_flipped(data[:120], random) + data[120:]


def _header_filled(data: bytes, random: np.random.Generator) -> bytes:
    """Fields of two or four bytes with values that are as far off as can be."""
    changed = bytearray(data)
    for at in random.integers(0, min(len(data), 400), random.integers(1, 5)):
        values = [
            b"\0\0",
            b"\xff\xff",
            b"\x7f\xff\xff\xff",
            b"\xff\xff\xff\x7f",
            b"\0\0\0\0",
            b"\x80\0\0\0",
        ]
        value = values[random.integers(len(values))]
        changed[at : at + len(value)] = value
    return bytes(changed)


def _cut(data: bytes, random: np.random.Generator) -> bytes:
    return data[: random.integers(0, len(data))]


def _beginning_lost(data: bytes, random: np.random.Generator) -> bytes:
    return data[random.integers(0, len(data)) :]


def _block_dropped(data: bytes, random: np.random.Generator) -> bytes:
    begin, end = sorted(random.integers(0, len(data), 2))
    return data[:begin] + data[end:]


def _block_doubled(data: bytes, random: np.random.Generator) -> bytes:
    begin, end = sorted(random.integers(0, len(data), 2))
    return data[:end] + data[begin:]


def _block_moved(data: bytes, random: np.random.Generator) -> bytes:
    begin, middle, end = sorted(random.integers(0, len(data), 3))
    return data[:begin] + data[middle:end] + data[begin:middle] + data[end:]


def _noise_inside(data: bytes, random: np.random.Generator) -> bytes:
    begin, end = sorted(random.integers(0, len(data), 2))
    return data[:begin] + random.bytes(end - begin) + data[end:]


def _another_follows(data: bytes, random: np.random.Generator) -> bytes:
    return data + seeds()[random.integers(len(seeds()))].data


def _head_of_another(data: bytes, random: np.random.Generator) -> bytes:
    size = int(random.integers(4, 300))
    return seeds()[random.integers(len(seeds()))].data[:size] + data[size:]


def _noise_after_a_beginning(data: bytes, random: np.random.Generator) -> bytes:
    return BEGINNINGS[random.integers(len(BEGINNINGS))] + random.bytes(len(data))


DAMAGES = {
    damage.__name__[1:].replace("_", " "): damage
    for damage in (
        _bits_flipped,
        _header_flipped,
        _header_filled,
        _cut,
        _beginning_lost,
        _block_dropped,
        _block_doubled,
        _block_moved,
        _noise_inside,
        _another_follows,
        _head_of_another,
        _noise_after_a_beginning,
    )
}


def main(seed: int, count: int) -> None:
    """Decode them one after the other."""
    faulthandler.enable()
    before_mb = 0
    num_heard = 0
    for number, file in enumerate(damaged_files(seed, count)):
        print(file.name, flush=True)
        faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
        num_heard += _is_heard(file.data)
        if number == count // 4:
            before_mb = peak_mb()
    print(f"{num_heard} of {count} heard; grown by {peak_mb() - before_mb} MB")


def _is_heard(data: bytes) -> bool:
    try:
        return sum(map(len, decoded(data, 16_000))) > 0
    except InvalidAudio:
        return False


def peak_mb() -> int:
    """The most memory that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
