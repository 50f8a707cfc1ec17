"""Small pictures for the page: JPEG as data: addresses, with a heat map over them or without."""

import base64
import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tuner.data.dataset import ImageFile
from tuner.decoding.decode import decode, read_bytes
from tuner.decoding.formats import DecodeError
from tuner.errors import DataError

SIDE = 152  # pixels; a column of a narrow telephone
_QUALITY = 80
_OPACITY = 0.6
# Dark violet over red to yellow, as matplotlib's "inferno" without its black.
_HEAT = np.array(
    [(66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)], float
)


def picture(file: ImageFile, root: Path, crop: bool = False) -> np.ndarray:
    """An image as the network sees it, squashed or cropped to a square, but in a size to look at.

    Args:
        file: its path is relative to `root`.
        root: folder of the images.
        crop: whether the centre square is taken.

    Returns:
        uint8, shape (SIDE, SIDE, 3).

    Raises:
        DataError: it is gone, or no longer what the search read.
    """
    path = root / file.path
    try:
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise DataError(f"{file.path} has changed since the search.")
        image = Image.fromarray(decode(data))
    except DecodeError as error:
        raise DataError(f"{file.path} can no longer be read: {error.reason}.") from error
    size, resample = (SIDE, SIDE), Image.Resampling.LANCZOS
    return np.asarray(ImageOps.fit(image, size, resample) if crop else image.resize(size, resample))


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture with a heat map over it, the stronger the hotter.

    Args:
        pixels: uint8, shape (height, width, 3).
        heat: 0 to 1, shape (rows, columns), of any size.
    """
    height, width = pixels.shape[:2]
    smooth = Image.fromarray(heat.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    warm = np.clip(np.asarray(smooth), 0, 1)[..., np.newaxis]
    places = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(warm[..., 0], places, _HEAT[:, c]) for c in range(3)], axis=-1)
    grey = pixels.mean(axis=-1, keepdims=True)  # the picture's own colours would look like heat
    return ((1 - _OPACITY) * grey + _OPACITY * colours).round().astype(np.uint8)


def data_address(pixels: np.ndarray) -> str:
    """The picture as a JPEG in a data: address.

    Args:
        pixels: uint8, shape (height, width, 3).
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
