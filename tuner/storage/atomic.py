"""Atomic files: complete or absent, even after a power cut."""

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:  # these need TensorFlow
    import numpy as np


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` when the block ends without an error.

    The bytes are flushed to disk before the rename, and the folder after it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # errors of write and fsync name no file
        raise
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def read_text(path: Path) -> str:
    """Read a text file (UTF-8) that `open_file` opens."""
    with open_file(path) as file:
        return file.read().decode("utf-8")


def open_file(path: Path) -> io.BufferedReader:
    """Open a file from elsewhere for reading; OSError for a folder, a pipe or a device."""
    # Non-blocking: opening a pipe would otherwise wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")  # noqa: PTH123 - a descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is no file but a pipe or a device", str(path))


def write_arrays(path: Path, arrays: "dict[str, np.ndarray]") -> None:
    """Write arrays by name to an .npz file, atomically and without pickle."""
    import numpy as np

    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """Read an .npz file of `write_arrays`, without pickle."""
    import numpy as np

    # Opened here: NumPy does not close a damaged file.
    with open_file(path) as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def sync(path: Path) -> None:
    """Flush a file or directory to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
