"""A folder of results that are addressed by what they were made from, shared by processes.

    FOLDER/entries/KIND/KEY/    complete entries; a folder appears here by one rename
    FOLDER/partial/             being written, or being removed
    FOLDER/locks/               one lock file for each entry: exclusive while it is made or removed,
                                shared while a process uses it

The locks are `flock`s: they end with their process, however that ends.
"""

import os
import re
import resource
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import platformdirs

from tuner.errors import TuneError
from tuner.storage import locks
from tuner.storage.atomic import sync
from tuner.storage.disk import NO_SPACE, folder_bytes, free_bytes

_POLL_SECONDS = 0.1
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class CacheError(TuneError):
    """The cache folder cannot be used: it is full, or may not be written."""


@dataclass(frozen=True)
class CacheEntry:
    """One complete entry: `held` says that a process, perhaps this one, is using it."""

    kind: str
    key: str
    size_bytes: int
    last_used: datetime
    held: bool


def default_cache_dir() -> Path:
    """The user's cache folder for this program."""
    return platformdirs.user_cache_path("tune-resnet50")


def folder_size(folder: Path) -> int:
    """Bytes of all complete entries of a cache folder, looked at without taking any lock."""
    return folder_bytes(folder / "entries")


class Cache(AbstractContextManager["Cache"]):
    """The entries below `folder`, and the holds of this process on some of them.

    `kind` and `key` are made of letters, digits, `_` and `-`. An entry that was handed out stays on
    disk until `close`, whatever another process prunes. Threads may share a cache.

    Args:
        folder: made when it is first written to.
        limit_bytes: after an entry was made, the least recently used ones that nobody holds are
            removed until all together take no more than this. None: no limit.
    """

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        """Opens the cache; touches nothing on disk."""
        self.folder = folder
        self.limit_bytes = limit_bytes
        _allow_open_files()
        self._holds: dict[Path, int] = {}
        self._guard = threading.Lock()

    def entry(self, kind: str, key: str) -> Path | None:
        """The folder of a complete entry, held from now on and marked as used, or None.

        Raises:
            CacheError: the cache folder may not be written.
        """
        path = self._path(kind, key)
        if not path.is_dir():
            self._release(path)
            return None
        with storage_errors(self.folder):
            if path not in self._holds:
                self._hold(path, locks.take(self._lock_file(path)))
            try:
                os.utime(path)
            except FileNotFoundError:  # removed before the lock was ours
                self._release(path)
                return None
        return path

    @contextmanager
    def create(self, kind: str, key: str) -> Iterator[Path]:
        """Yields an empty folder that becomes the entry when the block ends without an error.

        Waits while another process makes the same entry. Where there is a complete one, it stays
        and the new one is dropped: equal keys mean equal content.

        Raises:
            CacheError: no space, or the cache folder may not be written. Nothing is left behind.
        """
        self._remove_leftovers()
        path = self._path(kind, key)
        lock = self._claim(path)
        with self._partial(path) if lock is None else self._making(path, lock) as folder:
            yield folder

    def get_or_create(self, kind: str, key: str, fill: Callable[[Path], None]) -> Path:
        """The entry, held; `fill(folder)` writes it if there is none.

        Of all processes that ask at the same time, one fills and the others wait.

        Raises:
            CacheError: no space, or the cache folder may not be written. Nothing is left behind.
        """
        path = self._path(kind, key)
        if self.entry(kind, key) is None:
            self._remove_leftovers()
        # A loop, since an exclusive lock becomes a shared one with a gap in which others may prune.
        while self.entry(kind, key) is None:
            lock = self._claim(path)
            if lock is not None:
                with self._making(path, lock) as folder:
                    fill(folder)
        return path

    def entries(self) -> list[CacheEntry]:
        """All complete entries, the least recently used first."""
        paths = (self.folder / "entries").glob("*/*")
        found = [entry for path in paths if (entry := self._describe(path)) is not None]
        return sorted(found, key=lambda entry: (entry.last_used, entry.kind, entry.key))

    def prune(self, older_than: timedelta | None = None) -> int:
        """Removes the entries that nobody holds, and what dead processes left half-written.

        Args:
            older_than: spares the entries used within this time; None spares none.

        Returns:
            The bytes that were freed.
        """
        freed = self._remove_leftovers()
        newest = None if older_than is None else datetime.now(UTC) - older_than
        for entry in self.entries():
            if newest is None or entry.last_used < newest:
                freed += self._remove(entry)
        return freed

    def room(self) -> int:
        """Bytes that this process may add: within the limit, and what the disk has, less a tenth.

        Against the limit, entries that nobody holds do not count, since they make room for new
        ones; against the disk they do.
        """
        free = free_bytes(self.folder) * 9 // 10
        if self.limit_bytes is None:
            return free
        held = sum(entry.size_bytes for entry in self.entries() if entry.held)
        return max(0, min(free, self.limit_bytes - held))

    def remove(self, kind: str, key: str) -> None:
        """Removes an entry that was found damaged, unless another process holds it."""
        path = self._path(kind, key)
        self._release(path)
        entry = self._describe(path)
        if entry is not None:
            self._remove(entry)

    def close(self) -> None:
        """Lets go of every entry: others may remove them from now on."""
        with self._guard:
            while self._holds:
                # Not unlocked: a forked child that still uses the entry shares this lock.
                os.close(self._holds.popitem()[1])

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the cache."""
        self.close()

    def _path(self, kind: str, key: str) -> Path:
        for name in (kind, key):
            if not _NAME.fullmatch(name):
                raise ValueError(f"Expected letters, digits, `_` and `-`, but got {name!r}")
        return self.folder / "entries" / kind / key

    def _lock_file(self, path: Path) -> Path:
        return self.folder / "locks" / f"{path.parent.name}.{path.name}"

    def _partial_path(self, path: Path) -> Path:
        return self.folder / "partial" / f"{path.parent.name}.{path.name}.{uuid.uuid4().hex}"

    def _hold(self, path: Path, lock: int | None) -> None:
        with self._guard:
            if lock is not None and self._holds.setdefault(path, lock) != lock:
                os.close(lock)

    def _release(self, path: Path) -> None:
        with self._guard:
            lock = self._holds.pop(path, None)
            if lock is not None:
                os.close(lock)

    def _claim(self, path: Path) -> int | None:
        """The exclusive lock on an entry to be made, or None once another has made it."""
        while self.entry(path.parent.name, path.name) is None:
            with storage_errors(self.folder):
                lock = locks.take(self._lock_file(path), exclusive=True)
            if lock is not None and not path.is_dir():
                return lock
            if lock is not None:
                os.close(lock)
            time.sleep(_POLL_SECONDS)
        return None

    @contextmanager
    def _making(self, path: Path, lock: int) -> Iterator[Path]:
        try:
            with self._partial(path) as partial:
                yield partial
                with storage_errors(self.folder):
                    _publish(partial, path)
        except BaseException:
            locks.discard(lock, self._lock_file(path))
            raise
        locks.share(lock)
        self._hold(path, lock)
        self._keep_to_limit()

    @contextmanager
    def _partial(self, path: Path) -> Iterator[Path]:
        partial = self._partial_path(path)
        with storage_errors(self.folder):
            partial.mkdir(parents=True)
        try:
            with storage_errors(self.folder, only=NO_SPACE):
                yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _describe(self, path: Path) -> CacheEntry | None:
        try:
            size_bytes = folder_bytes(path)
            held = locks.is_taken(self._lock_file(path))
            # Last, since a folder that is gone by now has been measured as empty.
            used = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            return CacheEntry(path.parent.name, path.name, size_bytes, used, held)
        except FileNotFoundError:  # another process has removed it
            return None

    def _keep_to_limit(self) -> None:
        if self.limit_bytes is None:
            return
        entries = self.entries()
        surplus = sum(entry.size_bytes for entry in entries) - self.limit_bytes
        for entry in entries:
            if surplus > 0:
                surplus -= self._remove(entry)

    def _remove(self, entry: CacheEntry) -> int:
        path = self._path(entry.kind, entry.key)
        with storage_errors(self.folder):
            lock = locks.take(self._lock_file(path), exclusive=True)
            if lock is None:
                return 0
            try:
                # Renamed first, so that nobody ever finds half of it under its name.
                grave = self._partial_path(path)
                grave.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):
                    path.rename(grave)
                shutil.rmtree(grave, ignore_errors=True)
            finally:
                locks.discard(lock, self._lock_file(path))
        return entry.size_bytes

    def _remove_leftovers(self) -> int:
        """Clears what was being written when its process died, which left no lock on it."""
        freed = 0
        for partial in list((self.folder / "partial").glob("*.*.*")):
            lock_file = self.folder / "locks" / partial.stem
            with storage_errors(self.folder):
                lock = locks.take(lock_file, exclusive=True)
            if lock is not None:
                freed += folder_bytes(partial)
                shutil.rmtree(partial, ignore_errors=True)
                locks.discard(lock, lock_file)
        return freed


def _allow_open_files() -> None:
    """Raises this process's limit on open files as far as it may: each held entry needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def storage_errors(folder: Path, only: Container[int] | None = None) -> Iterator[None]:
    """Turns an OSError while writing below `folder` into a CacheError that says what to do.

    Args:
        folder: named in the message.
        only: the `errno` values that are turned; None: all.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise CacheError(_explanation(folder, error)) from error


def _explanation(folder: Path, error: OSError) -> str:
    if error.errno in NO_SPACE:
        return (
            f"There is no space left for the cache folder {folder}: free some with "
            "`tune cache --prune`, or name another folder with --cache-dir."
        )
    detail = error.strerror or str(error)
    return (
        f"The cache folder {folder} cannot be used ({detail}): make it writable, or name another "
        "folder with --cache-dir."
    )


def _publish(partial: Path, path: Path) -> None:
    for folder, _, names in os.walk(partial, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(path)
    sync(path.parent)
