"""A run's lock: one writer at a time."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import RunError
from tuner.storage import locks

# `tune runs` holds a lock for an instant while it checks whether the run is busy.
_ATTEMPTS, _RETRY_SECONDS = 5, 0.02


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a run's lock; RunError if another process searches in its folder."""
    with writing_to(folder):
        lock = _take(lock_file(folder))
    if lock is None:
        raise RunError(_busy(folder))
    try:
        with writing_to(folder):
            os.ftruncate(lock, 0)
            os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn an OSError in the `with` block into a RunError: the run folder cannot be written."""
    try:
        yield
    except OSError as error:
        detail = error.strerror or error
        raise RunError(f"the run folder {folder} cannot be written: {detail}.") from error


def _take(file: Path) -> int | None:
    """Take the lock; None if another process holds it for more than an instant."""
    for _ in range(_ATTEMPTS):
        lock = locks.take(file, exclusive=True)
        if lock is not None:
            return lock
        time.sleep(_RETRY_SECONDS)
    return None


def check_free(folder: Path) -> None:
    """Raise RunError if a process is searching in a run's folder."""
    if locks.is_taken(lock_file(folder)):
        raise RunError(_busy(folder))


def _busy(folder: Path) -> str:
    with contextlib.suppress(OSError):
        holder = lock_file(folder).read_text("utf-8")
        return (
            f"the run {folder.name} is being searched by {holder}. Wait until it ends, or "
            "choose another --run."
        )
    return f"the run {folder.name} is being searched by another process."


def lock_file(folder: Path) -> Path:
    """Lock file of a run's folder."""
    return folder / "lock"
