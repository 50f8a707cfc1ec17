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


class _Rows:
    """Rows in parts of one length, indexed like one array; shape (rows, ...), float32."""

    def __init__(
        self, part: Callable[[int], np.ndarray], size: int, shape: tuple[int, ...]
    ) -> None:
        self._part, self._size = part, size
        self.shape = shape
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """A copy of the chosen rows, by slice or index array."""
        indices = np.arange(len(self))[chosen]
        parts, offsets = np.divmod(indices, self._size)
        numbers = np.unique(parts)
        if len(numbers) == 1:
            return self._part(int(numbers[0]))[offsets]
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for number in numbers:
            here = parts == number
            rows[here] = self._part(int(number))[offsets[here]]
        return rows


class StoredRows(_Rows):
    """The first `count` rows of memory-mapped shards of equal length; the last may be shorter."""

    def __init__(self, shards: Sequence[np.ndarray], count: int) -> None:
        super().__init__(shards.__getitem__, len(shards[0]), (count, *shards[0].shape[1:]))


class RecomputedRows(_Rows):
    """Rows at a cut that is not stored, computed by `block` in whole batches on each access."""

    def __init__(self, block: Callable[[int], np.ndarray], shape: tuple[int, ...]) -> None:
        super().__init__(block, BATCH, shape)


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
    """Write rows (padding included) of a shape batch by batch, then their size and checksum."""

    def __init__(self, folder: Path, rows: int, shape: tuple[int, ...]) -> None:
        self._folder = folder
        self._stream = (folder / DATA).open("wb")
        described = {"descr": "<f4", "fortran_order": False, "shape": (rows, *shape)}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, described)
        self._crc = 0
        self._append(header.getbuffer())

    def __enter__(self) -> "ShardWriter":
        return self

    def write(self, rows: np.ndarray) -> None:
        """Append rows, float32."""
        self._append(np.ascontiguousarray(rows, "<f4").data.cast("B"))

    def _append(self, data: memoryview) -> None:
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
