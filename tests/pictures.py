"""Images for tests, written by FFmpeg's own encoders."""

import base64
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def noise(seed: int, width: int = 70, height: int = 50) -> Pixels:
    """A picture of nothing, another one for each seed: (height, width, 3)."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3)).astype(np.uint8)


def encoded(pixels: Pixels, codec: str = "png", form: str = "rgb24") -> bytes:
    """A file of it; `form` is the encoder's pixel format."""
    channels = "rgba" if pixels.shape[2] == 4 else "rgb24"
    frame = av.VideoFrame.from_ndarray(pixels, format=channels).reformat(format=form)
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, form
    encoder.time_base = Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def data_url(data: bytes, media_type: str = "image/png") -> str:
    """The file as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def picture(seed: int) -> dict[str, Any]:
    """A part of a message."""
    return {"type": "image_url", "image_url": {"url": data_url(encoded(noise(seed)))}}
