"""A content-addressed cache folder, shared by processes.

    FOLDER/CACHEDIR.TAG         marks it as ours: nothing is deleted from any other folder
    FOLDER/entries/KIND/KEY/    complete entries; each appears by one rename
    FOLDER/partial/             entries that are being written or removed
    FOLDER/locks/               a lock file per entry: exclusive while it is made or removed, shared
                                while a process uses it

The locks are `flock`s, which end with their process.
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

import platformdirs

from tuner.errors import SettingsError, TuneError
from tuner.storage import locks
from tuner.storage.atomic import read_text, sync, write_text
from tuner.storage.disk import NO_SPACE, folder_bytes, free_bytes

_POLL_SECONDS = 0.1
_LONGEST_PATH = 360  # so that SQLite can open a file in an entry
_NAME = re.compile(r"[A-Za-z0-9_-]+")
# https://bford.info/cachedir/: backup programs leave such a folder out.
_TAG, _SIGNATURE = "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55"
_TAG_TEXT = f"{_SIGNATURE}\n# This is the cache folder of tune-resnet50.\n"


class CacheError(TuneError):
    """The cache folder is full or cannot be written."""


@dataclass(frozen=True)
class CacheEntry:
    """One complete entry; `held` if any process is using it."""

    kind: str
    key: str
    size_bytes: int
    last_used: datetime
    held: bool


def default_cache_dir() -> Path:
    """This program's folder in the user's cache."""
    return platformdirs.user_cache_path("tune-resnet50")


def folder_size(folder: Path) -> int:
    """Bytes of all complete entries of a cache folder."""
    return folder_bytes(folder / "entries")


class Cache(AbstractContextManager["Cache"]):
    """The entries of a cache folder, and this process's holds on those that it uses.

    An entry that was returned stays on disk until `close`, even if another process prunes. Threads
    may share a cache. Kinds and keys are of ASCII letters, digits, `_` and `-`.

    Args:
        folder: empty or a cache, else SettingsError; made on the first write.
        limit_bytes: after each new entry, the least recently used entries that no process holds are
            removed until all entries fit. None: no limit.
    """

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._check_folder()
        _allow_open_files()
        self._holds: dict[Path, int] = {}
        self._guard = threading.Lock()

    def entry(self, kind: str, key: str) -> Path | None:
        """Hold a complete entry, mark it as used and return its folder; None if there is none."""
        path = self._path(kind, key)
        if not path.is_dir():
            self._release(path)
            return None
        with storage_errors(self.folder):
            if path not in self._holds:
                self._hold(path, locks.take(self._lock_file(path)))
            try:
                os.utime(path)
            except FileNotFoundError:  # removed before we had the lock
                self._release(path)
                return None
        return path

    @contextmanager
    def create(self, kind: str, key: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the entry when the block ends without an error.

        Waits while another process makes the same entry; if it exists by then, the new one is
        dropped. CacheError, with nothing left behind: the folder is full or cannot be written.
        """
        self._remove_leftovers()
        path = self._path(kind, key)
        lock = self._claim(path)
        with self._partial(path) if lock is None else self._making(path, lock) as folder:
            yield folder

    def get_or_create(self, kind: str, key: str, fill: Callable[[Path], None]) -> Path:
        """Hold an entry and return its folder; if there is none, `fill(folder)` writes it.

        If several processes call this at the same time, one fills and the others wait.
        """
        path = self._path(kind, key)
        if self.entry(kind, key) is None:
            self._remove_leftovers()
        # A loop: between the exclusive and the shared lock another process may prune.
        while self.entry(kind, key) is None:
            lock = self._claim(path)
            if lock is not None:
                with self._making(path, lock) as folder:
                    fill(folder)
        return path

    def entries(self) -> list[CacheEntry]:
        """All complete entries, least recently used first."""
        found = [
            entry
            for path in (self.folder / "entries").glob("*/*")
            if _NAME.fullmatch(path.parent.name) and _NAME.fullmatch(path.name) and path.is_dir()
            if (entry := self._describe(path)) is not None
        ]
        return sorted(found, key=lambda entry: (entry.last_used, entry.kind, entry.key))

    def prune(self, older_than: timedelta | None = None) -> int:
        """Remove entries that no process holds and that were not used within `older_than`.

        Partial ones of dead processes go too. Returns the number of bytes freed.
        """
        freed = self._remove_leftovers()
        newest = datetime.now(UTC) - older_than if older_than else None
        unused = [entry for entry in self.entries() if newest is None or entry.last_used < newest]
        return freed + sum(map(self._remove, unused))

    def room(self) -> int:
        """Bytes that this process may add: up to the limit, and up to 90 % of the free disk.

        Entries that no process holds do not count against the limit, since new ones replace them.
        """
        free = free_bytes(self.folder) * 9 // 10
        if self.limit_bytes is None:
            return free
        held = sum(entry.size_bytes for entry in self.entries() if entry.held)
        return max(0, min(free, self.limit_bytes - held))

    def remove(self, kind: str, key: str) -> None:
        """Remove a damaged entry, unless another process holds it."""
        path = self._path(kind, key)
        self._release(path)
        if (entry := self._describe(path)) is not None:
            self._remove(entry)

    def close(self) -> None:
        """Release all entries; other processes may then remove them."""
        with self._guard:
            while self._holds:
                # Not unlocked: a forked child may share this lock and still use the entry.
                os.close(self._holds.popitem()[1])

    def __exit__(self, *error: object) -> None:
        """Close the cache."""
        self.close()

    def _check_folder(self) -> bool:
        """Whether the folder is marked as a cache; SettingsError if it holds something else."""
        if len(os.fsencode(self.folder.absolute())) > _LONGEST_PATH:
            raise SettingsError(f"the path of the cache folder {self.folder} is too long.")
        with storage_errors(self.folder):
            for _ in range(2):  # another process may mark it, and write, between the two looks
                with suppress(FileNotFoundError, NotADirectoryError):
                    if read_text(self.folder / _TAG) == _TAG_TEXT:
                        return True
                names = (
                    [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
                )
                being_marked = all(_TAG in name and name != _TAG for name in names)
                if being_marked or self.folder == default_cache_dir():  # the name is ours
                    return False
        raise SettingsError(
            f"{self.folder} is not a cache folder of this program, and not empty. Nothing in it "
            "was changed. Name a new folder with --cache-dir."
        )

    def mark(self) -> None:
        """Make the folder, and mark it as a cache."""
        if not self._check_folder():
            with storage_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                new = self.folder / f".{_TAG}.{uuid.uuid4().hex}"  # threads may do this together
                write_text(new, _TAG_TEXT)
                new.rename(self.folder / _TAG)

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
            if (lock := self._holds.pop(path, None)) is not None:
                os.close(lock)

    def _claim(self, path: Path) -> int | None:
        """Take the exclusive lock on a new entry; None once another process has made it."""
        self.mark()
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
            # Last: a folder that was removed meanwhile was measured as empty.
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
        self._check_folder()
        with storage_errors(self.folder):
            lock = locks.take(self._lock_file(path), exclusive=True)
            if lock is None:
                return 0
            try:
                # Renamed first, so that no process finds half of it.
                grave = self._partial_path(path)
                grave.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):
                    path.rename(grave)
                shutil.rmtree(grave, ignore_errors=True)
            finally:
                locks.discard(lock, self._lock_file(path))
        return entry.size_bytes

    def _remove_leftovers(self) -> int:
        """Remove partial entries whose process has died, and so left no lock."""
        self._check_folder()
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
    """Raise the limit on open files to its maximum: each held entry needs a file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def storage_errors(folder: Path, only: Container[int] | None = None) -> Iterator[None]:
    """Turn an OSError (with `only`, of these numbers) into a CacheError that says what to do."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        what = f"cannot be used ({error.strerror or error}): make it writable"
        if error.errno in NO_SPACE:
            what = "has no space left: free some with `tune cache --prune`"
        raise CacheError(
            f"The cache folder {folder} {what}, or name another folder with --cache-dir."
        ) from error


def _publish(partial: Path, path: Path) -> None:
    for folder, _, names in os.walk(partial, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(path)
    sync(path.parent)
