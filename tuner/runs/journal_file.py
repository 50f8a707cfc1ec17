"""The journal's SQLite file: schema, connection, checksums, salvage."""

import contextlib
import itertools
import json
import os
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuner.errors import RunError
from tuner.runs.records import RungRecord, TrialRecord
from tuner.storage.atomic import open_file
from tuner.storage.disk import free_bytes

SCHEMA_VERSION = 4

_TABLES = {
    "trials": """
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
        CHECK ((recipe IS NULL) = (bracket IS NOT NULL))""",
    "rungs": """
        trial INTEGER NOT NULL REFERENCES trials (id),
        number INTEGER NOT NULL,
        start_epoch INTEGER NOT NULL,
        end_epoch INTEGER NOT NULL,
        score REAL NOT NULL,
        seconds REAL NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (trial, number)""",
    "epochs": """
        trial INTEGER NOT NULL REFERENCES trials (id),
        epoch INTEGER NOT NULL,
        metrics TEXT NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (trial, epoch)""",
    "evaluations": """
        trial INTEGER PRIMARY KEY REFERENCES trials (id),
        results TEXT NOT NULL,
        crc INTEGER NOT NULL""",
    "notes": """
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        crc INTEGER NOT NULL""",
    "outcomes": """
        trial INTEGER NOT NULL REFERENCES trials (id),
        number INTEGER NOT NULL,
        data BLOB NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (trial, number)""",
    "evaluation_log": """
        number INTEGER PRIMARY KEY,
        trial INTEGER NOT NULL REFERENCES trials (id),
        entry TEXT NOT NULL,
        crc INTEGER NOT NULL""",
}
_CREATE = "\n".join(f"CREATE TABLE {name} ({columns}) STRICT;" for name, columns in _TABLES.items())
SCHEMA = f"BEGIN; {_CREATE} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
TRIAL_COLUMNS = (
    "id, recipe, iteration, bracket, hyperparameters, status, parameters, batch_size, message"
)
RUNG_COLUMNS = "trial, number, start_epoch, end_epoch, score, seconds"

_MOST_TRIALS = 10_000  # tried one by one in a damaged journal
_LONGEST_PATH = 504  # SQLite's MAX_PATHNAME, less the suffix of its own journal
_SCHEMA_BYTES = 16_384  # SQLite's first page holds the schema


def salvage(path: Path) -> list[TrialRecord]:
    """Read what is sound of a damaged journal: trials, each up to its first damaged rung."""
    by_number = f"SELECT {TRIAL_COLUMNS}, crc FROM trials WHERE id = ?"
    trials, rungs = [], []
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(path, "ro")) as connection:
        for number in range(_MOST_TRIALS):
            found = _readable(connection, by_number, number)
            if found and is_sound(found[0]):
                trials.append(found[0][:-1])
                rungs += _sound_rungs(connection, number)
    return to_records(trials, rungs)


def _sound_rungs(connection: sqlite3.Connection, trial: int) -> list[tuple[Any, ...]]:
    """A trial's rungs before the first damaged one, by the index or, if it is damaged, without."""
    query = "SELECT " + RUNG_COLUMNS + ", crc FROM rungs {} WHERE trial = ? ORDER BY number"
    rows = _readable(connection, query.format(""), trial)
    rows = rows or _readable(connection, query.format("NOT INDEXED"), trial)
    sound = itertools.takewhile(
        lambda row: is_sound(row[1]) and row[1][1] == row[0], enumerate(rows)
    )
    return [row[:-1] for _, row in sound]


def _readable(connection: sqlite3.Connection, sql: str, number: int) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(sql, (number,)).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return []


def is_journal(path: Path) -> bool:
    """Whether a file begins as a journal does; what follows may be damaged."""
    with contextlib.suppress(OSError), open_file(path) as file:
        begin = file.read(_SCHEMA_BYTES)
        return begin.startswith(b"SQLite format 3") and b"CREATE TABLE evaluation_log" in begin
    return False


def check_path(path: Path) -> None:
    """Raise RunError for a path that SQLite cannot open."""
    length = len(os.fsencode(path.absolute()))
    if length > _LONGEST_PATH:
        raise RunError(
            f"the path of the journal, {path}, has {length} bytes, but SQLite opens no more than "
            f"{_LONGEST_PATH}. Choose a runs folder with a shorter path."
        )


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open an SQLite file in autocommit mode; `mode` is "ro" or "rw"."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    wal = path.with_name(f"{path.name}-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    if mode == "ro" and not os.access(path.parent, os.W_OK) and not has_wal:
        uri += "&immutable=1"  # SQLite cannot make its index in a read-only folder
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)


def to_records(
    trials: Sequence[tuple[Any, ...]], rungs: Sequence[tuple[Any, ...]]
) -> list[TrialRecord]:
    """Records from rows of TRIAL_COLUMNS and RUNG_COLUMNS."""
    of_trial: dict[int, list[RungRecord]] = {}
    for trial, _, *rung in rungs:
        of_trial.setdefault(trial, []).append(RungRecord(*rung))
    records = []
    for row in trials:
        values: dict[str, Any] = dict(zip(TRIAL_COLUMNS.split(", "), row, strict=True))
        values["hyperparameters"] = json.loads(values["hyperparameters"])
        records.append(TrialRecord(**values, rungs=tuple(of_trial.get(values["id"], ()))))
    return records


def insert(execute: Any, statement: str, row: tuple[Any, ...]) -> None:
    """Insert a row with its checksum as the last column."""
    marks = ", ".join("?" * (len(row) + 1))
    execute(f"{statement} VALUES ({marks})", (*row, checksum(row)))


def is_sound(row: tuple[Any, ...]) -> bool:
    """Whether the last value of a row is the checksum of the others."""
    return bool(checksum(row[:-1]) == row[-1])


def checksum(row: tuple[Any, ...]) -> int:
    """CRC-32 of a row's values."""
    return zlib.crc32(json.dumps(row, default=zlib.crc32).encode())


def is_about_content(error: sqlite3.OperationalError) -> bool:
    """Whether an error is about a damaged table or text, not about the disk."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR


def explanation(path: Path, error: sqlite3.OperationalError) -> str:
    """One sentence for the user on an error of the disk."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return (
            f"there is no space left for the journal {path}: about 100 KB are needed and "
            f"{free_bytes(path.parent) // 1000} KB are free. Free some space and resume; "
            "everything saved so far is kept."
        )
    return f"the journal {path} cannot be used: {error}."
