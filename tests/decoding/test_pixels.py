"""Each format as something other than Pillow reads it. TIFF is in test_tiff.py."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.support.colour_profiles import PROFILE
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
    png_chunk,
    rgb_of_cmyk,
    run_length_encoded_bmp,
    tiff,
)
from tuner.decoding import pixels as pixels_module
from tuner.decoding.decode import decode
from tuner.decoding.formats import DecodeError
from tuner.decoding.pixels import write_pixels

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
    monkeypatch.setattr(pixels_module, "_MAX_SCANNED_PIXELS", scans * WIDTH * HEIGHT)
    assert write_pixels(JPEGS["progressive"], Here()).shape == RGB.shape
    monkeypatch.setattr(pixels_module, "_MAX_SCANNED_PIXELS", scans * WIDTH * HEIGHT - 1)
    with pytest.raises(DecodeError, match=rf"it has {scans} scans, too many for its size"):
        write_pixels(JPEGS["progressive"], Here())


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


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P2\n# grey\n2 2\n255\n0 10\n20 255\n", [[0, 10], [20, 255]]),
        (b"P5 2 1 255\n\x07\x09", [[7, 9]]),
        (b"P5\n2 1\n65535\n\x12\x34\xff\xff", [[0x12, 0xFF]]),
        (b"P1\n3 1\n0 1 0\n", [[255, 0, 255]]),
        (b"P4\n3 1\n\x40", [[255, 0, 255]]),
    ],
)
def test_grey_of_portable_maps(data: bytes, expected: list[list[int]]) -> None:
    assert decode(data)[..., 0].tolist() == expected


def test_colour_of_portable_maps() -> None:
    header = b"P6\n%d %d\n255\n" % (WIDTH, HEIGHT)
    assert np.array_equal(decode(header + RGB.tobytes()), RGB)
    with pytest.raises(DecodeError, match="it is cut short"):
        decode(header + RGB.tobytes()[:-9])


def test_a_run_length_encoded_bmp() -> None:
    data = run_length_encoded_bmp()
    assert np.array_equal(decode(data), PALETTE[INDICES])
    assert np.array_equal(opencv(data), PALETTE[INDICES])


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


def test_a_heic_photo() -> None:
    """Four times as large as RGB, encoded by libheif, and turned as a phone held upright does."""
    data = (Path(__file__).parents[1] / "support" / "turned.heic").read_bytes()
    expected = RGB.repeat(4, axis=0).repeat(4, axis=1)
    assert difference(decode(data), expected) <= 20
    with pytest.raises(DecodeError, match="it is cut short"):
        decode(data[:-100])


def test_of_a_jpeg_with_a_second_picture_the_first() -> None:
    """As phones write it for stereo and gain maps: https://www.cipa.jp/std/documents/e/DC-007_E.pdf"""
    both = encode(Image.fromarray(RGB), "MPO", save_all=True, append_images=OTHERS)
    assert both.count(b"\xff\xd8\xff") == 2
    assert np.array_equal(decode(both), decode(encode(RGB, "JPEG")))


class Here:
    """Room for pixels in this process."""

    def wait_for_turn(self, pixels: int) -> None:
        pass

    def allocate(self, height: int, width: int) -> np.ndarray:
        return np.empty((height, width, 3), np.uint8)


BANDED = {
    "JPEG": encode(RGB, "JPEG"),
    "PNG": encode(RGB),
    "alpha": encode(RGBA),
    "grey": encode(GREY),
    "palette": encode(GREY, "GIF", transparency=30),
    "16 bits": tiff(GREY.astype(np.uint16) * 250),
    "fractions": tiff(GREY.astype(np.float32) * 3),
}


@pytest.mark.parametrize("rows", [1, 7, 15])
@pytest.mark.parametrize("kind", BANDED)
def test_bands_make_the_whole(kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decode(BANDED[kind])
    monkeypatch.setattr(pixels_module, "_BAND_PIXELS", rows * WIDTH)
    assert np.array_equal(write_pixels(BANDED[kind], Here()), whole)


def test_fractions_of_all_bands_have_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels_module, "_BAND_PIXELS", WIDTH)
    expected = grey_rgb(np.rint((GREY - 4.0) * 255 / 251))
    assert difference(write_pixels(BANDED["fractions"], Here()), expected) <= 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_too_large_for_memory_is_decoded_smaller(
    progressive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    smooth = Image.fromarray(RGB).resize((160, 120), Image.Resampling.BICUBIC)
    data = encode(smooth, "JPEG", progressive=progressive)
    held = 3 * 19_200 if progressive else 0  # coefficients, whatever the scale
    whole = decode(data).astype(int)
    for limit, scale in ((7 * 19_200, 1), (40_000 + held, 2), (10_000 + held, 4)):
        monkeypatch.setattr(pixels_module, "MAX_MEMORY_BYTES", limit + len(data))
        small = write_pixels(data, Here())
        assert small.shape == (120 // scale, 160 // scale, 3)
        means = whole.reshape(120 // scale, scale, 160 // scale, scale, 3).mean((1, 3))
        assert np.abs(small - means).mean() < 10


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no end of the name",
        b"name\0\0not deflated",
        b"name\0\0" + zlib.compress(PROFILE)[:-9],
    ],
)
def test_a_broken_profile_of_a_png_is_passed_over(body: bytes) -> None:
    data = encode(RGB)
    assert np.array_equal(decode(data[:33] + png_chunk(b"iCCP", body) + data[33:]), RGB)


def test_long_texts_of_a_png_are_passed_over() -> None:
    data = encode(RGB)
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 5_000_000))
    assert np.array_equal(decode(data[:33] + text + data[33:]), RGB)


def test_comments_and_odd_segments_of_a_jpeg_are_passed_over() -> None:
    bare = encode(RGB, "JPEG")
    odd = b"\xff\xfe\0\x06text"
    odd += b"\xff\xed\0\x0ePhotoshop 3." + b"\xff\xff\xff"  # the last is padding
    assert np.array_equal(decode(bare[:2] + odd + bare[2:]), decode(bare))
