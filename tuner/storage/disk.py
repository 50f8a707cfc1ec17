"""What a folder takes, and what its disk has left."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

# Of a full disk, and of a used-up quota.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists, absolute."""
    path = path.absolute()
    while not os.path.lexists(path):
        path = path.parent
    return path


def free_bytes(folder: Path) -> int:
    """Bytes that are free where a folder is, or would be made."""
    return shutil.disk_usage(nearest_existing(folder)).free


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder; those that another process removes meanwhile may count."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total
