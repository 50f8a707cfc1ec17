"""Files that are either there whole or not at all, also after a power cut."""

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from tuner.storage.direct_io import UncachedFile

if TYPE_CHECKING:  # these need TensorFlow
    import numpy as np


@contextlib.contextmanager
def replacing(path: Path, cached: bool = True) -> Iterator[IO[bytes]]:
    """Opens a temporary file that takes the place of `path` when the block ends without error.

    The bytes are synced before the name changes, and the folder after it.

    Args:
        path: the file.
        cached: whether it is soon read again.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") if cached else UncachedFile(temporary) as file:
            yield cast("IO[bytes]", file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # writing and syncing know only a descriptor
        raise
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, UTF-8."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def read_text(path: Path) -> str:
    """Reads a text file, UTF-8.

    Raises:
        OSError: it cannot be read, or is no file; see `open_file`.
        UnicodeDecodeError: it is no UTF-8.
    """
    with open_file(path) as file:
        return file.read().decode("utf-8")


def open_file(path: Path) -> io.BufferedReader:
    """Opens a file that somebody else may have put there, to read it.

    Raises:
        OSError: it cannot be opened, or is a folder, or a pipe or a device, which may never end.
    """
    # Without waiting: opening a pipe would last until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")  # noqa: PTH123 - of a descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is no file but a pipe or a device", str(path))


def write_arrays(path: Path, arrays: "dict[str, np.ndarray]") -> None:
    """Writes arrays by name as an .npz file; nothing in it is pickled."""
    import numpy as np

    with replacing(path, cached=False) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """Reads what `write_arrays` wrote."""
    import numpy as np

    # Opened here: NumPy leaves a file open that it finds damaged.
    with open_file(path) as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def sync(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder, last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
