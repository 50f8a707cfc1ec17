"""Turn images upright, as EXIF asks, without a second copy in memory."""

import contextlib

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile


def orientation_of(image: ImageFile) -> int:
    """EXIF's orientation, 1 to 8; 1 if the block is broken, as in many sound photos."""
    block = image.info.get("exif")
    if not block:
        return 1
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        exif.load(block)
        if exif.get(ExifTags.Base.Orientation) in range(1, 9):
            return int(exif[ExifTags.Base.Orientation])
    return 1


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """A view of `upright` in the order of the pixels in the file."""
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    return upright.transpose(1, 0, 2) if orientation >= 5 else upright
