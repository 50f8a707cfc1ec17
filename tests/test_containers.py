"""Each format as something other than Pillow reads it. TIFF has a file of its own."""

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from sample_images import (
    ALPHA,
    DEEP,
    GREY,
    HEIGHT,
    INDICES,
    PALETTE,
    RGB,
    RGBA,
    WIDTH,
    bmp,
    cmyk,
    difference,
    encode,
    grey_rgb,
    imagemagick,
    magick_rgb,
    on_white,
    opencv,
    packed,
    png,
    rgb_of_cmyk,
)

from tuner import containers
from tuner.decode import DecodeError, decode

PALETTE_IMAGE = Image.fromarray(INDICES)
PALETTE_IMAGE.putpalette(PALETTE.tobytes())
OTHERS = [Image.fromarray(RGB[::-1].copy())]
DEEP_ALPHA = ALPHA.astype(np.uint16) * 257
SMALL_GIF = encode(PALETTE_IMAGE, "GIF")


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
    monkeypatch.setattr(containers, "_MAX_SCANNED_PIXELS", scans * WIDTH * HEIGHT)
    assert decode(JPEGS["progressive"]).shape == RGB.shape
    monkeypatch.setattr(containers, "_MAX_SCANNED_PIXELS", scans * WIDTH * HEIGHT - 1)
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


GIFS = {
    "still": SMALL_GIF,
    "not interlaced": encode(PALETTE_IMAGE, "GIF", interlace=0),
    "animated": encode(PALETTE_IMAGE, "GIF", save_all=True, append_images=OTHERS),
}


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


def bmp_16(red: int, green: int, blue: int) -> list[bytes]:
    """Rows of 16-bit pixels of so many bits a colour."""
    values = RGB.astype(int) >> [8 - red, 8 - green, 8 - blue]
    pixels = values[..., 0] << green + blue | values[..., 1] << blue | values[..., 2]
    return [row.astype("<u2").tobytes() for row in pixels[::-1]]


BGRA_ROWS = [row.tobytes() for row in RGBA[::-1, :, [2, 1, 0, 3]]]
BMP_PALETTE = b"".join(bytes(colour[::-1]) + b"\0" for colour in PALETTE)
BMPS = {
    "24": (encode(RGB, "BMP"), RGB, 0),
    "8 grey": (encode(GREY, "BMP"), grey_rgb(GREY), 0),
    "8 palette": (encode(PALETTE_IMAGE, "BMP"), PALETTE[INDICES], 0),
    "4": (bmp(4, [packed(row, 4) for row in INDICES[::-1]], BMP_PALETTE), PALETTE[INDICES], 0),
    "1": (encode(Image.fromarray(GREY > 90), "BMP"), grey_rgb((GREY > 90) * 255), 0),
    "16": (bmp(16, bmp_16(5, 5, 5)), RGB, 7),
    "565": (
        bmp(16, bmp_16(5, 6, 5), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F), compression=3),
        RGB,
        7,
    ),
    "32": (bmp(32, BGRA_ROWS), RGB, 0),
    "32 alpha": (
        bmp(
            32,
            BGRA_ROWS,
            masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000),
            compression=3,
            header_bytes=108,
        ),
        on_white(RGB, ALPHA),
        1,
    ),
    "from the top": (bmp(24, [row.tobytes() for row in RGB[..., ::-1]], height=-HEIGHT), RGB, 0),
}


@pytest.mark.parametrize("kind", BMPS)
def test_bmp(kind: str) -> None:
    data, expected, loss = BMPS[kind]
    assert difference(decode(data), expected) <= loss
    assert difference(decode(data), opencv(data)) <= max(loss, 1)


def run_length_encoded_bmp() -> bytes:
    """Each row as runs of one pixel, then the end of the row."""
    rows = [b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in INDICES[::-1]]
    return bmp(8, [b"".join(rows) + b"\0\1"], BMP_PALETTE.ljust(1024, b"\0"), compression=1)


def test_a_run_length_encoded_bmp(monkeypatch: pytest.MonkeyPatch) -> None:
    data = run_length_encoded_bmp()
    assert np.array_equal(decode(data), PALETTE[INDICES])
    assert np.array_equal(opencv(data), PALETTE[INDICES])
    monkeypatch.setattr(containers, "_MAX_RLE_PIXELS", WIDTH * HEIGHT - 1)
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
