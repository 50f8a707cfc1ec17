"""Bytes to RGB pixels, or the reason why not.

What an image is, is decided by its content: a name says nothing. Whatever Pillow makes of damaged
bytes, a caller sees one exception with one short reason.
"""

import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from tuner.errors import DataError

MAX_PIXELS = 250_000_000

# The classes are called directly since Image.open has a limit of its own, which can be changed only
# for the whole process.
_READERS: dict[bytes, type[ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
}
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class DecodeError(DataError):
    """An image cannot be read; `reason` is a short phrase such as "it is cut short"."""

    def __init__(self, reason: str) -> None:
        """Takes the reason, which is the whole message."""
        super().__init__(reason)
        self.reason = reason


def decode(data: bytes) -> np.ndarray:
    """The upright RGB pixels of a JPEG or PNG file, uint8, shape (height, width, 3).

    The EXIF orientation is obeyed, transparency is laid on white, grey, palette and CMYK images
    become RGB, and 16-bit values keep their upper eight bits.

    Raises:
        DecodeError: the bytes are no image, are damaged or cut short, or claim more than
            `MAX_PIXELS` pixels, which is seen before any is decoded.
    """
    reader = _reader(data)
    try:
        image = reader(BytesIO(data))
        if image.width * image.height <= MAX_PIXELS:
            image.load()
            return np.array(_upright(_to_rgb(image), _orientation(image)))
    except Exception as error:  # Pillow's parsers let out nearly any type, MemoryError included
        raise DecodeError(_reason(error)) from error
    size = f"{image.width} x {image.height} pixels"
    raise DecodeError(f"it claims {size}, more than the {MAX_PIXELS // 10**6} million allowed")


def read_image(path: Path) -> np.ndarray:
    """The pixels of a file, as `decode` returns them.

    Raises:
        DecodeError: the file cannot be read or decoded.
    """
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DecodeError: it cannot be read, e.g. "permission denied".
    """
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise DecodeError("permission denied") from error
    except FileNotFoundError as error:
        raise DecodeError("not found") from error
    except (OSError, MemoryError) as error:
        detail = getattr(error, "strerror", None) or "it does not fit into memory"
        raise DecodeError(f"it cannot be read: {detail}") from error


def on_all_cores(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """`map` on a thread for each core: in order, and with few results in memory at any moment.

    An exception in `function` is raised here, and the items not begun are given up.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * (workers or 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _reader(data: bytes) -> type[ImageFile]:
    if not data:
        raise DecodeError("the file is empty")
    for signature, reader in _READERS.items():
        if data.startswith(signature):
            return reader
    raise DecodeError("it is not a JPEG or PNG image")


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    # A header that ends early shows as an index or a struct past the end, which Pillow wraps.
    early = isinstance(error.__cause__, IndexError | EOFError | struct.error)
    return "it is cut short" if early or "truncated" in str(error).lower() else "it is damaged"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # convert() would clip at 255; Pillow itself keeps the upper byte of 16-bit colours.
        upper = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block is common in sound photos: viewers pass over it too
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
