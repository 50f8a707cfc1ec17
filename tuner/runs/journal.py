"""The run's journal, the only memory of a search: one SQLite file of trials, rungs and epochs.

Every change is one transaction, and every row has a checksum. Results are flushed to disk before
the call returns; that a trial began is not, since losing it in a power cut costs nothing.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.errors import DamagedJournalError, RunError, TuneError
from tuner.runs.journal_file import (
    RUNG_COLUMNS,
    SCHEMA,
    SCHEMA_VERSION,
    TRIAL_COLUMNS,
    check_path,
    checksum,
    connect,
    explanation,
    insert,
    is_about_content,
    is_sound,
    to_records,
)
from tuner.runs.notes import Notes
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import COMPLETED, FAILED, RUNNING, STOPPED, RungRecord, TrialRecord
from tuner.storage.atomic import sync

_PARTIAL = ".journal.db."  # prefix of a journal that is being made; the process id follows


class Journal:
    """An open journal; make one with `create` or `open`."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        check_path(path)
        self._path = path
        self._known: list[TrialRecord] = []
        self._read_at: tuple[int, int] | None = None  # changes by other processes, and by this one
        with self._explained():
            self._connection = connect(path, "ro" if read_only else "rw")
            self._connection.execute("PRAGMA foreign_keys = ON")

    @classmethod
    def create(cls, path: Path) -> "Journal":
        """Make an empty journal; the file appears under its name once it is complete."""
        new = path.with_name(f"{_PARTIAL}{os.getpid()}")
        new.touch()
        journal = cls(new)
        with journal._explained():
            # WAL comes later: closing does not report what it could not copy out of the log.
            journal._connection.execute("PRAGMA journal_mode = MEMORY")
            journal._connection.executescript(SCHEMA)
        journal.close()
        new.rename(path)
        sync(path.parent)
        journal = cls(path)
        journal._enable_wal()
        return journal

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> "Journal":
        """Open a journal; RunError if it is none of this version, or damaged."""
        if not path.is_file():
            raise RunError(f"there is no journal at {path}.")
        journal = cls(path, read_only)
        version = journal._query("PRAGMA user_version")[0][0]
        if version < 1:
            raise RunError(f"{path} is not a journal of this program.")
        if version != SCHEMA_VERSION:
            age = "a newer" if version > SCHEMA_VERSION else "an older"
            raise RunError(
                f"the journal {path} was written by {age} version (schema {version}, this one "
                f"reads {SCHEMA_VERSION}). Use that version, or start over with --overwrite."
            )
        # quick_check would not notice a damaged index, behind which rows are not found.
        result = journal._query("PRAGMA integrity_check(1)")[0][0]
        if result != "ok":
            raise journal._damaged(result)
        if not read_only:
            journal._enable_wal()
        return journal

    def close(self) -> None:
        """Close the file; the journal cannot be used afterwards."""
        self._connection.close()

    def begin_trial(
        self,
        hyperparameters: Mapping[str, Any],
        *,
        recipe: str | None = None,
        slot: tuple[int, int] | None = None,
    ) -> TrialRecord:
        """Add a running trial, of a recipe or of a slot: (Hyperband iteration, bracket)."""
        iteration, bracket = slot or (None, None)
        with self._transaction(durable=False) as execute:
            number = execute("SELECT COUNT(*) FROM trials").fetchone()[0]
            values = json.dumps(dict(hyperparameters))
            row = (number, recipe, iteration, bracket, values, RUNNING, None, None, None)
            insert(execute, f"INSERT INTO trials ({TRIAL_COLUMNS}, crc)", row)
        return self.trial(number)

    def promote(self, trial: int) -> TrialRecord:
        """Mark a trial as running again, on its next rung."""
        self._update(trial, durable=False, status=RUNNING, message=None)
        return self.trial(trial)

    def set_parameters(self, trial: int, parameters: int) -> None:
        """Note how many scalars the trial trains."""
        self._update(trial, durable=False, parameters=parameters)

    def set_batch_size(self, trial: int, batch_size: int) -> None:
        """Note that the trial has a smaller batch size than the search."""
        self._update(trial, batch_size=batch_size)

    def finish_rung(
        self,
        trial: int,
        rung: RungRecord,
        epochs: Sequence[Mapping[str, float]],
        *,
        outcomes: Outcomes | None = None,
        completed: bool,
    ) -> None:
        """Add a finished rung with the metrics of its epochs and the outcomes after the last.

        A `completed` trial has been trained for all its epochs; another may be promoted.
        """
        with self._transaction() as execute:
            counted = execute("SELECT COUNT(*) FROM rungs WHERE trial = ?", (trial,))
            number = counted.fetchone()[0]
            # Without negative zero, which SQLite returns as zero: the checksum must match.
            score, seconds = float(rung.score) + 0.0, float(rung.seconds) + 0.0
            row = (trial, number, rung.start_epoch, rung.end_epoch, score, seconds)
            insert(execute, "INSERT INTO rungs", row)
            for epoch, metrics in enumerate(epochs, start=rung.start_epoch + 1):
                insert(execute, "INSERT INTO epochs", (trial, epoch, json.dumps(metrics)))
            if outcomes is not None:
                insert(execute, "INSERT INTO outcomes", (trial, number, outcomes.to_bytes()))
            self._change(execute, trial, {"status": COMPLETED if completed else STOPPED})

    def fail(self, trial: int, message: str) -> None:
        """Mark a trial as failed, with the reason."""
        self._update(trial, status=FAILED, message=message)

    def trial(self, number: int) -> TrialRecord:
        """The trial with this number."""
        return self._read(number)[0]

    def trials(self) -> list[TrialRecord]:
        """All trials in the order they began; cached until a process changes the file."""
        state = (self._query("PRAGMA data_version")[0][0], self._connection.total_changes)
        if state != self._read_at:
            self._known, self._read_at = self._read(), state
        return list(self._known)

    def epochs(self, trial: int) -> list[dict[str, float]]:
        """Metrics of each epoch of a trial, in order."""
        rows = self._rows(
            "SELECT trial, epoch, metrics, crc FROM epochs WHERE trial = ? ORDER BY epoch", (trial,)
        )
        return [json.loads(metrics) for _, _, metrics in rows]

    def outcomes(self, trial: int, rung: int | None = None) -> Outcomes | None:
        """A trial's predictions at the end of a rung (None: the last finished one), if any."""
        last = "(SELECT MAX(number) FROM rungs WHERE trial = ?1)"
        rows = self._rows(
            f"SELECT * FROM outcomes WHERE trial = ?1 AND number = COALESCE(?2, {last})",
            (trial, rung),
        )
        return Outcomes.from_bytes(rows[0][2]) if rows else None

    def set_evaluation(self, trial: int, results: Mapping[str, Any]) -> None:
        """Note a trial's results on the test images, in place of earlier ones."""
        with self._transaction() as execute:
            self._put_evaluation(execute, trial, results)

    def log_evaluation(
        self, trial: int, entry: Mapping[str, Any], results: Mapping[int, Mapping[str, Any]]
    ) -> None:
        """Log one evaluation of a trial on the test images, with results by number of a trial."""
        with self._transaction() as execute:
            for number, reached in results.items():
                self._put_evaluation(execute, number, reached)
            count = execute("SELECT COUNT(*) FROM evaluation_log").fetchone()[0]
            row = (count, trial, json.dumps(dict(entry)))
            insert(execute, "INSERT INTO evaluation_log", row)

    def evaluation_log(self) -> list[tuple[int, dict[str, Any]]]:
        """Every logged evaluation on the test images, oldest first: (trial, entry)."""
        rows = self._rows("SELECT * FROM evaluation_log ORDER BY number")
        return [(trial, json.loads(entry)) for _, trial, entry in rows]

    def evaluation(self, trial: int) -> dict[str, Any] | None:
        """A trial's latest results on the test images, or None."""
        rows = self._rows("SELECT * FROM evaluations WHERE trial = ?", (trial,))
        return json.loads(rows[0][1]) if rows else None

    def set_notes(self, notes: Notes, durable: bool = True) -> None:
        """Note facts about the search in place of earlier ones; those that are None stay."""
        with self._transaction(durable) as execute:
            for name, value in vars(notes).items():
                if value is not None:
                    row = (name, json.dumps(value))
                    insert(execute, "INSERT OR REPLACE INTO notes", row)

    def notes(self) -> Notes:
        """All facts that `set_notes` noted, as JSON returns them."""
        rows = self._rows("SELECT * FROM notes")
        return Notes(**{name: json.loads(value) for name, value in rows})

    @staticmethod
    def _put_evaluation(execute: Any, trial: int, results: Mapping[str, Any]) -> None:
        row = (trial, json.dumps(dict(results)))
        insert(execute, "INSERT OR REPLACE INTO evaluations", row)

    def _update(self, trial: int, durable: bool = True, **changes: Any) -> None:
        with self._transaction(durable) as execute:
            self._change(execute, trial, changes)

    def _change(self, execute: Any, trial: int, changes: Mapping[str, Any]) -> None:
        """Change columns of a trial's row, and its checksum with them."""
        names = TRIAL_COLUMNS.split(", ")
        (old,) = self._rows(f"SELECT {TRIAL_COLUMNS}, crc FROM trials WHERE id = ?", (trial,))
        row = tuple((dict(zip(names, old, strict=True)) | dict(changes)).values())
        columns = ", ".join(f"{name} = ?" for name in [*names, "crc"])
        execute(f"UPDATE trials SET {columns} WHERE id = ?", (*row, checksum(row), trial))

    def _read(self, trial: int | None = None) -> list[TrialRecord]:
        """Read one trial, or all."""
        one, chosen = ("", ()) if trial is None else ("WHERE {} = ?", (trial,))
        of_trials, of_rungs = one.format("id"), one.format("trial")
        trials = f"SELECT {TRIAL_COLUMNS}, crc FROM trials {of_trials} ORDER BY id"
        rungs = f"SELECT {RUNG_COLUMNS}, crc FROM rungs {of_rungs} ORDER BY trial, number"
        return to_records(self._rows(trials, chosen), self._rows(rungs, chosen))

    def _rows(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows without their last column, the checksum, which is verified here."""
        rows = self._query(sql, arguments)
        if not all(is_sound(row) for row in rows):
            raise self._damaged("the checksum of a row does not match")
        return [row[:-1] for row in rows]

    def _query(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._explained():
            return self._connection.execute(sql, arguments).fetchall()

    def _enable_wal(self) -> None:
        """Switch to a write-ahead log, so that others can read while this process writes."""
        self._query("PRAGMA journal_mode = WAL")

    @contextlib.contextmanager
    def _transaction(self, durable: bool = True) -> Iterator[Any]:
        with self._explained():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite errors about the file into errors of this program."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if is_about_content(error):
                raise self._damaged(str(error)) from error
            raise TuneError(explanation(self._path, error)) from error
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> DamagedJournalError:
        return DamagedJournalError(
            f"the journal {self._path} is damaged: {' '.join(reason.split())[:200]}. "
            "Restore a copy, or start over with --overwrite."
        )


def is_unused(folder: Path) -> bool:
    """Whether a folder is empty, apart from what a killed `Journal.create` left."""
    return all(path.name.startswith(_PARTIAL) for path in folder.iterdir())
