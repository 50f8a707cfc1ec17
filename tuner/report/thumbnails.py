"""Small pictures for the page: JPEG as data: addresses, with a heat map over them or without."""

import base64
import hashlib
import io
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Shown:
    """An image on the page.

    Attributes:
        path: of the file, relative to the dataset's root.
        label: its class.
        other: the class that is predicted.
        confidence: the probability of that class, 0 to 1.
        own: the probability of the label's class.
        picture: JPEG as a data: address; None where the file cannot be shown, as `problem` says.
        heat: the same with the heat map over it; None where there is none.
    """

    path: str
    label: str
    other: str
    confidence: float
    own: float
    picture: str | None = None
    heat: str | None = None
    problem: str = ""


def picture(file: ImageFile, root: Path, crop: bool = False) -> np.ndarray:
    """An image below `root`, squashed or cropped to a square: uint8, shape (SIDE, SIDE, 3).

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
    """A `picture` with a heat map over it: 0 to 1, shape (rows, columns)."""
    size = pixels.shape[1::-1]
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    warm = Image.fromarray((255 * np.clip(np.asarray(smooth), 0, 1)).astype(np.uint8))
    colours = ImageOps.colorize(warm, black="#420a68", mid="#dd513a", white="#fcffa4")
    grey = Image.fromarray(pixels).convert("L").convert("RGB")  # colours would look like heat
    return np.asarray(Image.blend(grey, colours, _OPACITY))


def data_address(pixels: np.ndarray) -> str:
    """The picture as a JPEG in a data: address."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
