"""Images of any common format become pixels; what is none is refused with the reason and the place."""

import struct
import zlib

import numpy as np
import pytest

from engine_room.chat.images import MAX_PIXELS, Image, check_shape, image_of, pixels
from engine_room.errors import InvalidImage, InvalidRequest
from tests.pictures import encoded, noise

PLACE = "messages[0].content"


def read(data: bytes) -> np.ndarray:
    return pixels(Image(data, b"", PLACE))


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidImage) as caught:
        read(data)
    assert (caught.value.param, caught.value.code) == (PLACE, "invalid_image")
    return caught.value.message


def chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def test_a_data_url_is_the_bytes_in_it_whatever_type_it_says() -> None:
    for head in ("image/png", "text/plain;charset=utf-8", ""):
        image = image_of(f"data:{head};base64,QUJD\nRA==", PLACE)
        assert (image.data, image.place) == (b"ABCD", PLACE)
    assert (
        image_of("data:;base64,AAAA", PLACE).digest != image_of("data:;base64,AAAB", PLACE).digest
    )


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("data:image/png;base64,%%%", "is not base64"),
        ("data:image/png;base64,é", "is not base64"),
        ("data:image/png,AAAA", "without ';base64'"),
        ("data:", "without ';base64'"),
        ("https://example.com/a.png", "none that is read here"),
        ("file:///etc/passwd", "none that is read here"),
        ("", "none that is read here"),
    ],
)
def test_a_url_that_holds_no_image_is_refused(url: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        image_of(url, PLACE)
    assert caught.value.message.startswith(f"{PLACE}: ")
    assert caught.value.param == PLACE


@pytest.mark.parametrize(
    ("codec", "form", "is_exact"),
    [
        ("png", "rgb24", True),
        ("png", "gray", False),
        ("png", "rgb48be", True),
        ("mjpeg", "yuvj444p", False),
        ("mjpeg", "yuvj420p", False),
        ("libwebp", "bgra", False),
    ],
)
def test_each_format_gives_the_pixels_that_went_in(codec: str, form: str, is_exact: bool) -> None:
    slope = np.linspace(0, 255, 70)[None, :, None] * np.ones((50, 1, 3))
    found = read(encoded(slope.astype(np.uint8), codec, form))
    assert found.shape == (50, 70, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - slope).max() <= (1 if is_exact else 8)


def gif(num_frames: int) -> bytes:
    """Two by two pixels, the first frame's in the second colour of its table, white."""
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 2, 2, 0) + b"\x02\x03\x8c\x53\x05\x00"
    head = b"GIF89a" + struct.pack("<2H3B", 2, 2, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff"
    return head + frame * num_frames + b"\x3b"


@pytest.mark.parametrize("num_frames", [1, 3])
def test_of_an_animation_the_first_frame_is_seen(num_frames: int) -> None:
    assert read(gif(num_frames)).tolist() == [[[255] * 3] * 2] * 2


def test_what_is_transparent_is_white() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[0, 1] = (0, 0, 0, 128)
    found = read(encoded(rgba, "png", "rgba"))
    assert found.tolist() == [[[10, 20, 30], [127] * 3], [[255] * 3, [255] * 3]]


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_a_photo_is_upright_as_the_camera_says(orientation: int, turned: int) -> None:
    data = encoded(noise(1, 64, 32), "mjpeg", "yuvj444p")
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    marked = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert np.array_equal(read(marked), np.rot90(read(data), turned))


@pytest.mark.parametrize("codec", ["png", "mjpeg", "libwebp"])
def test_an_image_that_is_cut_short_is_refused(codec: str) -> None:
    form = {"png": "rgb24", "mjpeg": "yuvj420p", "libwebp": "bgra"}[codec]
    data = encoded(noise(2), codec, form)
    for length in (16, 60, len(data) // 2):
        assert "cut short" in refusal(data[:length])


@pytest.mark.parametrize(
    "data", [b"<svg/>", b"RIFF\x10\0\0\0WAVEfmt ", b"#EXTM3U\nfile:///etc/passwd", b"\0" * 99, b"x"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert "PNG, JPEG, WebP" in refusal(data)


def test_no_bytes_are_no_image() -> None:
    assert refusal(b"") == f"{PLACE}: the image is empty."


def test_a_small_file_that_holds_a_billion_pixels_is_refused_before_it_is_unpacked() -> None:
    header = struct.pack(">2I5B", 40_000, 40_000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1_000_000)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    assert f"{MAX_PIXELS:,} pixels" in refusal(bomb)


def test_an_image_that_is_hardly_more_than_a_line_is_refused() -> None:
    check_shape(np.zeros((1, 100, 3), np.uint8), PLACE)
    with pytest.raises(InvalidImage, match="1 x 101 pixels"):
        check_shape(np.zeros((101, 1, 3), np.uint8), PLACE)
