"""The run's journal: one SQLite file, one row for each configuration with its rungs and epochs.

The journal is the only memory of a search. Every change is one transaction, synced before it
returns; what comes next follows from these rows alone. Reading works while another process writes.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import RunError, TuneError

SCHEMA_VERSION = 1
RUNNING, STOPPED, COMPLETED, FAILED = "RUNNING", "STOPPED", "COMPLETED", "FAILED"

_SCHEMA = """
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,
    recipe TEXT UNIQUE,
    iteration INTEGER,
    bracket INTEGER,
    hyperparameters TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('RUNNING', 'STOPPED', 'COMPLETED', 'FAILED')),
    parameters INTEGER,
    message TEXT,
    CHECK ((recipe IS NULL) = (bracket IS NOT NULL))
) STRICT;
CREATE TABLE rungs (
    trial INTEGER NOT NULL REFERENCES trials (id),
    number INTEGER NOT NULL,
    start_epoch INTEGER NOT NULL,
    end_epoch INTEGER NOT NULL,
    score REAL NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (trial, number)
) STRICT;
CREATE TABLE epochs (
    trial INTEGER NOT NULL REFERENCES trials (id),
    epoch INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    PRIMARY KEY (trial, epoch)
) STRICT;
CREATE TABLE evaluations (
    trial INTEGER PRIMARY KEY REFERENCES trials (id),
    results TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class RungRecord:
    """One finished rung of a trial.

    Attributes:
        start_epoch: epochs done before it.
        end_epoch: epochs done after it.
        score: the objective at its last epoch.
        seconds: wall time.
    """

    start_epoch: int
    end_epoch: int
    score: float
    seconds: float


@dataclass(frozen=True)
class TrialRecord:
    """One configuration and all the training that it got.

    Attributes:
        id: number of the trial, from 0.
        recipe: name of the recipe that it trains, or None.
        iteration: Hyperband iteration, None for a recipe.
        bracket: number of its bracket, None for a recipe.
        hyperparameters: the active ones, by name.
        status: RUNNING; STOPPED (below the last rung, where Hyperband may leave it); COMPLETED
            (trained to the full number of epochs); FAILED.
        parameters: number of trained scalars, None before it was built.
        message: why it failed.
        rungs: the finished ones, in order.
    """

    id: int
    recipe: str | None
    iteration: int | None
    bracket: int | None
    hyperparameters: dict[str, Any]
    status: str
    parameters: int | None
    message: str | None
    rungs: tuple[RungRecord, ...]

    @property
    def score(self) -> float | None:
        """The objective at the last epoch of the highest rung reached."""
        return self.rungs[-1].score if self.rungs else None

    @property
    def epochs(self) -> int:
        """Epochs trained up to the highest rung reached."""
        return self.rungs[-1].end_epoch if self.rungs else 0

    @property
    def seconds(self) -> float:
        """Wall time of all its rungs."""
        return sum(rung.seconds for rung in self.rungs)


class Journal:
    """An open journal.

    Args:
        path: the file, which exists; `create` and `open` are the ways to get one.
        read_only: whether it cannot be written.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self._path = path
        uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
        with self._explained():
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA synchronous = FULL")

    @classmethod
    def create(cls, path: Path) -> "Journal":
        """Makes a new, empty journal."""
        path.touch()
        journal = cls(path)
        with journal._explained():
            journal._connection.execute("PRAGMA journal_mode = WAL")
            journal._connection.executescript(_SCHEMA)
            journal._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return journal

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> "Journal":
        """Opens a journal.

        Raises:
            RunError: it is missing, damaged, or was written by a newer version.
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
        with self._transaction() as execute:
            number = execute("SELECT COUNT(*) FROM trials").fetchone()[0]
            execute(
                "INSERT INTO trials (id, recipe, iteration, bracket, hyperparameters, status) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (number, recipe, iteration, bracket, json.dumps(dict(hyperparameters)), RUNNING),
            )
        return self.trial(number)

    def promote(self, trial: int) -> TrialRecord:
        """Marks a trial as running again, on its next rung."""
        self._set_status(trial, RUNNING)
        return self.trial(trial)

    def set_parameters(self, trial: int, parameters: int) -> None:
        """Notes how many scalars the trial trains."""
        with self._transaction() as execute:
            execute("UPDATE trials SET parameters = ? WHERE id = ?", (parameters, trial))

    def finish_rung(
        self,
        trial: int,
        rung: RungRecord,
        epochs: Sequence[Mapping[str, float]],
        *,
        completed: bool,
    ) -> TrialRecord:
        """Adds a finished rung with its epochs.

        Args:
            trial: number of the trial.
            rung: what it reached.
            epochs: the metrics of each of the rung's epochs, in order.
            completed: whether the trial has been trained to the full number of epochs.
        """
        number = len(self.trial(trial).rungs)
        with self._transaction() as execute:
            execute(
                "INSERT INTO rungs VALUES (?, ?, ?, ?, ?, ?)",
                (trial, number, rung.start_epoch, rung.end_epoch, rung.score, rung.seconds),
            )
            for epoch, metrics in enumerate(epochs, start=rung.start_epoch + 1):
                execute("INSERT INTO epochs VALUES (?, ?, ?)", (trial, epoch, json.dumps(metrics)))
            status = COMPLETED if completed else STOPPED
            execute("UPDATE trials SET status = ? WHERE id = ?", (status, trial))
        return self.trial(trial)

    def fail(self, trial: int, message: str) -> TrialRecord:
        """Marks a trial as failed, with the reason."""
        self._set_status(trial, FAILED, message)
        return self.trial(trial)

    def trial(self, number: int) -> TrialRecord:
        """The trial of that number."""
        return self._read("WHERE id = ?", (number,))[0]

    def trials(self) -> list[TrialRecord]:
        """Every trial, in the order in which they began."""
        return self._read("", ())

    def epochs(self, trial: int) -> list[dict[str, float]]:
        """Metrics of each epoch of a trial, from the first."""
        rows = self._query("SELECT metrics FROM epochs WHERE trial = ? ORDER BY epoch", (trial,))
        return [json.loads(metrics) for (metrics,) in rows]

    def set_evaluation(self, trial: int, results: Mapping[str, Any]) -> None:
        """Notes what a trial's model reached on the test images."""
        with self._transaction() as execute:
            execute(
                "INSERT OR REPLACE INTO evaluations VALUES (?, ?)",
                (trial, json.dumps(dict(results))),
            )

    def evaluation(self, trial: int) -> dict[str, Any] | None:
        """What `set_evaluation` noted, or None."""
        rows = self._query("SELECT results FROM evaluations WHERE trial = ?", (trial,))
        return json.loads(rows[0][0]) if rows else None

    def _set_status(self, trial: int, status: str, message: str | None = None) -> None:
        with self._transaction() as execute:
            execute(
                "UPDATE trials SET status = ?, message = ? WHERE id = ?", (status, message, trial)
            )

    def _read(self, where: str, arguments: tuple[Any, ...]) -> list[TrialRecord]:
        rungs: dict[int, list[RungRecord]] = {}
        for trial, *values in self._query(
            "SELECT trial, start_epoch, end_epoch, score, seconds FROM rungs ORDER BY trial, number"
        ):
            rungs.setdefault(trial, []).append(RungRecord(*values))
        rows = self._query(
            "SELECT id, recipe, iteration, bracket, hyperparameters, status, parameters, message "
            f"FROM trials {where} ORDER BY id",
            arguments,
        )
        return [
            TrialRecord(
                number, recipe, iteration, bracket, json.loads(hyperparameters), status,
                parameters, message, tuple(rungs.get(number, ())),
            )
            for number, recipe, iteration, bracket, hyperparameters, status, parameters, message
            in rows
        ]  # fmt: skip

    def _query(self, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._explained():
            return self._connection.execute(sql, arguments).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._explained():
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
        except sqlite3.OperationalError as error:  # locked, full, read-only
            raise TuneError(f"the journal {self._path} cannot be used: {error}.") from error
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise RunError(f"the journal {self._path} is damaged: {error}.") from error
