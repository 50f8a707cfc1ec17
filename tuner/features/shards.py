"""Rows of features on disk: written in canonical batches, read memory-mapped."""

import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32

DATA, _CHECK = "rows.npy", "check.json"


class StoredRows:
    """Rows of memory-mapped shards, indexed like one array.

    Args:
        shards: equally long but for the last, which may be shorter, and padded at its end.
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


def rows_on_disk(images: int) -> int:
    """Rows that a set of images takes at a cut: whole batches."""
    return -(-images // BATCH) * BATCH


class ShardWriter:
    """Writes a shard's rows one batch after the other, and then what proves them whole."""

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
    """Whether a shard's bytes are those that were written."""
    try:
        check = json.loads((folder / _CHECK).read_text("utf-8"))
        if (folder / DATA).stat().st_size != check["bytes"]:
            return False
        # The header too: NumPy raises whatever its parser met first on a damaged one.
        data = np.memmap(folder / DATA, np.uint8, "r").data
        return bool(zlib.crc32(data) == check["crc32"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
