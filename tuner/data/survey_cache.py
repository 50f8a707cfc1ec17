"""Facts about images, cached by content, so that each image is decoded once.

An interrupted survey resumes, and a survey of a folder with added images decodes only those.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from tuner.storage.cache import Cache, CacheError
from tuner.storage.digests import key_of

# Increment when decoding changes: facts of other versions are not used.
_VERSION = 4
_FILE = "facts.db"
_SCHEMA = """
CREATE TABLE facts (
    sha256 TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    fingerprint BLOB NOT NULL
) STRICT;
CREATE TABLE pairs (
    one TEXT NOT NULL,
    other TEXT NOT NULL,
    likeness INTEGER NOT NULL,
    PRIMARY KEY (one, other)
) STRICT
"""
_SELECT = "SELECT format, width, height, fingerprint FROM facts WHERE sha256 = ?"
_INSERT = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)"
_SELECT_PAIR = "SELECT likeness FROM pairs WHERE one = ? AND other = ?"
_INSERT_PAIR = "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)"
# Images that a killed process can lose; every write costs an fsync.
_ROWS = 256


@dataclass(frozen=True)
class Facts:
    """Format, upright size in pixels and fingerprint (`near_duplicates`) of a readable image."""

    format: str
    width: int
    height: int
    fingerprint: bytes


class FactStore(contextlib.AbstractContextManager["FactStore"]):
    """Facts by SHA-256, and likenesses of pairs, in a cache, or in memory without one. Thread-safe.

    A database that is damaged, or of other `versions` of these, is not used. Every method
    raises CacheError if the cache folder is full, or is not writable.
    """

    def __init__(self, cache: Cache | None, *versions: int) -> None:
        self._guard = threading.Lock()
        self._new: dict[str, Facts] = {}
        self._new_pairs: dict[tuple[str, str], int] = {}
        self._cache = cache
        self._connection = None if cache is None else _opened(cache, key_of(_VERSION, *versions))

    def get(self, sha256: str) -> Facts | None:
        """The facts of an image, or None."""
        with self._guard:
            if sha256 in self._new or self._connection is None:
                return self._new.get(sha256)
            with self._explained():
                row = self._connection.execute(_SELECT, (sha256,)).fetchone()
        return None if row is None else Facts(*row)

    def put(self, sha256: str, facts: Facts) -> None:
        """Store the facts of an image; another process may have stored them already."""
        with self._guard:
            self._new[sha256] = facts
            if len(self._new) >= _ROWS:
                self._write()

    def likeness(self, one: str, other: str) -> int | None:
        """The likeness of two images, see `second_look`, or None."""
        pair = (one, other) if one < other else (other, one)
        with self._guard:
            if pair in self._new_pairs or self._connection is None:
                return self._new_pairs.get(pair)
            with self._explained():
                row = self._connection.execute(_SELECT_PAIR, pair).fetchone()
        return None if row is None else int(row[0])

    def put_likeness(self, one: str, other: str, likeness: int) -> None:
        """Store the likeness of two images."""
        with self._guard:
            self._new_pairs[(one, other) if one < other else (other, one)] = likeness
            if len(self._new_pairs) >= _ROWS:
                self._write()

    def __exit__(self, *error: object) -> None:
        """Write what is new, even after an interruption."""
        with self._guard:
            if self._connection is not None:
                with contextlib.closing(self._connection):
                    self._write()

    def _write(self) -> None:
        """Write in one short transaction, so that processes do not wait for each other."""
        if self._connection is not None:
            rows = [(sha256, *astuple(facts)) for sha256, facts in self._new.items()]
            with self._explained(), self._connection:
                self._connection.executemany(_INSERT, rows)
                self._connection.executemany(
                    _INSERT_PAIR, [(*pair, likeness) for pair, likeness in self._new_pairs.items()]
                )
            self._new.clear()
            self._new_pairs.clear()

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
    """Open the database of these versions; a damaged one is replaced."""
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
        connection.executescript(_SCHEMA)
