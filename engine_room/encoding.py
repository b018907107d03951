"""`Sound`, uploads decoded to it, and sound encoded to what clients ask for.

Whole files in mp3, wav and flac are pydub's work (with the ffmpeg that imageio-ffmpeg ships); streams
and the other formats are encoded block by block in process by PyAV. Knows no engine.
"""

import io
import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine_room.errors import InvalidAudio

log = logging.getLogger(__name__)
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono sound: float32, (samples,), -1…1."""

    samples: Samples
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True, slots=True)
class Format:
    """One output format: its content type, and PyAV's container and codec for it."""

    media_type: str
    container: str
    codec: str
    bit_rate: int | None = None
    by_pydub: bool = False


FORMATS = {
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame", 96_000, by_pydub=True),
    "wav": Format("audio/wav", "s16le", "pcm_s16le", by_pydub=True),
    "flac": Format("audio/flac", "flac", "flac", by_pydub=True),
    "opus": Format("audio/ogg", "ogg", "libopus", 48_000),
    "aac": Format("audio/aac", "adts", "aac", 96_000),
    "pcm": Format("audio/pcm;rate=24000;channels=1", "s16le", "pcm_s16le"),
}
# 25 MB can hold nine hours of sound, which would take gigabytes of memory when decoded.
MAX_SOUND_S = 3 * 60 * 60
# Far below any telephone to the best studio. Files that say (wrongly) a billion take the resampler
# gigabytes and twelve seconds; those that say 1 become hours.
RATES_HZ = (100, 768_000)
# No tag, no Xing frame: so two mp3 answers can be joined by appending one to the other.
PLAIN_MP3 = {"write_xing": "0", "id3v2_version": "0", "write_id3v1": "0"}
# What an upload may be. FFmpeg knows 300 more, some of which name other files or addresses and would be
# led there by the upload: ffconcat and HLS read local files, SDP listens on the network for 20 s.
CONTAINERS = "aac,aiff,amr,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"


def decode(
    data: bytes | BinaryIO,
    rate_hz: int,
    cancelled: Callable[[], bool] = lambda: False,
    first_s: float | None = None,
) -> Sound:
    """An upload, or an open file, of any container and label as mono sound; what it is, is read from its
    content.

    Whole sound in memory; with `first_s` only so many seconds of its beginning, and no more is read. A
    file that breaks off gives what came before; when `cancelled` on the way, there is no sound. Raises
    InvalidAudio, OSError of an open file.
    """
    blocks = list(decoded(data, rate_hz, first_s, cancelled))
    if cancelled():
        return Sound(np.zeros(0, np.float32), rate_hz)
    samples = as_float(np.concatenate(blocks))  # three hours of sound are 0.7 GB
    return Sound(samples if first_s is None else samples[: int(first_s * rate_hz)], rate_hz)


def decoded(
    data: bytes | BinaryIO,
    rate_hz: int,
    first_s: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[NDArray[np.int16]]:
    """The same, block by block as it is decoded, never whole in memory; one block at least, unless
    `cancelled`. With `first_s` a little more than asked for."""
    import av  # late: 0.1 s of imports that the server's start need not wait for

    if not data:
        raise InvalidAudio("The uploaded file is empty.")
    num_blocks = 0
    try:
        if first_s is None:
            _check_length(data, cancelled)
        with _opened(data) as container:
            for block in _mono_blocks(container, rate_hz, first_s):
                if cancelled():
                    return
                num_blocks += 1
                yield block
    except (av.FFmpegError, ValueError) as error:
        if not num_blocks:
            raise InvalidAudio(
                "The uploaded file is not audio that can be decoded; send wav, mp3, flac, m4a, mp4, "
                "ogg, opus, webm or aac."
            ) from error
    if not num_blocks and not cancelled():
        raise InvalidAudio("The uploaded file has no sound in it.")


def _opened(data: bytes | BinaryIO) -> Any:
    """PyAV's container, from its beginning. Raises InvalidAudio when there is no audio in it."""
    import av

    file = io.BytesIO(data) if isinstance(data, bytes) else data
    file.seek(0)
    options = {"format_whitelist": CONTAINERS}
    container = av.open(file, metadata_errors="ignore", options=options)
    if not container.streams.audio:
        container.close()
        raise InvalidAudio("The uploaded file has no audio in it.")
    return container


def _check_length(data: bytes | BinaryIO, cancelled: Callable[[], bool]) -> None:
    """Raise InvalidAudio for a file longer than MAX_SOUND_S. What says that it is, or says nothing, is
    decoded once to know, which takes seconds: better than to find out after hours were transcribed."""
    with _opened(data) as container:
        microseconds = container.duration
        if microseconds is not None and microseconds <= MAX_SOUND_S * 1_000_000:
            return
        seconds = 0.0
        for frame in _valid_frames(container):
            seconds += frame.samples / frame.sample_rate
            if cancelled():
                return
            if seconds > MAX_SOUND_S:
                raise _too_long()


def _too_long() -> InvalidAudio:
    return InvalidAudio(
        f"The uploaded file is longer than {MAX_SOUND_S // 60} minutes; send it in parts."
    )


def as_float(samples: NDArray[np.int16]) -> Samples:
    """16-bit samples as float ones."""
    floats = samples.astype(np.float32)
    floats /= 32_768  # in place
    return floats


def _mono_blocks(
    container: Any, rate_hz: int, first_s: float | None
) -> Iterator[NDArray[np.int16]]:
    """The first audio stream, mixed to one channel, block by block. Raises InvalidAudio when it is longer
    than MAX_SOUND_S and not only its first seconds are asked for."""
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
    num_samples = 0
    for frame in _valid_frames(container):
        frame.pts = None  # broken timestamps must not stop the resampler
        yield from (part.to_ndarray()[0] for part in resampler.resample(frame))
        num_samples += frame.samples * rate_hz // frame.sample_rate
        if first_s is not None and num_samples > first_s * rate_hz:
            return
        if num_samples > MAX_SOUND_S * rate_hz:
            raise _too_long()
    if num_samples:
        yield from (part.to_ndarray()[0] for part in resampler.resample(None))


def _valid_frames(container: Any) -> Any:
    """The decoded frames of the first audio stream, damaged packets left out. Raises InvalidAudio for a
    sample rate that is none."""
    import av

    least_hz, most_hz = RATES_HZ
    # Packet by packet: container.decode() is a generator, and ends for good at the first damage.
    for packet in _packets(container):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if not least_hz <= frame.sample_rate <= most_hz:
                raise InvalidAudio(
                    f"The uploaded file says that it has {frame.sample_rate:,} samples a second; "
                    f"{least_hz:,} to {most_hz:,} are sound."
                )
            yield frame


def _packets(container: Any) -> Iterator[Any]:
    """The packets of the first audio stream."""
    audio = container.streams.audio[0]
    # When streams turn up only on the way (MPEG-TS, FLV), PyAV 18.1 may take their packets for those asked
    # for, and raises IndexError at the end, after the last packet of ours.
    with suppress(IndexError):
        for packet in container.demux(audio):
            if packet.stream is audio:
                yield packet


def as_int16(samples: Samples) -> NDArray[np.int16]:
    """Float samples as 16-bit ones, out-of-range values held at the ends of the range."""
    return (np.clip(samples, -1, 1) * 32_767).astype(np.int16)


class Encoder:
    """Blocks of sound to bytes of one format, as they come. Not thread-safe.

    `add` and `finish` give the bytes that are ready, perhaps none; their concatenation is the file.
    A wav begins with a full 44-byte header whose sizes say "unknown" (all ones), as nobody knows yet.
    """

    def __init__(self, name: str, rate_hz: int) -> None:
        import av

        self._sink = _Sink()
        format_ = FORMATS[name]
        if name == "wav":
            self._sink.write(_wav_header(rate_hz))
        options = PLAIN_MP3 if name == "mp3" else {}
        self._container = av.open(self._sink, "w", format=format_.container, options=options)
        stream: Any = self._container.add_stream(format_.codec, rate=rate_hz, layout="mono")
        if format_.bit_rate:
            stream.bit_rate = format_.bit_rate
        self._stream = stream
        self._rate_hz = rate_hz
        self._num_samples = 0

    def add(self, samples: Samples) -> bytes:
        """Encode one more block: float32, (samples,), at the rate given at the start."""
        import av

        if len(samples):
            frame = av.AudioFrame.from_ndarray(
                as_int16(samples)[np.newaxis], format="s16", layout="mono"
            )
            frame.rate = self._rate_hz
            frame.pts = self._num_samples
            self._num_samples += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        """The rest of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """A file that only remembers what was written since the last `take`; it cannot seek."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


def _wav_header(rate_hz: int, num_data_bytes: int = 0xFFFF_FFFF - 36) -> bytes:
    """The canonical 44 bytes: 16-bit mono PCM."""
    riff = struct.pack("<4sI4s", b"RIFF", num_data_bytes + 36, b"WAVE")
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    return riff + fmt + struct.pack("<4sI", b"data", num_data_bytes)


def with_true_sizes(name: str, data: bytes) -> bytes:
    """A finished stream as a file: a wav's header gets the sizes that were unknown when it began."""
    if name != "wav":
        return data
    rate_hz = int(struct.unpack_from("<I", data, 24)[0])
    return _wav_header(rate_hz, len(data) - 44) + data[44:]


def encode(sound: Sound, name: str) -> bytes:
    """A whole sound as a file of one of FORMATS."""
    format_ = FORMATS[name]
    if not format_.by_pydub:
        return _encoded_in_process(sound, name)
    segment = segment_of(sound)
    from pydub.exceptions import PydubException

    parameters = [part for option, value in PLAIN_MP3.items() for part in (f"-{option}", value)]
    file = io.BytesIO()
    try:
        segment.export(
            file,
            format=name,
            bitrate=str(format_.bit_rate) if format_.bit_rate else None,
            parameters=parameters if name == "mp3" else None,
        )
    except (OSError, PydubException) as error:
        # It goes by way of the folder for temporary files, which may be full.
        log.warning(
            "%s is made without pydub, which failed: %s", name, str(error).partition("\n")[0]
        )
        return _encoded_in_process(sound, name)
    return file.getvalue()


def _encoded_in_process(sound: Sound, name: str) -> bytes:
    encoder = Encoder(name, sound.rate_hz)
    return with_true_sizes(name, encoder.add(sound.samples) + encoder.finish())


def segment_of(sound: Sound) -> Any:
    """The sound as pydub's AudioSegment, of 16 bits."""
    return _pydub()(
        data=as_int16(sound.samples).tobytes(),
        sample_width=2,
        frame_rate=sound.rate_hz,
        channels=1,
    )


@cache
def _pydub() -> Any:
    """pydub's AudioSegment, told where the ffmpeg of imageio-ffmpeg is."""
    import imageio_ffmpeg

    with warnings.catch_warnings():
        # At import pydub 0.25.1 warns that there is no ffmpeg on the PATH (we bring our own), and Python
        # of its old syntax and of audioop; none of it is the user's to mend.
        warnings.simplefilter("ignore")
        from pydub import AudioSegment
    AudioSegment.converter = imageio_ffmpeg.get_ffmpeg_exe()
    return AudioSegment
