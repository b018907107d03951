"""Uploads decoded to `Sound`: any container and codec, damaged or endless. Knows no engine."""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine_room.encoding import Sound, as_float
from engine_room.errors import InvalidAudio

# 25 MB can hold nine hours of sound, which would take gigabytes of memory when decoded.
MAX_SOUND_S = 3 * 60 * 60
# Far below any telephone to the best studio. Files that say (wrongly) a billion take the resampler
# gigabytes and twelve seconds; those that say 1 become hours.
RATES_HZ = (100, 768_000)
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
