"""`Sound`, and sound encoded to what clients ask for.

Whole files in mp3, wav and flac are pydub's work (with the ffmpeg that imageio-ffmpeg ships); streams
and the other formats are encoded block by block in process by PyAV. Knows no engine.
"""

import io
import logging
import struct
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """One output format: its content type, PyAV's container and codec for it, its own bit rate, and the
    sample rates and bit rates that there are; without any it has all rates, and no bit rate."""

    media_type: str
    container: str
    codec: str
    bit_rate: int | None = None
    by_pydub: bool = False
    rates_hz: tuple[int, ...] = ()
    bit_rates: tuple[int, int] | None = None


MP3_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
FORMATS = {
    "mp3": Format(
        "audio/mpeg", "mp3", "libmp3lame", 96_000, True, MP3_HZ, bit_rates=(8_000, 320_000)
    ),
    "wav": Format("audio/wav", "s16le", "pcm_s16le", by_pydub=True),
    "flac": Format("audio/flac", "flac", "flac", by_pydub=True),
    "opus": Format(
        "audio/ogg", "ogg", "libopus", 48_000, rates_hz=OPUS_HZ, bit_rates=(6_000, 256_000)
    ),
    "aac": Format("audio/aac", "adts", "aac", 96_000, rates_hz=MP3_HZ, bit_rates=(16_000, 160_000)),
    "pcm": Format("audio/pcm;rate={rate_hz};channels=1", "s16le", "pcm_s16le"),
}
# No tag, no Xing frame: so two mp3 answers can be joined by appending one to the other.
PLAIN_MP3 = {"write_xing": "0", "id3v2_version": "0", "write_id3v1": "0"}
# FFmpeg writes a page of Ogg when the next one is full. Of its own, a second each, a first sentence of 1.5 s
# would wait for the second; with these (in microseconds) a file is 4 % larger.
SHORT_PAGES = {"page_duration": "100000"}
OPTIONS = {"mp3": PLAIN_MP3, "opus": SHORT_PAGES}


def as_float(samples: NDArray[np.int16]) -> Samples:
    """16-bit samples as float ones."""
    floats = samples.astype(np.float32)
    floats /= 32_768  # in place
    return floats


def as_int16(samples: Samples) -> NDArray[np.int16]:
    """Float samples as 16-bit ones, out-of-range values held at the ends of the range."""
    return (np.clip(samples, -1, 1) * 32_767).astype(np.int16)


class Encoder:
    """Blocks of sound to bytes of one format, as they come. Not thread-safe.

    `add` and `finish` give the bytes that are ready, perhaps none; their concatenation is the file. Blocks
    have `rate_hz`, the file `file_rate_hz`, or the same. A wav begins with a full 44-byte header whose sizes
    say "unknown" (all ones), as nobody knows yet.
    """

    def __init__(
        self,
        name: str,
        rate_hz: int,
        file_rate_hz: int | None = None,
        bit_rate: int | None = None,
    ) -> None:
        import av

        self._sink = _Sink()
        format_ = FORMATS[name]
        self._resampler = _Resampler(rate_hz, file_rate_hz or rate_hz)
        if name == "wav":
            self._sink.write(_wav_header(file_rate_hz or rate_hz))
        options = OPTIONS.get(name, {})
        self._container = av.open(self._sink, "w", format=format_.container, options=options)
        stream: Any = self._container.add_stream(
            format_.codec, rate=file_rate_hz or rate_hz, layout="mono"
        )
        if wanted := bit_rate or format_.bit_rate:
            stream.bit_rate = wanted
        self._stream = stream

    def add(self, samples: Samples) -> bytes:
        """Encode one more block: float32, (samples,), at the rate given at the start."""
        for frame in self._resampler.add(samples):
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        """The rest of the file."""
        for frame in self._resampler.finish():
            self._container.mux(self._stream.encode(frame))
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


class _Resampler:
    """Samples of one rate to PyAV's frames of another, or of the same."""

    def __init__(self, rate_hz: int, wanted_hz: int) -> None:
        import av

        self._rate_hz = rate_hz
        is_needed = rate_hz != wanted_hz
        self._resampler = av.AudioResampler("s16", "mono", wanted_hz) if is_needed else None
        self._num_samples = 0

    def add(self, samples: Samples) -> list[Any]:
        """The frames that are ready."""
        import av

        if not len(samples):
            return []
        frame = av.AudioFrame.from_ndarray(as_int16(samples)[np.newaxis], "s16", "mono")
        frame.rate = self._rate_hz
        frame.pts = self._num_samples
        self._num_samples += len(samples)
        return self._resampler.resample(frame) if self._resampler else [frame]

    def finish(self) -> list[Any]:
        """The rest."""
        # Without a frame it has not begun, and fails when it is asked for the rest.
        if self._resampler is None or not self._num_samples:
            return []
        return list(self._resampler.resample(None))


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


def resampled(sound: Sound, rate_hz: int) -> Sound:
    """The sound at another rate, or at this one already."""
    if rate_hz == sound.rate_hz:
        return sound
    resampler = _Resampler(sound.rate_hz, rate_hz)
    frames = [*resampler.add(sound.samples), *resampler.finish()]
    blocks = [frame.to_ndarray()[0] for frame in frames]
    return Sound(as_float(np.concatenate([np.zeros(0, np.int16), *blocks])), rate_hz)


def encode(
    sound: Sound, name: str, file_rate_hz: int | None = None, bit_rate: int | None = None
) -> bytes:
    """A whole sound as a file of one of FORMATS, at its own rate or another."""
    sound = resampled(sound, file_rate_hz or sound.rate_hz)
    format_ = FORMATS[name]
    if not format_.by_pydub:
        return _encoded_in_process(sound, name, bit_rate)
    segment = segment_of(sound)
    from pydub.exceptions import PydubException

    parameters = [part for option, value in PLAIN_MP3.items() for part in (f"-{option}", value)]
    file = io.BytesIO()
    try:
        segment.export(
            file,
            format=name,
            bitrate=str(bit_rate or format_.bit_rate) if format_.bit_rate else None,
            parameters=parameters if name == "mp3" else None,
        )
    except (OSError, PydubException) as error:
        # It goes by way of the folder for temporary files, which may be full.
        log.warning(
            "%s is made without pydub, which failed: %s", name, str(error).partition("\n")[0]
        )
        return _encoded_in_process(sound, name, bit_rate)
    return file.getvalue()


def _encoded_in_process(sound: Sound, name: str, bit_rate: int | None) -> bytes:
    encoder = Encoder(name, sound.rate_hz, bit_rate=bit_rate)
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
