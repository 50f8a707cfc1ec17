"""An opened image -> its RGB pixels, a band of rows at a time."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tuner.decoding.colour import to_srgb
from tuner.decoding.openers import Opened

_BAND_PIXELS = 1_000_000


def rgb_pixels(opened: Opened) -> np.ndarray:
    """Decodes an image, not yet upright.

    Integers of 9 to 16 bits keep their upper eight. Fractions between 0 and 1 are multiplied by
    255; other fractions, and integers of 32 bits or with a sign, are stretched from their least to
    their greatest. What is no number is black.

    Returns:
        uint8, shape (height, width, 3).
    """
    image = opened.image
    image.load()
    eight_bits = _eight_bits(opened)
    result = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        pixels = np.asarray(to_srgb(eight_bits(band), opened.profile))
        result[top : top + band.height] = pixels
    _clear_outside(result, opened.box)
    return result


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Rows of the image from the top, as (first row, band): few enough to be copied."""
    rows = max(1, _BAND_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        height = min(rows, image.height - top)
        # crop() would apply Pillow's own limit.
        box = (0, top, image.width, top + height)
        yield top, image.resize((image.width, height), Image.Resampling.NEAREST, box)


def _eight_bits(opened: Opened) -> Callable[[Image.Image], Image.Image]:
    """What makes a band's mode one of 8 bits."""
    image = opened.image
    if image.mode.startswith("I;16"):
        shift = max(opened.bits - 8, 0)
        clear = image.info.get("transparency")
        return lambda band: _grey(np.asarray(band) >> shift, opened, np.asarray(band) == clear)
    if image.mode in ("I", "F"):
        least, greatest = _range(opened)
        scale = 255 / (greatest - least)
        return lambda band: _grey((_values(opened, band) - least) * scale, opened)
    return lambda band: band


def _grey(values: np.ndarray, opened: Opened, clear: np.ndarray | None = None) -> Image.Image:
    """Values from 0 to 255 as an image; where `clear`, white."""
    values = np.nan_to_num(values, nan=0, posinf=255, neginf=0)
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if opened.white_is_zero:
        grey = 255 - grey
    if clear is not None:
        grey[clear] = 255
    return Image.fromarray(grey)


def _range(opened: Opened) -> tuple[float, float]:
    """The values that become black and white."""
    least, greatest = np.inf, -np.inf
    for _, band in _bands(opened.image):
        values = _values(opened, band)
        values = values[np.isfinite(values)]
        least = min(least, values.min(initial=np.inf))
        greatest = max(greatest, values.max(initial=-np.inf))
    if not least < greatest or (opened.image.mode == "F" and least >= 0 and greatest <= 1):
        return 0.0, 1.0
    return float(least), float(greatest)


def _values(opened: Opened, band: Image.Image) -> np.ndarray:
    values = np.asarray(band)
    unsigned = opened.unsigned and band.mode == "I"
    with np.errstate(invalid="ignore"):  # what is no number, in some spellings
        return values.astype(np.uint32 if unsigned else values.dtype).astype(np.float64)


def _clear_outside(pixels: np.ndarray, box: tuple[int, int, int, int] | None) -> None:
    if box is not None:
        left, top, right, bottom = box
        pixels[:top] = pixels[bottom:] = 255
        pixels[:, :left] = pixels[:, right:] = 255
