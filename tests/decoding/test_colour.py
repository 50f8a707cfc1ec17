"""Colour profiles, made here by the ICC's specification, against the same arithmetic in NumPy.

The specification: https://www.color.org/specification/ICC1v43_2010-12.pdf
"""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.support.colour_profiles import (
    ADOBE,
    D50,
    GAMMA,
    INK,
    PAPER,
    PROFILE,
    SRGB,
    bmp_with_profile,
    cmyk_profile,
    grey_profile,
    icc,
    rgb_profile,
    text,
    xyz,
)
from tests.support.sample_images import (
    ALPHA,
    GREY,
    HEIGHT,
    RGB,
    RGBA,
    WIDTH,
    cmyk,
    difference,
    encode,
    grey_rgb,
    magick_rgb,
    on_white,
    rgb_of_cmyk,
)
from tuner.decoding.decode import decode


def srgb_of_xyz(colours: np.ndarray) -> np.ndarray:
    """XYZ under D50, on the last axis, as sRGB of 8 bits."""
    linear = np.clip(colours @ np.linalg.inv(SRGB).T, 0, 1)
    shares = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(shares * 255).astype(np.uint8)


def from_adobe(pixels: np.ndarray) -> np.ndarray:
    return srgb_of_xyz((pixels / 255) ** GAMMA @ ADOBE.T)


def from_lab(light: float, a: float, b: float) -> np.ndarray:
    middle = (light + 16) / 116
    roots = np.array([middle + a / 500, middle, middle - b / 200])
    shares = np.where(roots > 6 / 29, roots**3, (roots - 4 / 29) * 3 * (6 / 29) ** 2)
    return srgb_of_xyz(shares * D50)


EXACT = {
    "PNG": encode(RGB, "PNG", icc_profile=PROFILE),
    "WebP": encode(RGB, "WEBP", lossless=True, icc_profile=PROFILE),
    "TIFF": encode(RGB, "TIFF", icc_profile=PROFILE),
    "BMP": bmp_with_profile(PROFILE),
}


def test_the_profile_makes_a_difference() -> None:
    """More than the tolerances below."""
    assert difference(from_adobe(RGB), RGB) > 50


@pytest.mark.parametrize("kind", EXACT)
def test_a_profile_is_converted(kind: str) -> None:
    assert difference(decode(EXACT[kind]), from_adobe(RGB)) <= 2


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_a_profile_of_a_lossy_format_is_converted(kind: str) -> None:
    options = {"quality": 98, "subsampling": "4:4:4"}
    plain = decode(encode(RGB, kind, **options))
    tagged = decode(encode(RGB, kind, icc_profile=PROFILE, **options))
    assert difference(tagged, from_adobe(plain)) <= 2


def test_a_profile_is_converted_as_imagemagick_does(tmp_path: Path) -> None:
    srgb = tmp_path / "srgb.icc"
    srgb.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data = EXACT["PNG"]
    assert difference(decode(data), magick_rgb(data, "-profile", str(srgb))) <= 2


def test_a_profile_in_many_segments_of_a_jpeg() -> None:
    long = rgb_profile(zzzz=b"\0" * 200_000)
    options = {"quality": 98, "subsampling": 0}
    data = encode(RGB, "JPEG", icc_profile=long, **options)
    assert data.count(b"ICC_PROFILE") == 4
    assert difference(decode(data), from_adobe(decode(encode(RGB, "JPEG", **options)))) <= 2


def test_alpha_is_laid_on_white_after_the_conversion() -> None:
    data = encode(RGBA, icc_profile=PROFILE)
    assert difference(decode(data), on_white(from_adobe(RGB), ALPHA)) <= 2


def test_palettes_and_greys_of_an_rgb_profile() -> None:
    palette = Image.fromarray(RGB).quantize(16)
    expected = from_adobe(np.asarray(palette.convert("RGB")))
    assert difference(decode(encode(palette, icc_profile=PROFILE)), expected) <= 2

    assert difference(decode(encode(GREY, icc_profile=PROFILE)), from_adobe(grey_rgb(GREY))) <= 2


def test_a_grey_profile() -> None:
    linear = (GREY / 255)[..., None] * D50
    expected = srgb_of_xyz(linear)
    assert difference(expected, grey_rgb(GREY)) > 60
    data = encode(GREY, icc_profile=grey_profile(1.0))
    assert difference(decode(data), expected) <= 2
    both = encode(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), "TIFF")
    assert difference(decode(both), on_white(grey_rgb(GREY), ALPHA)) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_cmyk_profile(kind: str) -> None:
    for cyan, lab in ((0, PAPER), (255, INK)):
        image = Image.new("CMYK", (16, 16), (cyan, 200, 10, 0))
        data = encode(image, kind, icc_profile=cmyk_profile())
        expected = np.broadcast_to(from_lab(*lab), (16, 16, 3))
        assert difference(decode(data), expected) <= 6
        assert difference(decode(encode(image, kind)), expected) > 60


def srgb(points: int) -> bytes:
    """A profile whose curve has so many points; converting from it rounds differently."""
    shares = np.arange(points) / (points - 1)
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    table = b"curv\0\0\0\0" + struct.pack(
        f">I{points}H", points, *np.rint(linear * 65535).astype(int)
    )
    tags = {
        name + kind: tag
        for name, column in zip((b"r", b"g", b"b"), SRGB.T, strict=True)
        for kind, tag in ((b"XYZ", xyz(column)), (b"TRC", table))
    }
    return icc(b"RGB ", b"XYZ ", text() | {b"wtpt": xyz(D50)} | tags)


OURS = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("profile", [OURS, srgb(1024), srgb(26)], ids=["lcms", "1024", "26"])
def test_srgb_changes_no_pixel(profile: bytes) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    assert np.array_equal(decode(encode(pixels, icc_profile=profile)), pixels)


BROKEN = {
    "empty": b"",
    "text": b"not a profile" * 20,
    "cut": PROFILE[:300],
    "tags past the end": PROFILE[:132] + b"\xff" * 60 + PROFILE[192:],
    "for CMYK": cmyk_profile(),
    "for grey": grey_profile(1.0),
    "too long": PROFILE + b"\0" * (5 << 20),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_profile_that_cannot_be_used_is_passed_over(kind: str) -> None:
    for file_kind in ("PNG", "TIFF"):
        data = encode(RGB, file_kind, icc_profile=BROKEN[kind])
        assert np.array_equal(decode(data), RGB)


def test_cmyk_with_a_profile_for_rgb() -> None:
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), cmyk().tobytes())
    data = encode(image, "TIFF", icc_profile=PROFILE)
    assert difference(decode(data), rgb_of_cmyk(cmyk())) <= 1
