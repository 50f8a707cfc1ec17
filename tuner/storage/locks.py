"""Locks on files, which end with the process that holds them, however it ends."""

import fcntl
import os
from pathlib import Path


def take(file: Path, exclusive: bool = False) -> int | None:
    """Locks a file, which is made if it is not there.

    Args:
        file: what is locked.
        exclusive: whether nobody else may hold it.

    Returns:
        The descriptor that holds the lock until it is closed. A shared lock waits its turn; an
        exclusive one is None when another holds one.
    """
    operation = fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, operation)
            # The file may have been discarded while we waited: then the lock is on nothing.
            if os.path.samestat(os.fstat(lock), file.stat()):
                return lock
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(lock)
            return None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def is_taken(file: Path) -> bool:
    """Whether somebody, perhaps this process, holds a lock on a file."""
    try:
        lock = os.open(file, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def share(lock: int) -> None:
    """Turns an exclusive lock into a shared one; in between, another may take it."""
    fcntl.flock(lock, fcntl.LOCK_SH)


def discard(lock: int, file: Path) -> None:
    """Ends an exclusive lock and removes its file, so that lock files do not pile up."""
    file.unlink(missing_ok=True)
    os.close(lock)
