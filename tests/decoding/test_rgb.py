"""Kinds of numbers are in test_tiff.py, which alone has them all."""

import numpy as np
import pytest

from tests.support.sample_images import GREY, RGB, RGBA, WIDTH, difference, encode, grey_rgb, tiff
from tuner.decoding.decode import decode

FILES = {
    "JPEG": encode(RGB, "JPEG"),
    "PNG": encode(RGB),
    "alpha": encode(RGBA),
    "grey": encode(GREY),
    "palette": encode(GREY, "GIF", transparency=30),
    "16 bits": tiff(GREY.astype(np.uint16) * 250),
    "fractions": tiff(GREY.astype(np.float32) * 3),
}


@pytest.mark.parametrize("rows", [1, 7, 15])
@pytest.mark.parametrize("kind", FILES)
def test_bands_make_the_whole(kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decode(FILES[kind])
    monkeypatch.setattr("tuner.decoding.rgb._BAND_PIXELS", rows * WIDTH)
    assert np.array_equal(decode(FILES[kind]), whole)


def test_fractions_of_all_bands_have_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.decoding.rgb._BAND_PIXELS", WIDTH)
    expected = grey_rgb(np.rint((GREY - 4.0) * 255 / 251))
    assert difference(decode(FILES["fractions"]), expected) <= 1
