"""Each format as something other than Pillow reads it. TIFF has a file of its own."""

import struct
from collections.abc import Callable
from typing import Any

import cv2
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
    bmp,
    difference,
    encode,
    imagemagick,
    magick_rgb,
    on_white,
    opencv,
    packed,
    png,
)
from tuner.decode import decode

PALETTE_IMAGE = Image.fromarray(INDICES)
PALETTE_IMAGE.putpalette(PALETTE.tobytes())
FRAMES = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
CMYK = Image.fromarray(RGBA.copy(), "CMYK") if False else Image.merge(
    "CMYK", [Image.fromarray(band) for band in (*RGB.transpose(2, 0, 1), GREY // 2)]
)


def jpeg(**options: Any) -> bytes:
    return encode(RGB, "JPEG", quality=90, **options)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(subsampling=0),
        jpeg(subsampling=1),
        jpeg(progressive=True),
        jpeg(restart_marker_rows=1),
        encode(GREY, "JPEG"),
        encode(CMYK, "JPEG", quality=95),
    ],
    ids=["420", "444", "422", "progressive", "restarts", "grey", "cmyk"],
)
def test_jpeg(data: bytes) -> None:
    assert difference(decode(data), opencv(data)) <= 1
