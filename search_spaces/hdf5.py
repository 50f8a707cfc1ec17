"""Check an HDF5 file of weights before it is read.

HDF5 can refer to other files (external links, external and virtual datasets), and a dataset of a
few bytes may claim a shape that fills the memory. No file of weights needs either.
"""

import math
from pathlib import Path
from typing import BinaryIO

import h5py

# Keras stores weights uncompressed; this allows for files that were compressed later.
_MOST_EXPANSION = 20
_SMALL_BYTES = 1 << 20
# Integers, floats and booleans; bfloat16 is stored as opaque.
_KINDS = "iufbV"
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


class HDF5Error(ValueError):
    """A file is no HDF5, or holds what no file of weights does.

    The message is a predicate, such as "is damaged"; callers put the file's name in front.
    """


def check_hdf5(file: Path | BinaryIO, file_bytes: int) -> int:
    """Refuse a file that refers to other files, or would fill the memory.

    Args:
        file: path or open file.
        file_bytes: its size in bytes.

    Returns:
        Number of elements in all its arrays.

    Raises:
        HDF5Error: it does one of these, is damaged, or is no HDF5.
    """
    try:
        with h5py.File(file, "r") as opened:
            return _check(opened, file_bytes)
    except HDF5Error:
        raise
    except Exception as error:  # h5py raises many kinds
        raise HDF5Error("is damaged") from error


def _check(file: h5py.File, file_bytes: int) -> int:
    numbers = total_bytes = 0

    def problem(
        name: str, link: object
    ) -> str | None:  # an exception from here would be lost in h5py
        nonlocal numbers, total_bytes
        if not isinstance(link, h5py.HardLink):
            return f"holds a link, {_short(name)}, which may lead to another file"
        item = file[name]
        if isinstance(item, h5py.Dataset):
            size = math.prod(item.shape or ())
            numbers, total_bytes = numbers + size, total_bytes + size * item.dtype.itemsize
            wrong = _wrong_with(item)
            return wrong and f"holds an array, {_short(name)}, that {wrong}"
        return None

    found = file.visititems_links(problem)
    if found is not None:
        raise HDF5Error(found)
    if total_bytes > _SMALL_BYTES + _MOST_EXPANSION * file_bytes:
        raise HDF5Error(
            f"claims arrays of {total_bytes // 10**6} MB, but has {file_bytes / 10**6:.1f} MB"
        )
    return numbers


def _wrong_with(dataset: h5py.Dataset) -> str | None:
    if dataset.external or dataset.is_virtual:
        return "lies in another file"
    if dataset.shape is None or dataset.dtype.kind not in _KINDS:
        return "is not of numbers"
    made = dataset.id.get_create_plist()
    if not {made.get_filter(number)[0] for number in range(made.get_nfilters())} <= _FILTERS:
        return "is packed in an unknown way"
    return None


def _short(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:80]}..."
