"""The run's journal: one SQLite file, one row for each configuration with its rungs and epochs.

The journal is the only memory of a search. Every change is one transaction; what comes next follows
from these rows alone. A result is synced before it returns; that a trial began is not, since a
power cut that takes it back costs nothing. Every row carries a checksum, so that a flipped byte is
never taken for a score. Reading works while another process writes.
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
    _ADDED,
    _OLDEST_READ,
    _RUNG,
    _SCHEMA,
    _TRIAL,
    SCHEMA_VERSION,
    _checksum,
    _connect,
    _explanation,
    _insert,
    _of_content,
    _records,
    _sound,
)
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import COMPLETED, FAILED, RUNNING, STOPPED, RungRecord, TrialRecord
from tuner.storage.atomic import sync

_PARTIAL = ".journal.db."  # of what is being made; the process's number follows


class Journal:
    """An open journal.

    Args:
        path: the file, which exists; `create` and `open` are the ways to get one.
        read_only: whether it cannot be written.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self._path = path
        self._known: list[TrialRecord] = []
        self._read_at: tuple[int, int] | None = None  # others' changes to the file, and this one's
        with self._explained():
            self._connection = _connect(path, "ro" if read_only else "rw")
            self._connection.execute("PRAGMA foreign_keys = ON")

    @classmethod
    def create(cls, path: Path) -> "Journal":
        """Makes a new, empty journal; it appears under its name when it is whole."""
        new = path.with_name(f"{_PARTIAL}{os.getpid()}")
        new.touch()
        journal = cls(new)
        with journal._explained():
            # Not yet with a write-ahead log: what closing cannot copy out of that, it does not say.
            journal._connection.execute("PRAGMA journal_mode = MEMORY")
            journal._connection.executescript(_SCHEMA)
        journal.close()
        new.rename(path)
        sync(path.parent)
        journal = cls(path)
        journal._log_ahead()
        return journal

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> "Journal":
        """Opens a journal.

        Raises:
            RunError: it is missing, or was written by another version.
            DamagedJournalError: it holds bytes that were not written so.
        """
        if not path.is_file():
            raise RunError(f"there is no journal at {path}.")
        journal = cls(path, read_only)
        version = journal._query("PRAGMA user_version")[0][0]
        if version > SCHEMA_VERSION:
            raise RunError(
                f"the journal {path} was written by a newer version (schema {version}, this one "
                f"reads up to {SCHEMA_VERSION}). Upgrade tune-resnet50."
            )
        if version < 1:
            raise RunError(f"{path} is not a journal of this program.")
        if version < _OLDEST_READ:
            raise RunError(
                f"the journal {path} was written by an older version (schema {version}, this one "
                f"reads {_OLDEST_READ} to {SCHEMA_VERSION}). Begin the search again with "
                "--overwrite."
            )
        # Not quick_check, which takes an index on trust: rows behind a damaged one are not found.
        verdict = journal._query("PRAGMA integrity_check(1)")[0][0]
        if verdict != "ok":
            raise journal._damaged(verdict)
        if not read_only:
            journal._log_ahead()
            journal._bring_up_to_date()
        return journal

    def close(self) -> None:
        """Closes the file; the journal cannot be used afterwards."""
        self._connection.close()

    def begin_trial(
        self,
        hyperparameters: Mapping[str, Any],
        *,
        recipe: str | None = None,
        slot: tuple[int, int] | None = None,
    ) -> TrialRecord:
        """Adds a configuration, running.

        Args:
            hyperparameters: the active ones, by name.
            recipe: name of the recipe that it trains, or
            slot: (iteration, bracket) that it belongs to.
        """
        iteration, bracket = slot or (None, None)
        with self._transaction(durable=False) as execute:
            number = execute("SELECT COUNT(*) FROM trials").fetchone()[0]
            values = json.dumps(dict(hyperparameters))
            row = (number, recipe, iteration, bracket, values, RUNNING, None, None, None)
            _insert(execute, f"INSERT INTO trials ({_TRIAL}, crc)", row)
        return self.trial(number)

    def promote(self, trial: int) -> TrialRecord:
        """Marks a trial as running again, on its next rung."""
        self._update(trial, durable=False, status=RUNNING, message=None)
        return self.trial(trial)

    def set_parameters(self, trial: int, parameters: int) -> None:
        """Notes how many scalars the trial trains."""
        self._update(trial, durable=False, parameters=parameters)

    def set_batch_size(self, trial: int, batch_size: int) -> None:
        """Notes that the trial takes fewer images a step than the search."""
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
        """Adds a finished rung with its epochs.

        Args:
            trial: number of the trial.
            rung: what it reached.
            epochs: the metrics of each of the rung's epochs, in order.
            outcomes: what the trial made of the validation images at its last epoch.
            completed: whether the trial has been trained to the full number of epochs.
        """
        with self._transaction() as execute:
            counted = execute("SELECT COUNT(*) FROM rungs WHERE trial = ?", (trial,))
            number = counted.fetchone()[0]
            # As SQLite gives them back, without a negative zero, since the checksum is of that.
            score, seconds = float(rung.score) + 0.0, float(rung.seconds) + 0.0
            row = (trial, number, rung.start_epoch, rung.end_epoch, score, seconds)
            _insert(execute, "INSERT INTO rungs", row)
            for epoch, metrics in enumerate(epochs, start=rung.start_epoch + 1):
                _insert(execute, "INSERT INTO epochs", (trial, epoch, json.dumps(metrics)))
            if outcomes is not None:
                _insert(execute, "INSERT INTO outcomes", (trial, number, outcomes.to_bytes()))
            self._change(execute, trial, {"status": COMPLETED if completed else STOPPED})

    def fail(self, trial: int, message: str) -> None:
        """Marks a trial as failed, with the reason."""
        self._update(trial, status=FAILED, message=message)

    def trial(self, number: int) -> TrialRecord:
        """The trial of that number."""
        return self._read(number)[0]

    def trials(self) -> list[TrialRecord]:
        """Every trial, in the order in which they began; read again when something has changed."""
        state = (self._query("PRAGMA data_version")[0][0], self._connection.total_changes)
        if state != self._read_at:
            self._known, self._read_at = self._read(), state
        return list(self._known)

    def epochs(self, trial: int) -> list[dict[str, float]]:
        """Metrics of each epoch of a trial, from the first."""
        rows = self._rows(
            "SELECT trial, epoch, metrics, crc FROM epochs WHERE trial = ? ORDER BY epoch", (trial,)
        )
        return [json.loads(metrics) for _, _, metrics in rows]

    def outcomes(self, trial: int, rung: int | None = None) -> Outcomes | None:
        """What a trial made of the validation images at the end of a rung.

        Args:
            trial: number of the trial.
            rung: which of its rungs, from 0; None for the highest that it has finished.

        Returns:
            As `finish_rung` was given them; None where it was not, as by versions before this.
        """
        if self._is_old():
            return None
        last = "(SELECT MAX(number) FROM rungs WHERE trial = ?1)" if rung is None else "?2"
        rows = self._rows(
            f"SELECT * FROM outcomes WHERE trial = ?1 AND number = {last}",
            (trial,) if rung is None else (trial, rung),
        )
        return Outcomes.from_bytes(rows[0][2]) if rows else None

    def set_evaluation(self, trial: int, results: Mapping[str, Any]) -> None:
        """Notes what a trial's model reached on the test images, in place of earlier results."""
        self.add_look(trial, None, {trial: results})

    def add_look(
        self, trial: int, look: Mapping[str, Any] | None, results: Mapping[int, Mapping[str, Any]]
    ) -> None:
        """Notes that the test images were looked at, and what that gave, all of it or nothing.

        Args:
            trial: number of the trial that it was done for.
            look: what is to be remembered of it; None for no look.
            results: number of a trial to what it reached, as JSON can hold it.
        """
        with self._transaction() as execute:
            for number, reached in results.items():
                row = (number, json.dumps(dict(reached)))
                _insert(execute, "INSERT OR REPLACE INTO evaluations", row)
            if look is not None:
                count = execute("SELECT COUNT(*) FROM looks").fetchone()[0]
                _insert(execute, "INSERT INTO looks", (count, trial, json.dumps(dict(look))))

    def looks(self) -> list[tuple[int, dict[str, Any]]]:
        """Each time that the test images were looked at: for which trial, and what was noted."""
        if self._is_old():
            return []
        rows = self._rows("SELECT * FROM looks ORDER BY number")
        return [(trial, json.loads(facts)) for _, trial, facts in rows]

    def evaluation(self, trial: int) -> dict[str, Any] | None:
        """What `set_evaluation` noted, or None."""
        rows = self._rows("SELECT * FROM evaluations WHERE trial = ?", (trial,))
        return json.loads(rows[0][1]) if rows else None

    def set_notes(self, notes: Mapping[str, Any], durable: bool = True) -> None:
        """Notes facts about the search, all of them or none, in place of earlier ones.

        Args:
            notes: name to a value that JSON can hold.
            durable: whether they are synced; a power cut may take back those that are not.
        """
        with self._transaction(durable) as execute:
            for name, value in notes.items():
                _insert(execute, "INSERT OR REPLACE INTO notes", (name, json.dumps(value)))

    def note(self, name: str) -> Any:
        """What `set_notes` noted under that name, as JSON gives it back, or None."""
        rows = self._rows("SELECT * FROM notes WHERE name = ?", (name,))
        return json.loads(rows[0][1]) if rows else None

    def _update(self, trial: int, durable: bool = True, **changes: Any) -> None:
        with self._transaction(durable) as execute:
            self._change(execute, trial, changes)

    def _change(self, execute: Any, trial: int, changes: Mapping[str, Any]) -> None:
        """Changes columns of a trial's row, and its checksum with them."""
        names = _TRIAL.split(", ")
        (old,) = self._rows(f"SELECT {_TRIAL}, crc FROM trials WHERE id = ?", (trial,))
        row = tuple((dict(zip(names, old, strict=True)) | dict(changes)).values())
        columns = ", ".join(f"{name} = ?" for name in [*names, "crc"])
        execute(f"UPDATE trials SET {columns} WHERE id = ?", (*row, _checksum(row), trial))

    def _read(self, trial: int | None = None) -> list[TrialRecord]:
        """One trial, or all."""
        one, chosen = ("", ()) if trial is None else ("WHERE {} = ?", (trial,))
        of_trials, of_rungs = one.format("id"), one.format("trial")
        trials = f"SELECT {_TRIAL}, crc FROM trials {of_trials} ORDER BY id"
        rungs = f"SELECT {_RUNG}, crc FROM rungs {of_rungs} ORDER BY trial, number"
        return _records(self._rows(trials, chosen), self._rows(rungs, chosen))

    def _rows(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows without the checksum, which is their last column and has been compared."""
        rows = self._query(sql, arguments)
        if not all(_sound(row) for row in rows):
            raise self._damaged("a row is not what was written")
        return [row[:-1] for row in rows]

    def _query(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._explained():
            return self._connection.execute(sql, arguments).fetchall()

    def _bring_up_to_date(self) -> None:
        """Adds what a journal of an older version lacks."""
        if self._is_old():
            with self._transaction() as execute:
                for statement in filter(str.strip, _ADDED.split(";")):
                    execute(statement)
                execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _is_old(self) -> bool:
        """Whether it lacks what this version adds: only where it cannot be written."""
        return bool(self._query("PRAGMA user_version")[0][0] < SCHEMA_VERSION)

    def _log_ahead(self) -> None:
        """Lets others read while this process writes; the file remembers it."""
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
        """Turns what SQLite raises about the file into a sentence."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if _of_content(error):
                raise self._damaged(str(error)) from error
            raise TuneError(_explanation(self._path, error)) from error
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> DamagedJournalError:
        return DamagedJournalError(
            f"the journal {self._path} is damaged: {' '.join(reason.split())[:200]}. Put a copy of "
            "it back, or begin the search again with --overwrite."
        )


def is_unused(folder: Path) -> bool:
    """Whether a folder holds nothing, or only what a killed `Journal.create` left."""
    return all(path.name.startswith(_PARTIAL) for path in folder.iterdir())
