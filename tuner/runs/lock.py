"""A run's lock: one writer at a time."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import RunError
from tuner.storage import locks

# `tune runs` holds a lock for the instant in which it looks at it.
_LOOKS, _LOOK_SECONDS = 5, 0.02


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Makes this process the only one that searches in a run's folder.

    Raises:
        RunError: another process does, or the folder cannot be written.
    """
    file = lock_file(folder)
    lock = None
    try:
        try:
            lock = _take_patiently(file)
            if lock is not None:
                os.ftruncate(lock, 0)
                os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
        except OSError as error:
            raise RunError(
                f"the run folder {folder} cannot be written: {error.strerror}."
            ) from error
        if lock is None:
            raise RunError(_busy(folder))
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _take_patiently(file: Path) -> int | None:
    """The lock, unless it is held for longer than it takes to see whether it is held."""
    for _ in range(_LOOKS):
        lock = locks.take(file, exclusive=True)
        if lock is not None:
            return lock
        time.sleep(_LOOK_SECONDS)
    return None


def check_free(folder: Path) -> None:
    """Raises RunError if a process is searching in a run's folder."""
    if locks.is_taken(lock_file(folder)):
        raise RunError(_busy(folder))


def _busy(folder: Path) -> str:
    with contextlib.suppress(OSError):
        holder = lock_file(folder).read_text("utf-8")
        return (
            f"the run {folder.name} is being searched by {holder}. Wait until it has ended, or "
            "choose another --run."
        )
    return f"the run {folder.name} is being searched by another process."


def lock_file(folder: Path) -> Path:
    """The lock file of a run's folder."""
    return folder / "lock"
