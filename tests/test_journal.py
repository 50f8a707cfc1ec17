"""The journal: what goes in comes out, one transaction at a time, also beside a writer."""

import json
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.errors import RunError, TuneError
from tuner.journal import (
    COMPLETED,
    FAILED,
    RUNNING,
    SCHEMA_VERSION,
    STOPPED,
    Journal,
    RungRecord,
    TrialRecord,
)

VALUES = st.one_of(
    st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.booleans(), st.text()
)
HYPERPARAMETERS = st.dictionaries(st.text(), VALUES, max_size=4)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.fixed_dictionaries({"loss": FINITE, "val_accuracy": FINITE})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal.create(path)
    yield journal
    journal.close()


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert journal.trials() == []
    assert journal.epochs(0) == []
    assert journal.evaluation(0) is None


def test_the_life_of_a_trial(journal: Journal) -> None:
    begun = journal.begin_trial({"width": 64, "dropout": 0.25, "bn": True}, slot=(1, 2))
    assert begun == TrialRecord(
        0, None, 1, 2, {"width": 64, "dropout": 0.25, "bn": True}, RUNNING, None, None, ()
    )
    assert (begun.score, begun.epochs, begun.seconds) == (None, 0, 0)
    journal.set_parameters(0, 12345)
    first, second = RungRecord(0, 2, 0.5, 1.25), RungRecord(2, 6, 0.75, 3.5)
    epochs = [{"loss": 1 / n, "val_accuracy": n / 10} for n in range(1, 7)]
    assert journal.finish_rung(0, first, epochs[:2], completed=False).status == STOPPED
    assert journal.promote(0).status == RUNNING
    done = journal.finish_rung(0, second, epochs[2:], completed=True)
    assert (done.status, done.parameters, done.rungs) == (COMPLETED, 12345, (first, second))
    assert (done.score, done.epochs, done.seconds) == (0.75, 6, 4.75)
    assert journal.epochs(0) == epochs
    assert journal.trial(0) == done


def test_a_recipe_has_no_bracket(journal: Journal) -> None:
    record = journal.begin_trial({}, recipe="plain head")
    assert (record.recipe, record.iteration, record.bracket) == ("plain head", None, None)
    with pytest.raises(sqlite3.IntegrityError):
        journal.begin_trial({}, recipe="plain head")


@pytest.mark.parametrize("place", [{}, {"recipe": "a", "slot": (0, 0)}])
def test_a_trial_has_either_a_recipe_or_a_slot(journal: Journal, place: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        journal.begin_trial({}, **place)
    assert journal.trials() == []


def test_a_failed_trial_keeps_its_reason_and_its_rungs(journal: Journal) -> None:
    journal.begin_trial({}, slot=(0, 1))
    journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{"loss": 1.0}], completed=False)
    journal.promote(0)
    record = journal.fail(0, "the loss became NaN\nin epoch 2")
    assert (record.status, record.message) == (FAILED, "the loss became NaN\nin epoch 2")
    assert record.score == 0.5
    assert journal.promote(0).message is None


def test_evaluations_replace_one_another(journal: Journal) -> None:
    journal.begin_trial({}, slot=(0, 0))
    journal.set_evaluation(0, {"accuracy": 0.5})
    journal.set_evaluation(0, {"accuracy": 0.75, "confusion": [[3, 1], [0, 4]]})
    assert journal.evaluation(0) == {"accuracy": 0.75, "confusion": [[3, 1], [0, 4]]}


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    trials=st.lists(
        st.tuples(HYPERPARAMETERS, st.lists(st.lists(METRICS, min_size=1, max_size=3), max_size=3)),
        max_size=4,
    )
)
def test_everything_survives_reopening(
    tmp_path_factory: pytest.TempPathFactory, trials: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    journal, expected = Journal.create(path), []
    for number, (hyperparameters, rungs) in enumerate(trials):
        record = journal.begin_trial(hyperparameters, slot=(number, 0))
        end = 0
        for epochs in rungs:
            rung = RungRecord(end, end + len(epochs), epochs[-1]["val_accuracy"], 0.5)
            end = rung.end_epoch
            record = journal.finish_rung(number, rung, epochs, completed=False)
        assert record.hyperparameters == hyperparameters
        assert list(record.hyperparameters) == list(hyperparameters)
        expected.append((record, [epoch for epochs in rungs for epoch in epochs]))
    journal.close()
    for read_only in (False, True):
        again = Journal.open(path, read_only=read_only)
        assert again.trials() == [record for record, _ in expected]
        assert [again.epochs(record.id) for record, _ in expected] == [e for _, e in expected]
        again.close()


def test_reading_while_another_writes(journal: Journal, path: Path) -> None:
    journal.begin_trial({"a": 1}, slot=(0, 0))
    reader = Journal.open(path, read_only=True)
    with journal._transaction() as execute:  # a write that is under way
        execute("UPDATE trials SET message = 'unseen'")
        assert reader.trial(0).message is None
    assert reader.trial(0).message == "unseen"
    journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{"loss": 1.0}], completed=True)
    assert reader.trial(0) == journal.trial(0)
    reader.close()


def test_a_reader_cannot_write(journal: Journal, path: Path) -> None:
    reader = Journal.open(path, read_only=True)
    with pytest.raises(TuneError, match="readonly"):
        reader.begin_trial({}, slot=(0, 0))
    reader.close()
    assert journal.trials() == []


def test_what_a_killed_process_had_committed_is_there(path: Path, tmp_path: Path) -> None:
    writer = Journal.create(path)
    writer.begin_trial({"a": 1}, slot=(0, 0))
    writer._connection.execute("BEGIN IMMEDIATE")
    writer._connection.execute("UPDATE trials SET message = 'lost'")
    # The folder as a kill -9 leaves it now: the log is not yet in the database.
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("journal.db*"):
        (copy / file.name).write_bytes(file.read_bytes())
    after = Journal.open(copy / "journal.db")
    assert [(trial.hyperparameters, trial.message) for trial in after.trials()] == [
        ({"a": 1}, None)
    ]
    after.close()
    writer.close()


def test_a_transaction_that_raises_leaves_nothing(journal: Journal) -> None:
    before = journal.begin_trial({}, slot=(0, 0))
    with pytest.raises(TypeError):  # the second epoch cannot be written
        journal.finish_rung(
            0, RungRecord(0, 2, 0.5, 1.0), [{"loss": 1.0}, {"loss": object()}], completed=True
        )
    assert journal.trial(0) == before
    assert journal.epochs(0) == []
    journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{"loss": 1.0}], completed=True)
    assert journal.trial(0).epochs == 1  # and the journal can still be used


def test_an_epoch_is_noted_once(journal: Journal) -> None:
    journal.begin_trial({}, slot=(0, 0))
    done = journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{"loss": 1.0}], completed=False)
    with pytest.raises(sqlite3.IntegrityError):
        journal.finish_rung(0, RungRecord(0, 1, 0.9, 1.0), [{"loss": 0.1}], completed=True)
    assert journal.trial(0) == done


def test_a_nan_score_is_refused(journal: Journal) -> None:
    before = journal.begin_trial({}, slot=(0, 0))
    with pytest.raises(sqlite3.IntegrityError, match=r"NOT NULL constraint failed: rungs\.score"):
        journal.finish_rung(0, RungRecord(0, 1, math.nan, 1.0), [{"loss": 1.0}], completed=True)
    assert journal.trial(0) == before


def test_foreign_keys_are_enforced(journal: Journal, path: Path) -> None:
    for connection in (journal, Journal.open(path)):
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            connection.set_evaluation(7, {})
    assert journal.evaluation(7) is None


def test_an_unknown_status_is_refused(journal: Journal) -> None:
    journal.begin_trial({}, slot=(0, 0))
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        journal._set_status(0, "LOST")


def test_a_newer_schema_is_refused(journal: Journal, path: Path) -> None:
    connection = raw(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(RunError, match=r"written by a newer version .* Upgrade"):
        Journal.open(path)


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(RunError, match="there is no journal"):
        Journal.open(path)
    assert not path.exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_damaged_file(path: Path, read_only: bool) -> None:
    path.write_bytes(b"this is not a database. " * 100)
    with pytest.raises(RunError, match="is damaged"):
        Journal.open(path, read_only=read_only)


def test_an_empty_file(path: Path) -> None:
    path.touch()
    with pytest.raises(RunError):
        Journal.open(path).trials()


def written(path: Path) -> bytes:
    """A journal of many pages."""
    journal = Journal.create(path)
    for number in range(200):
        journal.begin_trial({"text": "x" * 100}, slot=(0, number))
    journal.close()
    return path.read_bytes()


def test_a_file_that_lost_its_end(path: Path) -> None:
    path.write_bytes(written(path)[:-4096])
    with pytest.raises(RunError, match="is damaged"):
        Journal.open(path)


def test_a_file_that_is_damaged_in_the_middle(path: Path) -> None:
    content = bytearray(written(path))
    content[-4096:] = b"x" * 4096
    path.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        Journal.open(path).trials()


def test_what_is_kept_is_plain_json(journal: Journal, path: Path) -> None:
    journal.begin_trial({"width": 64, "bn": False}, slot=(0, 0))
    connection = raw(path)
    (text,) = connection.execute("SELECT hyperparameters FROM trials").fetchone()
    connection.close()
    assert json.loads(text) == {"width": 64, "bn": False}
