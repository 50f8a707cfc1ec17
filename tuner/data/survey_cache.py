"""What reading an image has told, kept by the image's content, so that it is decoded once ever.

A scan that was interrupted goes on where it was, and one of a folder to which images were added
decodes those alone.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType

from tuner.storage.cache import Cache, CacheError
from tuner.storage.digests import key_of

# Counts the changes of decoding: what was noted by another version is not met.
_VERSION = 3
_FILE = "facts.db"
_SCHEMA = """
CREATE TABLE facts (
    sha256 TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    fingerprint BLOB NOT NULL
) STRICT
"""
_SELECT = "SELECT format, width, height, fingerprint FROM facts WHERE sha256 = ?"
_INSERT = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)"
# Images that a kill can lose; every write costs a sync.
_ROWS = 256


@dataclass(frozen=True)
class Facts:
    """What the bytes of an image that can be read say.

    Attributes:
        format: such as "JPEG".
        width: in pixels, upright.
        height: likewise.
        fingerprint: see `tuner.data.near_duplicates`.
    """

    format: str
    width: int
    height: int
    fingerprint: bytes


class FactStore(contextlib.AbstractContextManager["FactStore"]):
    """Facts by SHA-256, in a cache or, without one, for this object alone. Threads may share it.

    Args:
        cache: holds the file, which is made anew if it is damaged.
        version: of what computes fingerprints.

    Raises:
        CacheError: the cache folder is full, or may not be written; by every method.
    """

    def __init__(self, cache: Cache | None, version: int) -> None:
        self._guard = threading.Lock()
        self._new: dict[str, Facts] = {}
        self._cache = cache
        self._connection = None if cache is None else _opened(cache, key_of(_VERSION, version))

    def get(self, sha256: str) -> Facts | None:
        """What is known, or None."""
        with self._guard:
            if sha256 in self._new or self._connection is None:
                return self._new.get(sha256)
            with self._explained():
                row = self._connection.execute(_SELECT, (sha256,)).fetchone()
        return None if row is None else Facts(*row)

    def put(self, sha256: str, facts: Facts) -> None:
        """Notes it; another process may have done so already."""
        with self._guard:
            self._new[sha256] = facts
            if len(self._new) >= _ROWS:
                self._write()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Keeps what was noted, also when the work was interrupted."""
        with self._guard:
            if self._connection is not None:
                with contextlib.closing(self._connection):
                    self._write()

    def _write(self) -> None:
        """In one short transaction, so that processes do not wait for one another."""
        if self._connection is not None:
            rows = [(sha256, *astuple(facts)) for sha256, facts in self._new.items()]
            with self._explained(), self._connection:
                self._connection.executemany(_INSERT, rows)
            self._new.clear()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        assert self._cache is not None
        try:
            yield
        except sqlite3.Error as error:
            raise CacheError(
                f"The cache folder {self._cache.folder} cannot be used ({error}): free some space, "
                "make it writable, or name another folder with --cache-dir."
            ) from error


def _opened(cache: Cache, key: str) -> sqlite3.Connection:
    """The file of these versions; a damaged one is removed first, since it can be made again."""
    for _ in range(2):
        path = cache.get_or_create("facts", key, _create) / _FILE
        connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        try:
            connection.execute(_SELECT, ("",))
            if connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",):
                return connection
        except sqlite3.DatabaseError:
            pass
        connection.close()
        cache.remove("facts", key)
    raise CacheError(
        f"The cache folder {cache.folder} holds a damaged file that another search is using: wait "
        "until it has ended."
    )


def _create(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / _FILE)) as connection:
        connection.execute(_SCHEMA)
