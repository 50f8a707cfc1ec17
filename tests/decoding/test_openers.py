"""Each format as something other than Pillow reads it. TIFF has a file of its own."""

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.support.sample_images import (
    ALPHA,
    BMPS,
    DEEP,
    GIFS,
    GREY,
    HEIGHT,
    INDICES,
    OTHERS,
    PALETTE,
    PALETTE_IMAGE,
    RGB,
    RGBA,
    SMALL_GIF,
    WIDTH,
    cmyk,
    difference,
    encode,
    grey_rgb,
    imagemagick,
    magick_rgb,
    on_white,
    opencv,
    png,
    rgb_of_cmyk,
    run_length_encoded_bmp,
)
from tuner.decoding import openers
from tuner.decoding.decode import decode
from tuner.decoding.formats import DecodeError

DEEP_ALPHA = ALPHA.astype(np.uint16) * 257


def jpeg(**options: Any) -> bytes:
    return encode(RGB, "JPEG", quality=90, **options)


JPEGS = {
    "420": jpeg(),
    "422": jpeg(subsampling=1),
    "444": jpeg(subsampling=0),
    "progressive": jpeg(progressive=True),
    "restarts": jpeg(restart_marker_rows=1),
    "grey": encode(GREY, "JPEG"),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_is_exactly_what_opencv_and_tensorflow_read(kind: str) -> None:
    import tensorflow as tf

    data = JPEGS[kind]
    assert difference(decode(data), opencv(data)) == 0
    accurate = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    assert np.array_equal(decode(data), accurate)


def test_a_jpeg_of_too_many_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = JPEGS["progressive"].count(b"\xff\xda")
    assert scans > 3
    monkeypatch.setattr(openers, "_MAX_SCANNED_PIXELS", scans * WIDTH * HEIGHT)
    assert decode(JPEGS["progressive"]).shape == RGB.shape
    monkeypatch.setattr(openers, "_MAX_SCANNED_PIXELS", scans * WIDTH * HEIGHT - 1)
    with pytest.raises(DecodeError, match=rf"it has {scans} scans, too many for its size"):
        decode(JPEGS["progressive"])


@pytest.mark.parametrize("outside", ["CMYK", "YCCK"])
def test_an_inverted_cmyk_jpeg(outside: str) -> None:
    """As Adobe writes it."""
    data = imagecodecs.jpeg8_encode(
        255 - cmyk(), colorspace="CMYK", outcolorspace=outside, level=98
    )
    assert b"Adobe" in data
    assert difference(decode(data), opencv(data)) <= 2  # OpenCV divides by 256
    assert difference(decode(data), rgb_of_cmyk(cmyk())) <= 20  # JPEG's own loss


def grey_levels(depth: int) -> np.ndarray:
    return GREY.astype(int) * (2**depth - 1) // 255


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_grey_png_of_few_bits(depth: int) -> None:
    data = png(depth, 0, grey_levels(depth))
    assert np.array_equal(decode(data), opencv(data))
    assert decode(data).max() == 255


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_is_white(depth: int) -> None:
    values = grey_levels(depth)
    clear = int(values[HEIGHT // 2, WIDTH // 2])
    data = png(depth, 0, values, tRNS=struct.pack(">H", clear))
    expected = grey_rgb(values * 255 // (2**depth - 1))
    expected[values == clear] = 255
    assert np.array_equal(decode(data), expected)


def test_a_png_of_16_bits_keeps_the_upper_eight() -> None:
    upper = (DEEP >> 8).astype(np.uint8)
    assert np.array_equal(decode(png(16, 0, DEEP[..., 0])), grey_rgb(upper[..., 0]))
    assert np.array_equal(decode(png(16, 2, DEEP)), upper)
    assert np.array_equal(decode(png(16, 2, DEEP)), opencv(png(16, 2, DEEP)))


def test_a_png_of_16_bits_with_alpha() -> None:
    upper = (DEEP >> 8).astype(np.uint8)
    colours = png(16, 6, np.dstack([DEEP, DEEP_ALPHA]))
    greys = png(16, 4, np.dstack([DEEP[..., 0], DEEP_ALPHA]))
    assert difference(decode(colours), opencv(colours)) <= 1
    assert difference(decode(greys), on_white(grey_rgb(upper[..., 0]), ALPHA)) <= 1


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    upper = (DEEP >> 8).astype(np.uint8)
    grey = png(16, 0, DEEP[..., 0], tRNS=struct.pack(">H", DEEP[0, 3, 0]))
    expected = grey_rgb(upper[..., 0])
    expected[DEEP[..., 0] == DEEP[0, 3, 0]] = 255
    assert np.array_equal(decode(grey), expected)
    colour = png(16, 2, DEEP, tRNS=struct.pack(">HHH", *DEEP[2, 3]))
    upper[2, 3] = 255
    assert np.array_equal(decode(colour), upper)


PALETTE_ALPHA = bytes(range(0, 160, 16))
PNGS = {
    "rgb": (encode(RGB), RGB),
    "rgba": (encode(RGBA), on_white(RGB, ALPHA)),
    "grey": (encode(GREY), grey_rgb(GREY)),
    "palette 4": (png(4, 3, INDICES, PLTE=PALETTE.tobytes()), PALETTE[INDICES]),
    "palette 8": (png(8, 3, INDICES, PLTE=PALETTE.tobytes()), PALETTE[INDICES]),
    "palette alpha": (
        png(8, 3, INDICES, PLTE=PALETTE.tobytes(), tRNS=PALETTE_ALPHA),
        on_white(
            PALETTE[INDICES],
            np.frombuffer(PALETTE_ALPHA + b"\xff" * 6, np.uint8)[INDICES],
        ),
    ),
    "animated": (encode(Image.fromarray(RGB), save_all=True, append_images=OTHERS), RGB),
}


@pytest.mark.parametrize("kind", PNGS)
def test_png(kind: str) -> None:
    data, expected = PNGS[kind]
    assert difference(decode(data), expected) <= ("alpha" in kind or kind == "rgba")
    assert difference(decode(data), opencv(data)) <= 1


def test_an_interlaced_png() -> None:
    data = imagemagick(encode(RGB), "-interlace", "PNG", "png:-")
    assert data[28] == 1
    assert np.array_equal(decode(data), RGB)


def webp(pixels: np.ndarray, **options: Any) -> bytes:
    return encode(pixels, "WEBP", **options)


WEBPS = {
    "lossy": (webp(RGB, quality=95), RGB, 40),
    "lossless": (webp(RGB, lossless=True), RGB, 0),
    "alpha": (webp(RGBA, lossless=True, exact=True), on_white(RGB, ALPHA), 1),
    "lossy alpha": (webp(RGBA, quality=95), on_white(RGB, ALPHA), 40),
    "animated": (webp(RGB, lossless=True, save_all=True, append_images=OTHERS), RGB, 0),
}


@pytest.mark.parametrize("kind", WEBPS)
def test_webp(kind: str) -> None:
    data, expected, loss = WEBPS[kind]
    assert difference(decode(data), opencv(data)) <= 1
    assert difference(decode(data), expected) <= loss


@pytest.mark.parametrize("kind", GIFS)
def test_gif(kind: str) -> None:
    assert np.array_equal(decode(GIFS[kind]), PALETTE[INDICES])
    assert np.array_equal(opencv(GIFS[kind]), PALETTE[INDICES])


def test_a_transparent_gif() -> None:
    data = encode(PALETTE_IMAGE, "GIF", transparency=3)
    expected = PALETTE[INDICES]
    expected[INDICES == 3] = 255
    assert np.array_equal(decode(data), expected)
    assert np.array_equal(opencv(data), expected)


def test_around_the_first_frame_of_a_gif_there_is_nothing() -> None:
    """The canvas is made larger, and the frame moved."""
    data = bytearray(SMALL_GIF)
    data[6:10] = struct.pack("<HH", WIDTH + 9, HEIGHT + 5)
    frame = data.index(b",\0\0\0\0" + struct.pack("<HH", WIDTH, HEIGHT))
    data[frame + 1 : frame + 5] = struct.pack("<HH", 4, 2)
    expected = np.full((HEIGHT + 5, WIDTH + 9, 3), 255, np.uint8)
    expected[2 : 2 + HEIGHT, 4 : 4 + WIDTH] = PALETTE[INDICES]
    assert np.array_equal(decode(bytes(data)), expected)
    assert np.array_equal(magick_rgb(bytes(data)), expected)


@pytest.mark.parametrize("kind", BMPS)
def test_bmp(kind: str) -> None:
    data, expected, loss = BMPS[kind]
    assert difference(decode(data), expected) <= loss
    assert difference(decode(data), opencv(data)) <= max(loss, 1)


def test_a_run_length_encoded_bmp(monkeypatch: pytest.MonkeyPatch) -> None:
    data = run_length_encoded_bmp()
    assert np.array_equal(decode(data), PALETTE[INDICES])
    assert np.array_equal(opencv(data), PALETTE[INDICES])
    monkeypatch.setattr(openers, "_MAX_RLE_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(DecodeError, match="run-length encoded BMP"):
        decode(data)


def avif(pixels: np.ndarray, **options: Any) -> bytes:
    return encode(pixels, "AVIF", quality=95, **options)


AVIFS = {
    "420": (avif(RGB), RGB),
    "444": (avif(RGB, subsampling="4:4:4"), RGB),
    "grey": (avif(GREY), grey_rgb(GREY)),
    "alpha": (avif(RGBA, subsampling="4:4:4"), on_white(RGB, ALPHA)),
    "animated": (avif(RGB, save_all=True, append_images=OTHERS), RGB),
}


@pytest.mark.parametrize("kind", AVIFS)
def test_avif(kind: str) -> None:
    data, expected = AVIFS[kind]
    assert difference(decode(data), expected) <= 20
    assert difference(decode(data), opencv(data)) <= 2


def test_an_avif_of_ten_bits() -> None:
    data = imagecodecs.avif_encode(DEEP >> 6, level=95, bitspersample=10, pixelformat="444")
    expected = (imagecodecs.avif_decode(data) >> 2).astype(np.uint8)
    assert difference(decode(data), expected) <= 3
    assert difference(decode(data), RGB) <= 12
