"""The journal: round trips, transactions, damage, and readers beside a writer."""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.errors import DamagedJournalError, InputError, RunError, TuneError
from tuner.runs.journal import Journal
from tuner.runs.journal_file import SCHEMA_VERSION, salvage
from tuner.runs.notes import Notes
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import COMPLETED, FAILED, RUNNING, STOPPED, RungRecord, TrialRecord

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
    journal.finish_rung(0, first, epochs[:2], completed=False)
    assert journal.trial(0).status == STOPPED
    assert journal.promote(0).status == RUNNING
    journal.finish_rung(0, second, epochs[2:], completed=True)
    done = journal.trial(0)
    assert (done.status, done.parameters, done.rungs) == (COMPLETED, 12345, (first, second))
    assert (done.score, done.epochs, done.seconds) == (0.75, 6, 4.75)
    assert journal.epochs(0) == epochs
    assert journal.trials() == [done]


def test_trials_are_cached_until_a_process_changes_the_file(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = Journal._read

    def counted(self: Journal, trial: int | None = None) -> list[TrialRecord]:
        reads.append(trial)
        return read(self, trial)

    journal.begin_trial({}, slot=(0, 0))
    with contextlib.closing(Journal.open(tmp_path / "journal.db")) as other:
        monkeypatch.setattr(Journal, "_read", counted)
        assert journal.trials() == journal.trials() == [journal.trial(0)]
        assert reads == [None, 0]
        journal.fail(0, "mine")
        assert journal.trials()[0].message == "mine"
        other.fail(0, "another's")
        assert journal.trials()[0].message == "another's"
        journal.trials().clear()
        assert len(journal.trials()) == 1
    assert reads == [None, 0, None, None]


def test_outcomes_belong_to_a_rung(journal: Journal) -> None:
    def outcomes(share: float) -> Outcomes:
        return Outcomes.of(np.array([[share, 1 - share]] * 3), np.array([0, 1, 0]))

    journal.begin_trial({}, slot=(0, 0))
    assert journal.outcomes(0) is None
    for number, share in enumerate((0.25, 0.75)):
        rung = RungRecord(number, number + 1, 0.5, 1.0)
        journal.finish_rung(0, rung, [{}], outcomes=outcomes(share), completed=False)
    found = journal.outcomes(0)
    assert found is not None
    assert found.to_bytes() == outcomes(0.75).to_bytes()
    first = journal.outcomes(0, rung=0)
    assert first is not None
    assert first.to_bytes() == outcomes(0.25).to_bytes()
    journal.finish_rung(0, RungRecord(2, 3, 0.5, 1.0), [{}], completed=True)
    assert journal.outcomes(0) is None  # those of an earlier rung are not the score's


def test_every_evaluation_is_logged_and_results_are_replaced(journal: Journal) -> None:
    journal.begin_trial({}, slot=(0, 0))
    journal.begin_trial({}, slot=(0, 0))
    assert journal.evaluation_log() == []
    journal.log_evaluation(1, {"when": "yesterday"}, {1: {"right": 3}, 0: {"right": 2}})
    journal.log_evaluation(0, {"when": "today"}, {0: {"right": 4}})
    journal.set_evaluation(1, {"right": 5})
    assert journal.evaluation_log() == [(1, {"when": "yesterday"}), (0, {"when": "today"})]
    assert [journal.evaluation(number) for number in (0, 1)] == [{"right": 4}, {"right": 5}]


def test_damaged_outcomes_are_detected(journal: Journal, path: Path) -> None:
    journal.begin_trial({}, slot=(0, 0))
    made = Outcomes.of(np.array([[0.5, 0.5]]), np.array([0]))
    journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{}], outcomes=made, completed=False)
    other = Outcomes.of(np.array([[0.25, 0.75]]), np.array([0])).to_bytes()
    connection = raw(path)
    connection.execute("UPDATE outcomes SET data = ?", (other,))
    connection.close()
    with pytest.raises(DamagedJournalError, match="checksum of a row does not match"):
        journal.outcomes(0)


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
    journal.fail(0, "the loss became NaN\nin epoch 2")
    record = journal.trial(0)
    assert (record.status, record.message) == (FAILED, "the loss became NaN\nin epoch 2")
    assert record.score == 0.5
    assert journal.promote(0).message is None


def test_a_smaller_batch_size_is_kept(journal: Journal) -> None:
    begun = journal.begin_trial({}, slot=(0, 1))
    assert begun.batch_size is None
    journal.set_batch_size(0, 8)
    assert journal.trial(0).batch_size == 8
    journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{"loss": 1.0}], completed=False)
    assert journal.promote(0).batch_size == 8


def test_notes_are_replaced_all_or_none(journal: Journal) -> None:
    assert journal.notes() == Notes()
    journal.set_notes(Notes(plan=[3, 1], finished_iterations=0))
    journal.set_notes(Notes(finished_iterations=2))
    expected = Notes(plan=[3, 1], finished_iterations=2)
    assert journal.notes() == expected
    with pytest.raises(TypeError):
        journal.set_notes(Notes(plan=[9, 9], space=[{"name": object()}]))
    assert journal.notes() == expected


def test_an_evaluation_replaces_the_one_before(journal: Journal) -> None:
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
            journal.finish_rung(number, rung, epochs, completed=False)
            record = journal.trial(number)
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
        journal._change(execute, 0, {"message": "unseen"})
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


def test_commits_of_a_killed_process_are_kept(path: Path, tmp_path: Path) -> None:
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


def test_an_epoch_cannot_be_added_twice(journal: Journal) -> None:
    journal.begin_trial({}, slot=(0, 0))
    journal.finish_rung(0, RungRecord(0, 1, 0.5, 1.0), [{"loss": 1.0}], completed=False)
    done = journal.trial(0)
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
        journal._update(0, status="LOST")


@pytest.mark.parametrize(("step", "age"), [(1, "a newer"), (-1, "an older")])
def test_another_schema_is_refused(journal: Journal, path: Path, step: int, age: str) -> None:
    connection = raw(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + step}")
    connection.close()
    expected = rf"written by {age} version \(schema {SCHEMA_VERSION + step}, .* --overwrite"
    with pytest.raises(RunError, match=expected):
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


def test_a_truncated_file(path: Path) -> None:
    path.write_bytes(written(path)[:-4096])
    with pytest.raises(RunError, match="is damaged"):
        Journal.open(path)


def test_a_file_damaged_in_the_middle(path: Path) -> None:
    content = bytearray(written(path))
    content[-4096:] = b"x" * 4096
    path.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        Journal.open(path).trials()


def test_values_are_plain_json(journal: Journal, path: Path) -> None:
    journal.begin_trial({"width": 64, "bn": False}, slot=(0, 0))
    connection = raw(path)
    (text,) = connection.execute("SELECT hyperparameters FROM trials").fetchone()
    connection.close()
    assert json.loads(text) == {"width": 64, "bn": False}


# Damaged bytes


TRIALS = 6


def eventful(path: Path) -> None:
    """A closed journal with something in every table."""
    journal = Journal.create(path)
    for number in range(TRIALS):
        place: dict[str, Any] = {"slot": (0, 1)} if number else {"recipe": "plain head"}
        journal.begin_trial({"learning_rate": 0.1 * number, "width": number}, **place)
        journal.set_parameters(number, 100 + number)
        if number == 5:
            journal.fail(number, "the loss became NaN in epoch 1")
            continue
        metrics = [{"loss": 1 / 3, "val_accuracy": number / 7}] * 2
        rung = RungRecord(0, 2, number / 7, 1.25)
        journal.finish_rung(number, rung, metrics, outcomes=_outcomes(number), completed=False)
        if number in (1, 2):
            journal.promote(number)
            rung = RungRecord(2, 4, number / 6, 2.5)
            journal.finish_rung(number, rung, metrics, outcomes=_outcomes(9), completed=True)
    journal.set_notes(Notes(settings={"a": 1}, fingerprint={"images": "x"}, finished_iterations=1))
    journal.log_evaluation(1, {"when": "2026-01-02T03:04:05Z"}, {1: {"accuracy": 0.5}})
    journal.close()


def _outcomes(seed: int) -> Outcomes:
    random = np.random.default_rng(seed)
    return Outcomes.of(random.dirichlet(np.ones(3), 40), random.integers(0, 3, 40))


def everything(path: Path) -> list[Any]:
    """All that can be read of a journal."""
    journal = Journal.open(path, read_only=True)
    try:
        return [
            journal.trials(),
            *(journal.epochs(number) for number in range(TRIALS + 1)),
            *(journal.evaluation(number) for number in range(TRIALS + 1)),
            *(
                _bytes(journal.outcomes(number, rung))
                for number in range(TRIALS)
                for rung in (0, 1)
            ),
            journal.evaluation_log(),
            journal.notes(),
        ]
    finally:
        journal.close()


def _bytes(outcomes: Outcomes | None) -> bytes | None:
    return None if outcomes is None else outcomes.to_bytes()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "journal.db"
    eventful(path)
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]
    return path


PAGE = 4096
PAGES = 13  # seven tables, five indexes of their own, and the schema
VERSION = range(60, 64)  # where SQLite keeps the schema's number: any other says what it says


def flips(data: bytes, page: int, most: int) -> list[tuple[int, bytes]]:
    """The file with one byte changed, at places all over a page; free space counts little."""
    here = range(page * PAGE, (page + 1) * PAGE)
    used = [offset for offset in here if data[offset] and offset not in VERSION]
    chosen = used[:: max(1, len(used) // most)] + list(here)[5::500]
    return [
        (offset, data[:offset] + bytes([data[offset] ^ flip]) + data[offset + 1 :])
        for number, offset in enumerate(chosen)
        for flip in (0xFF if number % 2 else 1 << (number // 2 % 8),)
    ]


def test_the_journal_has_the_pages_that_are_damaged_here(sound: Path) -> None:
    assert sound.stat().st_size == PAGE * PAGES


@pytest.mark.parametrize("page", range(PAGES))
def test_a_flipped_byte_is_detected_or_changes_nothing(
    sound: Path, tmp_path: Path, page: int
) -> None:
    expected, data, path = everything(sound), sound.read_bytes(), tmp_path / "journal.db"
    wrong, detected = [], 0
    for offset, damaged in flips(data, page, most=100):
        path.write_bytes(damaged)
        try:
            if everything(path) != expected:
                wrong.append(offset)
        except DamagedJournalError:
            detected += 1
    assert wrong == []
    assert detected > 5


@pytest.mark.parametrize("page", range(PAGES))
def test_salvaged_trials_were_written(sound: Path, tmp_path: Path, page: int) -> None:
    written = {trial.id: trial for trial in everything(sound)[0]}
    path, whole = tmp_path / "journal.db", 0
    # Of a damaged schema nothing is found, which takes long to find out.
    for offset, damaged in flips(sound.read_bytes(), page, most=12 if page else 2):
        path.write_bytes(damaged)
        for trial in salvage(path):
            original = written[trial.id]
            rungs = original.rungs[: len(trial.rungs)]
            assert trial == dataclasses.replace(original, rungs=rungs), offset
            whole += trial == original
    assert whole or page == 0


def test_a_flipped_schema_version_is_refused(sound: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "journal.db", sound.read_bytes()
    for offset in VERSION:
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x81]) + data[offset + 1 :])
        with pytest.raises(RunError):
            Journal.open(path)


def test_all_of_a_sound_journal_can_be_salvaged(sound: Path) -> None:
    assert salvage(sound) == everything(sound)[0]


@pytest.mark.parametrize("content", [b"", b"no database " * 1000])
def test_nothing_is_salvaged_from_another_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert salvage(path) == []


def test_nothing_is_salvaged_from_a_missing_file(path: Path) -> None:
    assert salvage(path) == []
    assert not path.exists()


def test_a_trial_is_salvaged_up_to_its_damaged_rung(sound: Path, path: Path) -> None:
    shutil.copy(sound, path)
    connection = raw(path)
    connection.execute("UPDATE rungs SET score = 0.99 WHERE trial = 1 AND number = 1")
    connection.execute("UPDATE rungs SET score = 0.99 WHERE trial = 2 AND number = 0")
    connection.execute("UPDATE trials SET status = 'COMPLETED' WHERE id = 3")
    connection.close()
    assert [(trial.id, len(trial.rungs)) for trial in salvage(path)] == [
        (0, 1),
        (1, 1),
        (2, 0),
        (4, 1),
        (5, 0),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trials SET hyperparameters = '{}' WHERE id = 3",
        "UPDATE trials SET status = 'COMPLETED' WHERE id = 4",
        "UPDATE trials SET id = 17 WHERE id = 5",
        "UPDATE trials SET crc = crc + 1 WHERE id = 0",
        "UPDATE rungs SET score = score + 1e-15 WHERE trial = 2",
        "UPDATE rungs SET end_epoch = 3 WHERE number = 1",
        "UPDATE rungs SET seconds = 0 WHERE trial = 0",
        "UPDATE epochs SET metrics = '{}' WHERE trial = 1 AND epoch = 4",
        "UPDATE evaluations SET results = replace(results, '0.5', '0.6')",
        "UPDATE notes SET value = '0' WHERE name = 'finished_iterations'",
    ],
)
def test_a_row_with_a_wrong_checksum_is_damage(sound: Path, path: Path, change: str) -> None:
    shutil.copy(sound, path)
    connection = raw(path)
    connection.execute(change)
    connection.close()
    with pytest.raises(
        DamagedJournalError, match=r"the checksum of a row does not match\. Restore a copy"
    ):
        everything(path)


# Places


def test_a_moved_or_copied_journal_can_be_read(sound: Path, tmp_path: Path) -> None:
    expected = everything(sound)
    copied = Path(shutil.copytree(sound.parent, tmp_path / "a copy #1?"))
    assert everything(copied / "journal.db") == expected
    moved = copied.rename(tmp_path / "moved")
    assert everything(moved / "journal.db") == expected


def test_a_journal_moved_while_open_keeps_working(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    journal = Journal.create(tmp_path / "old" / "journal.db")
    journal.begin_trial({"a": 1}, slot=(0, 0))
    (tmp_path / "old").rename(tmp_path / "new")
    journal.begin_trial({"a": 2}, slot=(0, 0))
    after = Journal.open(tmp_path / "new" / "journal.db")
    assert [trial.hyperparameters for trial in after.trials()] == [{"a": 1}, {"a": 2}]
    after.close()
    journal.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("closed", [True, False])
def test_a_read_only_folder_can_be_read(sound: Path, tmp_path: Path, closed: bool) -> None:
    folder = Path(shutil.copytree(sound.parent, tmp_path / "kept"))
    writer = Journal.open(folder / "journal.db")
    writer.fail(4, "late")
    expected = writer.trials()
    if closed:
        writer.close()
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    try:
        reader = Journal.open(folder / "journal.db", read_only=True)
        assert reader.trials() == expected
        assert reader.trial(4).message == "late"
        reader.close()
    finally:
        folder.chmod(0o755)
        writer.close()


def test_a_full_disk_is_one_sentence_and_loses_nothing(journal: Journal, path: Path) -> None:
    pages = journal._query("PRAGMA page_count")[0][0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    written = []
    with pytest.raises(TuneError, match=r"no space left for the journal .* KB are free") as raised:
        for number in range(100):
            written.append(journal.begin_trial({"note": "x" * 1000}, slot=(0, number)))
    assert not isinstance(raised.value, InputError)
    assert 0 < len(written) < 100
    assert journal.trials() == written
    reader = Journal.open(path, read_only=True)
    assert reader.trials() == written
    reader.close()
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    again = journal.begin_trial({"note": "there is space again"}, slot=(0, 0))
    assert journal.trials() == [*written, again]
