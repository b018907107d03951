"""Images as requests carry them: data URLs to bytes, bytes to pixels. Knows no model."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine_room.errors import InvalidImage, InvalidRequest, quoted

# What an image begins with, and FFmpeg's decoder for it. Its decoders alone are used, never its readers
# of files, some of which follow an upload to other files and addresses.
DECODERS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "mjpeg", b"GIF8": "gif", b"RIFF": "webp"}
FORMATS = "PNG, JPEG, WebP (not animated) or GIF"
# The largest that telephones make. A few kB can hold a billion pixels, which would take gigabytes.
MAX_PIXELS = 60_000_000
# Encoders cut or scale to their own shapes; beyond this some would come to nothing on the short side.
MAX_RATIO = 100


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a message: the file's bytes, their SHA-256, and its place in the request for errors."""

    data: bytes
    digest: bytes
    place: str


def image_of(url: str, place: str) -> Image:
    """The image of a data URL. Raises InvalidRequest, InvalidImage."""
    if not url.startswith("data:"):
        raise InvalidRequest(
            f"{place}: the image URL {quoted(url)} is none that is read here; send the image itself as "
            "data:image/png;base64,…",
            param=place,
            code="unsupported_value",
        )
    head, _, encoded = url.partition(",")
    if not head.endswith(";base64"):
        raise InvalidImage(f"the data URL begins {quoted(head)}, without ';base64'.", place)
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(f"the image is not base64: {error}.", place) from error
    return Image(data, hashlib.sha256(data).digest(), place)


def pixels(image: Image) -> NDArray[np.uint8]:
    """The image as (height, width, 3), RGB, upright, on white where it is transparent; of several frames
    the first. Raises InvalidImage."""
    import av  # late: 0.1 s of imports that the server's start need not wait for

    if not image.data:
        raise InvalidImage("the image is empty.", image.place)
    name = next((d for start, d in DECODERS.items() if image.data.startswith(start)), None)
    if name is None:
        raise InvalidImage(f"this is no image that can be read; send {FORMATS}.", image.place)
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
    decoder.thread_count = 1
    try:
        frames = decoder.decode(av.Packet(image.data)) or decoder.decode(None)
        if not frames:
            raise InvalidImage("the image is cut short.", image.place)
        return _upright(_on_white(frames[0]), frames[0].rotation)
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise InvalidImage(
            f"the image cannot be decoded: it is damaged or cut short, larger than {MAX_PIXELS:,} pixels, "
            f"or of a kind that is not read; send {FORMATS}.",
            image.place,
        ) from error


def _on_white(frame: Any) -> NDArray[np.uint8]:
    rgba: NDArray[np.uint8] = frame.to_ndarray(format="rgba")
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)


def _upright(rgb: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """A photo as it was seen: cameras say in the file how they were held."""
    return np.ascontiguousarray(np.rot90(rgb, degrees // 90))


def check_shape(rgb: NDArray[np.uint8], place: str) -> None:
    """Raises InvalidImage for an image that is hardly more than a line."""
    height, width = rgb.shape[:2]
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InvalidImage(
            f"the image has {width} x {height} pixels; one side may be {MAX_RATIO} times the other.",
            place,
        )
