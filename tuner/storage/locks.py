"""File locks (`flock`), which end with the process that holds them."""

import fcntl
import os
from pathlib import Path


def take(file: Path, exclusive: bool = False) -> int | None:
    """Lock a file, which is created if missing; closing the returned descriptor ends the lock.

    A shared lock waits for an exclusive one. An exclusive lock does not wait: None if there is
    another.
    """
    operation = fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, operation)
            # The file may have been removed while we waited; then lock the new one.
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
    """Whether any process, this one included, holds a lock on a file."""
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
    """Turn an exclusive lock into a shared one; not atomic, another process may come between."""
    fcntl.flock(lock, fcntl.LOCK_SH)


def discard(lock: int, file: Path) -> None:
    """Release an exclusive lock and remove its file."""
    file.unlink(missing_ok=True)
    os.close(lock)
