"""Sizes of folders and free space on disks."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

# A full disk, and a full quota.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def nearest_existing(path: Path) -> Path:
    """The path, or its nearest parent that exists, absolute."""
    path = path.absolute()
    while not os.path.lexists(path):
        path = path.parent
    return path


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder, which may not exist yet."""
    return shutil.disk_usage(nearest_existing(folder)).free


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder; other processes may remove files meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total
