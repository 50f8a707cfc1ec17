"""The journal's SQLite file: schema, checksums, salvage."""

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuner.runs.records import RungRecord, TrialRecord
from tuner.storage.disk import free_bytes

SCHEMA_VERSION, _OLDEST_READ = 3, 2

# What version 3 adds to version 2.
_ADDED = """
CREATE TABLE IF NOT EXISTS outcomes (
    trial INTEGER NOT NULL REFERENCES trials (id),
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (trial, number)
) STRICT;
CREATE TABLE IF NOT EXISTS looks (
    number INTEGER PRIMARY KEY,
    trial INTEGER NOT NULL REFERENCES trials (id),
    facts TEXT NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
"""
_SCHEMA = f"""
BEGIN;
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,
    recipe TEXT UNIQUE,
    iteration INTEGER,
    bracket INTEGER,
    hyperparameters TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('RUNNING', 'STOPPED', 'COMPLETED', 'FAILED')),
    parameters INTEGER,
    batch_size INTEGER,
    message TEXT,
    crc INTEGER NOT NULL,
    CHECK ((recipe IS NULL) = (bracket IS NOT NULL))
) STRICT;
CREATE TABLE rungs (
    trial INTEGER NOT NULL REFERENCES trials (id),
    number INTEGER NOT NULL,
    start_epoch INTEGER NOT NULL,
    end_epoch INTEGER NOT NULL,
    score REAL NOT NULL,
    seconds REAL NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (trial, number)
) STRICT;
CREATE TABLE epochs (
    trial INTEGER NOT NULL REFERENCES trials (id),
    epoch INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (trial, epoch)
) STRICT;
CREATE TABLE evaluations (
    trial INTEGER PRIMARY KEY REFERENCES trials (id),
    results TEXT NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
{_ADDED}
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_TRIAL = "id, recipe, iteration, bracket, hyperparameters, status, parameters, batch_size, message"
_RUNG = "trial, number, start_epoch, end_epoch, score, seconds"

# Trials that are looked for in a damaged journal.
_MOST_TRIALS = 10_000


def salvage(path: Path) -> list[TrialRecord]:
    """What can still be read of a damaged journal: sound trials, each up to a damaged rung."""

    def rows(sql: str, number: int) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(sql, (number,)).fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            return []

    try:
        connection = _connect(path, "ro")
    except sqlite3.Error:
        return []
    with contextlib.closing(connection):
        trials, rungs = [], []
        for number in range(_MOST_TRIALS):
            found = rows(f"SELECT {_TRIAL}, crc FROM trials WHERE id = ?", number)
            if not found or not _sound(found[0]):
                continue
            trials.append(found[0][:-1])
            index = "SELECT " + _RUNG + ", crc FROM rungs {} WHERE trial = ? ORDER BY number"
            finished = rows(index.format(""), number) or rows(index.format("NOT INDEXED"), number)
            for expected, rung in enumerate(finished):
                if not _sound(rung) or rung[1] != expected:
                    break
                rungs.append(rung[:-1])
    return _records(trials, rungs)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    if mode == "ro" and not os.access(path.parent, os.W_OK) and not _has_wal(path):
        uri += "&immutable=1"  # on a medium that cannot be written SQLite makes no index
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)


def _has_wal(path: Path) -> bool:
    wal = path.with_name(f"{path.name}-wal")
    return wal.exists() and wal.stat().st_size > 0


def _records(
    trials: Sequence[tuple[Any, ...]], rungs: Sequence[tuple[Any, ...]]
) -> list[TrialRecord]:
    of_trial: dict[int, list[RungRecord]] = {}
    for trial, _, *values in rungs:
        of_trial.setdefault(trial, []).append(RungRecord(*values))
    return [
        TrialRecord(
            id=number,
            recipe=recipe,
            iteration=iteration,
            bracket=bracket,
            hyperparameters=json.loads(hyperparameters),
            status=status,
            parameters=parameters,
            batch_size=batch_size,
            message=message,
            rungs=tuple(of_trial.get(number, ())),
        )
        for (
            number, recipe, iteration, bracket, hyperparameters, status, parameters, batch_size,
            message,
        ) in trials
    ]  # fmt: skip


def _insert(execute: Any, statement: str, row: tuple[Any, ...]) -> None:
    """Inserts a row with its checksum as the last column."""
    marks = ", ".join("?" * (len(row) + 1))
    execute(f"{statement} VALUES ({marks})", (*row, _checksum(row)))


def _sound(row: tuple[Any, ...]) -> bool:
    return bool(_checksum(row[:-1]) == row[-1])


def _checksum(row: tuple[Any, ...]) -> int:
    return zlib.crc32(json.dumps(row, default=zlib.crc32).encode())


def _of_content(error: sqlite3.OperationalError) -> bool:
    """Whether an error tells of a table or a text that was not written so, not of the disk."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR


def _explanation(path: Path, error: sqlite3.OperationalError) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return (
            f"there is no space left for the journal {path}: some 100 KB are needed and "
            f"{free_bytes(path.parent) // 1000} KB are free. Free some; the search goes on from "
            "what was saved."
        )
    return f"the journal {path} cannot be used: {error}."
