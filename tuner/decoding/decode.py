"""Decode image files to RGB pixels as a person sees them.

The format follows from the content, never from the name. Whatever a decoder does with damaged
bytes, a caller gets one exception with one short reason.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from tuner.decoding.formats import DecodeError
from tuner.decoding.pool import decode_each

__all__ = ["batches", "decode", "decode_each", "on_all_cores", "read_bytes", "read_image"]

_MAX_FILE_BYTES = 500_000_000
_BATCH_FILES, _BATCH_BYTES = 16, 200_000

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def decode(data: bytes) -> np.ndarray:
    """The upright RGB pixels, uint8, shape (height, width, 3), of a JPEG, PNG, WebP, GIF ... file.

    Of several pages, frames or pictures, the first. Colours of an embedded profile become those of
    sRGB, transparency is laid on white; grey, palette and CMYK images become RGB. Of deeper
    integers the upper eight bits are kept, as tf.io and OpenCV do. A JPEG whose pixels would take
    over 1 GB (128 megapixels in colour) is decoded at half, a quarter or an eighth of its size.

    Raises:
        DecodeError: the bytes are no such image, are damaged or cut short, claim more than
            `MAX_PIXELS` pixels, take too much memory or time, or crash their decoder.
    """
    (pixels,) = decode_each([data])
    if isinstance(pixels, DecodeError):
        raise pixels
    return pixels


def read_image(path: Path) -> np.ndarray:
    """The pixels of a file, as `decode` returns them."""
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The content of a file; DecodeError says why not, for example "permission denied"."""
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


def batches(items: Iterable[_Item], path_of: Callable[[_Item], Path]) -> Iterator[list[_Item]]:
    """Group items with small files for `decode_each`, in order; large files stay alone."""
    batch: list[_Item] = []
    total = 0
    for item in items:
        path = path_of(item)
        size = path.stat().st_size if path.is_file() else 0
        if batch and (len(batch) == _BATCH_FILES or total + size > _BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch


def on_all_cores(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """`map` on a thread for each core, in order, with few results in memory at a time.

    An exception in `function` is raised here, and items that are not started are dropped.
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
