"""Rows of features: written to disk in canonical batches, read memory-mapped or recomputed."""

import io
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32

DATA, _CHECK = "rows.npy", "check.json"


class StoredRows:
    """Rows of memory-mapped shards, indexed like one array.

    Args:
        shards: of equal length; the last may be shorter, and is padded at its end.
        count: number of rows without the padding.
    """

    def __init__(self, shards: Sequence[np.ndarray], count: int) -> None:
        self._shards = shards
        self._size = len(shards[0])
        self.shape = (count, *shards[0].shape[1:])
        self.dtype = shards[0].dtype

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """A copy of the chosen rows, by slice or index array."""
        indices = np.arange(len(self))[chosen]
        if len(self._shards) == 1:
            return self._shards[0][indices]
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        shards, offsets = np.divmod(indices, self._size)
        for shard in np.unique(shards):
            here = shards == shard
            rows[here] = self._shards[shard][offsets[here]]
        return rows


class RecomputedRows:
    """Rows at a cut that is not stored, computed in whole batches on each access.

    Args:
        block: computes the rows of an aligned batch, by its number.
        shape: of all rows.
    """

    def __init__(self, block: Callable[[int], np.ndarray], shape: tuple[int, ...]) -> None:
        self._block = block
        self.shape = shape
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """The chosen rows, by slice or index array."""
        indices = np.arange(len(self))[chosen]
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        blocks, offsets = np.divmod(indices, BATCH)
        for number in np.unique(blocks):
            here = blocks == number
            rows[here] = self._block(int(number))[offsets[here]]
        return rows


def pad(rows: np.ndarray) -> np.ndarray:
    """Rows padded with zeros to a batch of 32."""
    if len(rows) == BATCH:
        return rows
    padded = np.zeros((BATCH, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def rows_on_disk(images: int) -> int:
    """Number of stored rows for a set of images: whole batches."""
    return -(-images // BATCH) * BATCH


class ShardWriter:
    """Write a shard's rows batch by batch, and then its size and checksum.

    Args:
        folder: of the shard.
        rows: their number, padding included.
        shape: of a row.
    """

    def __init__(self, folder: Path, rows: int, shape: tuple[int, ...]) -> None:
        self._folder = folder
        self._stream = (folder / DATA).open("wb")
        described = {"descr": "<f4", "fortran_order": False, "shape": (rows, *shape)}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, described)
        self._stream.write(header.getvalue())
        self._crc = zlib.crc32(header.getvalue())

    def __enter__(self) -> "ShardWriter":
        return self

    def write(self, rows: np.ndarray) -> None:
        """Append rows, float32."""
        data = np.ascontiguousarray(rows, "<f4").data.cast("B")
        self._crc = zlib.crc32(data, self._crc)
        self._stream.write(data)

    def __exit__(self, *error: object) -> None:
        size = self._stream.tell()
        self._stream.close()
        check = {"bytes": size, "crc32": self._crc}
        (self._folder / _CHECK).write_text(json.dumps(check), "utf-8")


def is_sound(folder: Path) -> bool:
    """Whether a shard's bytes match its size and checksum."""
    try:
        check = json.loads((folder / _CHECK).read_text("utf-8"))
        if (folder / DATA).stat().st_size != check["bytes"]:
            return False
        # Of the header too: on a damaged one NumPy raises all kinds of errors.
        data = np.memmap(folder / DATA, np.uint8, "r").data
        return bool(zlib.crc32(data) == check["crc32"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
