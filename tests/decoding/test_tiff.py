"""TIFF files as tifffile, OpenCV, ImageMagick or their own pixels have it."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image

from tests.support.sample_images import (
    ALPHA,
    DEEP,
    GREY,
    HEIGHT,
    INDICES,
    PALETTE,
    RGB,
    RGBA,
    WIDTH,
    cmyk,
    difference,
    encode,
    grey_rgb,
    magick_rgb,
    on_white,
    opencv,
    packed,
    rgb_of_cmyk,
    stored,
    tiff,
)
from tuner.decoding.decode import decode
from tuner.decoding.formats import DecodeError

ORIENTATION = 274

UPPER = (DEEP >> 8).astype(np.uint8)
DEEP_ALPHA = ALPHA.astype(np.uint16) * 257
SIGNED = (GREY.astype(float) - 50) * 7
BILEVEL = GREY > 90
ORDERS = {"little": "<", "big": ">"}


def tifffile_rgb(data: bytes) -> np.ndarray:
    """How tifffile reads the first page: 8 bits, RGB."""
    pixels = tifffile.imread(BytesIO(data), key=0)
    if pixels.dtype == np.uint16:
        pixels = pixels >> 8
    if pixels.dtype == bool:
        pixels = pixels * 255
    return grey_rgb(pixels) if pixels.ndim == 2 else pixels.astype(np.uint8)


LAYOUTS = {
    "raw": {},
    "lzw": {"compression": "lzw"},
    "deflate": {"compression": "deflate"},
    "packbits": {"compression": "packbits"},
    "jpeg": {"compression": "jpeg"},
    "predictor": {"compression": "lzw", "predictor": True},
    "strips": {"rowsperstrip": 3},
    "lzw strips": {"rowsperstrip": 3, "compression": "lzw"},
    "tiles": {"tile": (16, 16)},
    "lzw tiles": {"tile": (16, 16), "compression": "lzw"},
}


@pytest.mark.parametrize("kind", [("<", False), (">", False), ("<", True)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, kind: tuple[str, bool]) -> None:
    order, big = kind
    data = tiff(RGB, bigtiff=big, byteorder=order, **LAYOUTS[layout])
    assert np.array_equal(decode(data), tifffile_rgb(data))
    assert difference(decode(data), RGB) <= (40 if layout == "jpeg" else 0)


OLD = PIL.__version__.startswith("11.")
ZSTD = pytest.param("zstd", marks=pytest.mark.skipif(OLD, reason="Pillow's wheels had it not"))


@pytest.mark.parametrize("compression", ["lzma", ZSTD])
def test_rare_compressions(compression: str) -> None:
    data = encode(RGB, "TIFF", compression=compression)
    assert np.array_equal(decode(data), RGB)


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_colours_in_planes(compression: str | None) -> None:
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    options = {"planarconfig": "separate", "photometric": "rgb", "compression": compression}
    assert np.array_equal(decode(tiff(planes, **options)), RGB)


def test_subsampled_jpeg() -> None:
    data = encode(RGB, "TIFF", compression="jpeg")
    assert difference(decode(data), opencv(data)) <= 1


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("order", ORDERS)
class TestNumbers:
    """Of every kind that Pillow can read."""

    def test_16_bits_keep_the_upper_eight(self, order: str, compression: str | None) -> None:
        options = {"byteorder": ORDERS[order], "compression": compression}
        for pixels in (DEEP, DEEP[..., 0].copy()):
            data = tiff(pixels, **options)
            assert np.array_equal(decode(data), tifffile_rgb(data))
            assert np.array_equal(decode(data), opencv(data))

    def test_white_is_zero(self, order: str, compression: str | None) -> None:
        options = {"byteorder": ORDERS[order], "compression": compression}
        for pixels in (GREY, DEEP[..., 0].copy(), BILEVEL):
            data = tiff(pixels, photometric="miniswhite", **options)
            assert np.array_equal(decode(data), 255 - tifffile_rgb(data))
        fractions = tiff((GREY / 255).astype(np.float32), photometric="miniswhite", **options)
        assert np.array_equal(decode(fractions), grey_rgb(255 - GREY))

    def test_fractions_to_one(self, order: str, compression: str | None) -> None:
        pixels = (GREY / 255).astype(np.float32)
        data = tiff(pixels * 0.5, byteorder=ORDERS[order], compression=compression)
        assert difference(decode(data), grey_rgb(np.rint(GREY * 0.5))) <= 1

    @pytest.mark.parametrize("dtype", [np.float32, np.int16, np.int32])
    def test_others_are_stretched(
        self, order: str, compression: str | None, dtype: type[Any]
    ) -> None:
        data = tiff(SIGNED.astype(dtype), byteorder=ORDERS[order], compression=compression)
        expected = (SIGNED - SIGNED.min()) * 255 / (SIGNED.max() - SIGNED.min())
        assert difference(decode(data), grey_rgb(np.rint(expected))) <= 1


def test_unsigned_32_bits_are_stretched() -> None:
    expected = (GREY - 4.0) * 255 / 251
    data = tiff(GREY.astype(np.uint32) * 16_000_000)
    assert difference(decode(data), grey_rgb(np.rint(expected))) <= 1


def test_what_is_no_number_is_black() -> None:
    pixels = (GREY / 255).astype(np.float32)
    pixels[0, 0], pixels[0, 1] = np.nan, np.inf
    pixels.view(np.uint32)[0, 2] = 0x7FA00000  # a NaN that makes NumPy warn
    expected = grey_rgb(GREY)
    expected[0, 0], expected[0, 1], expected[0, 2] = 0, 255, 0
    assert np.array_equal(decode(tiff(pixels)), expected)


def test_one_value_everywhere() -> None:
    assert decode(tiff(np.full((4, 4), 7.5, np.float32))).tolist() == [[[255] * 3] * 4] * 4
    assert decode(tiff(np.zeros((4, 4), np.float32))).tolist() == [[[0] * 3] * 4] * 4


def test_12_bits_keep_the_upper_eight() -> None:
    pixels = packed(DEEP[..., 0] >> 4, 12)
    tags = ((256, WIDTH), (257, HEIGHT), (258, 12), (259, 1), (262, 1), (273, 110), (277, 1))
    fields = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    fields.append(struct.pack("<HHII", 279, 4, 1, len(pixels)))
    head = b"II*\0" + struct.pack("<IH", 8, len(fields))
    data = (b"".join([head, *fields]) + b"\0" * 4) + pixels
    assert data.index(pixels) == 110
    assert np.array_equal(decode(data), grey_rgb(UPPER[..., 0]))


FAINT = ALPHA[..., None] / 255
ALPHAS = {
    "straight": (RGBA, "unassalpha", on_white(RGB, ALPHA)),
    "multiplied": (
        np.dstack([np.rint(RGB * FAINT).astype(np.uint8), ALPHA]),
        "assocalpha",
        on_white(RGB, ALPHA),
    ),
    "16 bits": (np.dstack([DEEP, DEEP_ALPHA]), "unassalpha", on_white(UPPER, ALPHA)),
    "no alpha": (RGBA, "unspecified", RGB),
    "grey": (np.dstack([GREY, ALPHA]), "unassalpha", on_white(grey_rgb(GREY), ALPHA)),
}


@pytest.mark.parametrize("kind", ALPHAS)
def test_alpha_is_laid_on_white(kind: str) -> None:
    pixels, extra, expected = ALPHAS[kind]
    photometric = "minisblack" if kind == "grey" else "rgb"
    data = tiff(pixels, extrasamples=extra, photometric=photometric, planarconfig="contig")
    assert difference(decode(data), expected) <= 1


def test_palette() -> None:
    colours = np.zeros((256, 3), np.uint16)
    colours[:16] = PALETTE.astype(np.uint16) * 257
    data = tiff(INDICES, photometric="palette", colormap=colours.T.copy())
    assert np.array_equal(decode(data), PALETTE[INDICES])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk(dtype: type[Any]) -> None:
    inks = cmyk().astype(dtype) * (257 if dtype is np.uint16 else 1)
    data = tiff(inks, photometric="separated")
    assert difference(decode(data), rgb_of_cmyk(cmyk())) <= 1


def test_lab() -> None:
    pixels = np.dstack([GREY, np.full_like(GREY, 20), np.full_like(GREY, 236)])
    data = tiff(pixels, photometric="cielab")
    assert difference(decode(data), magick_rgb(data)) <= 6


@pytest.mark.parametrize("compression", [None, "group3", "group4"])
def test_fax(compression: str | None) -> None:
    data = encode(Image.fromarray(BILEVEL), "TIFF", compression=compression)
    assert np.array_equal(decode(data), grey_rgb(BILEVEL * 255))
    assert np.array_equal(decode(data), opencv(data))


def test_of_several_pages_the_first() -> None:
    pages = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    data = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert np.array_equal(decode(data), RGB)


@pytest.mark.parametrize("layout", ["raw", "lzw", "jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int, layout: str) -> None:
    tag = (ORIENTATION, "H", 1, orientation, True)
    data = tiff(stored(RGB, orientation), extratags=[tag], **LAYOUTS[layout])
    assert difference(decode(data), RGB) <= (40 if layout == "jpeg" else 0)
    if layout != "jpeg":  # ImageMagick turns that one twice
        assert np.array_equal(magick_rgb(data, "-auto-orient", "+repage"), RGB)


@pytest.mark.filterwarnings("error")
def test_broken_tags_that_no_pixel_needs_do_not_count() -> None:
    data = bytearray(tiff(RGB, extratags=[(270, "s", 9, "something", True)], software="x" * 40))
    place = data.index(struct.pack("<HHI", 305, 2, 41))
    data[place + 4 : place + 12] = b"\xff" * 8
    assert np.array_equal(decode(bytes(data)), RGB)


def test_unsupported_kinds_are_named() -> None:
    for data in (
        tiff(RGB.astype(np.float32)),
        tiff(GREY.astype(np.float64)),
        tiff(RGB, compression="webp"),
        tiff(RGB[..., 0].copy(), compression="jpegxl"),
    ):
        with pytest.raises(DecodeError, match="it is a kind of TIFF image that is not supported"):
            decode(data)


def test_ycbcr_without_compression_is_not_supported() -> None:
    pixels = np.dstack([GREY, np.full_like(GREY, 100), np.full_like(GREY, 150)])
    data = tiff(pixels, photometric="ycbcr", subsampling=(1, 1))
    with pytest.raises(DecodeError, match="it is a kind of TIFF image that is not supported"):
        decode(data)


@pytest.mark.parametrize("layout", ["raw", "lzw", "strips", "tiles"])
def test_a_tiff_that_is_cut_short(layout: str) -> None:
    with pytest.raises(DecodeError, match="it is cut short"):
        decode(tiff(RGB, **LAYOUTS[layout])[:-20])


@pytest.mark.parametrize(
    "options",
    [
        {"extratags": [(50706, "B", 4, (1, 4, 0, 0), True)]},
        {"subfiletype": 1},
    ],
)
def test_a_raw_file_is_not_the_small_picture_in_it(options: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="it is a camera's raw file, which is not supported"):
        decode(tiff(RGB, **options))


def test_a_tag_of_many_values() -> None:
    data = tiff(RGB, extratags=[(532, "I", 150_000, [0] * 150_000, True)])
    assert np.array_equal(decode(data), RGB)


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\0" * 99])
def test_a_broken_exif_block_has_no_orientation(exif: bytes) -> None:
    assert np.array_equal(decode(encode(RGB, exif=exif)), RGB)
