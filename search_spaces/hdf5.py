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
    """What is wrong with a file, as a predicate: callers put its name in front."""


def check_hdf5(file: Path | BinaryIO, file_bytes: int) -> None:
    """Refuse a file that refers to other files, would fill the memory, is damaged or no HDF5."""
    try:
        with h5py.File(file, "r") as opened:
            _check(opened, file_bytes)
    except HDF5Error:
        raise
    except Exception as error:  # h5py raises many kinds
        raise HDF5Error("is damaged") from error


def _check(file: h5py.File, file_bytes: int) -> None:
    total_bytes = 0

    def problem(name: str, link: object) -> str | None:  # h5py would lose an exception from here
        nonlocal total_bytes
        if not isinstance(link, h5py.HardLink):
            return f"holds a link, {_short(name)}, which may lead to another file"
        item = file[name]
        if isinstance(item, h5py.Dataset):
            total_bytes += math.prod(item.shape or ()) * item.dtype.itemsize
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
