"""Bytes to RGB pixels as a person sees them, or the reason why not.

What an image is, is decided by its content: a name says nothing. Whatever Pillow makes of damaged
bytes, a caller sees one exception with one short reason.
"""

import logging
import os
import re
import struct
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import numpy as np

from tuner.decoding.formats import HEADER_BYTES, DecodeError, image_format, not_an_image
from tuner.decoding.openers import open_image
from tuner.decoding.rgb import rgb_pixels

# Pillow warns about files that are odd or large, and logs it; what matters is raised. This is done
# once for the process, as no way to silence a warning is safe on several threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

_MAX_FILE_BYTES = 500_000_000
_UNSUPPORTED = re.compile(r"cannot handle|unsupported|not (yet )?supported|unknown pixel mode")
# Larger ones are decoded one at a time: on all cores at once they would fill the memory.
_LARGE_PIXELS = 30_000_000
_large = threading.Lock()

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def decode(data: bytes) -> np.ndarray:
    """The upright RGB pixels of a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file.

    Of several pages or frames, the first. The orientation is obeyed, colours of an embedded profile
    become those of sRGB, transparency is laid on white; grey, palette and CMYK images become RGB.
    Of deeper integers the upper eight bits are kept, as tf.io and OpenCV do; what has 32 bits or a
    sign, or are fractions, is scaled as `tuner.decoding.rgb` says. A JPEG whose pixels would take
    over 1 GB (128 megapixels in colour) is decoded at half, a quarter or an eighth of its size.

    Returns:
        uint8, shape (height, width, 3).

    Raises:
        DecodeError: the bytes are no such image, are damaged or cut short, or claim more than
            `MAX_PIXELS` pixels or pixels that take over 1 GB, which is seen before any is decoded.
    """
    name = image_format(data[:HEADER_BYTES])
    if name is None:
        raise DecodeError(not_an_image(data))
    try:
        opened = open_image(data, name)
        large = opened.image.width * opened.image.height > _LARGE_PIXELS
        with _large if large else nullcontext():
            pixels, orientation = rgb_pixels(opened), opened.orientation
            del opened  # Pillow's own pixels would stay until the turned copy is made
            return _upright(pixels, orientation)
    except DecodeError:
        raise
    except Exception as error:  # Pillow's parsers let out nearly any type, MemoryError included
        raise DecodeError(_reason(error, name)) from error


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
        if path.is_file() and path.stat().st_size > _MAX_FILE_BYTES:
            raise DecodeError(f"it has more than the {_MAX_FILE_BYTES // 10**6} MB allowed")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DecodeError("it is no file but a pipe or a device")  # which may never end
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


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turned and mirrored as EXIF's orientation, 1 to 8, asks for."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _reason(error: Exception, name: str) -> str:
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    text = str(error).lower()
    if _UNSUPPORTED.search(text):
        return f"it is a kind of {name} image that is not supported"
    # A header that ends early shows as an index or a struct past the end, which Pillow wraps.
    early = isinstance(error.__cause__ or error, IndexError | EOFError | struct.error)
    return "it is cut short" if early or "truncated" in text else "it is damaged"
