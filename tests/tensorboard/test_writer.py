"""What TensorBoard shows of searches that go well, are interrupted, and cannot write."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from tests.support.hparams_page import declared, rows, scalars
from tuner.errors import RunError
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.observer import EpochEnds, RungBegins, RungEnds, SearchBegins, SearchEnds
from tuner.runs.journal import Journal
from tuner.runs.notes import Notes
from tuner.runs.ranking import rank
from tuner.runs.records import RungRecord, TrialRecord
from tuner.tensorboard import event_files
from tuner.tensorboard.writer import FOLDER, SummaryWriter, write_summaries
from tuner.training.trainer import EpochMetrics

SCHEDULE = Schedule(hyperband(4, 2), 1, ())


class Search:
    """A search that trains nothing: its journal, and its writer."""

    def __init__(self, folder: Path, journal: Journal | None = None) -> None:
        self.folder = folder / FOLDER
        self.notes: list[str] = []
        self.journal = journal or begun_journal(folder / "journal.db")
        self.writer = SummaryWriter(self.folder, self.journal, self.notes.append)
        self.writer.on_event(SearchBegins(SCHEDULE, (), tuple(self.journal.trials())))

    def begin(self, **hyperparameters: Any) -> TrialRecord:
        trial = self.journal.begin_trial(hyperparameters, slot=(0, 0))
        self.writer.on_event(RungBegins(trial, 2))
        return trial

    def train(self, trial: TrialRecord, end: int, sent_from: int | None = None) -> TrialRecord:
        """Trains up to an epoch, of which the first may be those of an earlier process."""
        metrics = [measured(trial.id, epoch) for epoch in range(trial.epochs + 1, end + 1)]
        for epoch in range(sent_from or trial.epochs + 1, end + 1):
            self.writer.on_event(EpochEnds(trial, epoch, measured(trial.id, epoch)))
        rung = RungRecord(trial.epochs, end, metrics[-1].val_accuracy, 2.0)
        rows = [vars(each) for each in metrics]
        self.journal.finish_rung(trial.id, rung, rows, completed=end == 4)
        return self.end(trial)

    def end(self, trial: TrialRecord) -> TrialRecord:
        ended = self.journal.trial(trial.id)
        self.writer.on_event(RungEnds(ended, next(iter(rank(self.journal.trials(), "max")), None)))
        return ended

    def promote(self, trial: TrialRecord) -> TrialRecord:
        promoted = self.journal.promote(trial.id)
        self.writer.on_event(RungBegins(promoted, 4))
        return promoted

    def over(self) -> None:
        self.writer.on_event(SearchEnds(tuple(self.journal.trials())))

    def curve(self, trial: int, tag: str = "epoch/val_accuracy") -> list[tuple[int, float]]:
        found = scalars(self.folder / f"{trial:04d}").get(tag, [])
        return [(step, round(value, 4)) for step, value in found]


def begun_journal(path: Path) -> Journal:
    space = keras_tuner.HyperParameters()
    space.Choice("width", [64, 128])
    space.Float("rate", 1e-4, 1e-1, sampling="log")
    journal = Journal.create(path)
    settings = {"objective": "val_accuracy"}
    journal.set_notes(Notes(settings=settings, pinned={}, space=space.get_config()["space"]))
    return journal


def measured(trial: int, epoch: int) -> EpochMetrics:
    accuracy = (trial + 1) / 10 + epoch / 100
    return EpochMetrics(1 / epoch, accuracy / 2, 2 / epoch, accuracy, accuracy)


def expected(trial: int, end: int) -> list[tuple[int, float]]:
    return [(epoch, round(measured(trial, epoch).val_accuracy, 4)) for epoch in range(1, end + 1)]


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    made = Search(tmp_path)
    yield made
    assert made.notes == []


def test_a_search_from_its_beginning_to_its_end(search: Search) -> None:
    low = search.train(search.begin(width=64, rate=0.001), 2)
    high = search.train(search.begin(width=128, rate=0.01), 2)
    failing = search.begin(width=64, rate=0.1)
    search.writer.on_event(EpochEnds(failing, 1, measured(failing.id, 1)))
    search.journal.fail(failing.id, "the loss became NaN")
    search.end(failing)
    running = search.begin(width=64, rate=0.002)
    found = rows(search.folder)
    assert list(found) == ["0000", "0001", "0002", "0003"]
    assert found["0000"].status == found["0003"].status == "STATUS_UNKNOWN"
    assert found["0001"].metrics["trial/winner"] == 1.0
    search.train(search.promote(high), 4)
    search.train(running, 2)
    search.over()

    found = rows(search.folder)
    assert found["0001"].hyperparameters == {"width": 128.0, "rate": 0.01}
    assert found["0001"].metrics == pytest.approx(
        {"trial/score": 0.24, "trial/epochs": 4, "trial/seconds": 4.0, "trial/winner": 1}
    )
    assert found["0000"].metrics == pytest.approx(
        {"trial/score": 0.12, "trial/epochs": 2, "trial/seconds": 2.0, "trial/winner": 0}
    )
    assert [row.status.removeprefix("STATUS_") for row in found.values()] == [
        "SUCCESS", "SUCCESS", "FAILURE", "SUCCESS",
    ]  # fmt: skip
    assert search.curve(high.id) == expected(high.id, 4)
    assert search.curve(low.id) == expected(low.id, 2)
    assert search.curve(failing.id) == expected(failing.id, 1)
    assert set(declared(search.folder)) == {"width", "rate"}


def test_one_trial_alone_is_the_winner(search: Search) -> None:
    trial = search.train(search.begin(width=64), 4)
    assert search.curve(trial.id, "trial/winner") == [(1, 1.0)]


def test_from_the_journal_it_is_the_same(search: Search, tmp_path: Path) -> None:
    first = search.train(search.begin(width=64), 2)
    search.train(search.begin(width=128), 2)
    search.train(search.promote(first), 4)
    search.over()
    write_summaries(tmp_path / "again", search.journal, 100.0)
    assert rows(tmp_path / "again") == rows(search.folder)
    for trial in ("0000", "0001"):
        again, live = scalars(tmp_path / "again" / trial), scalars(search.folder / trial)
        del again["trial/winner"], live["trial/winner"]
        assert again == live


def test_epochs_that_a_killed_process_wrote_come_once(tmp_path: Path) -> None:
    killed = Search(tmp_path)
    done = killed.train(killed.begin(width=64), 2)
    trial = killed.begin(width=128)
    killed.writer._flushed = float("-inf")
    killed.writer.on_event(EpochEnds(trial, 1, measured(trial.id, 1)))
    assert killed.curve(trial.id) == expected(trial.id, 1)

    resumed = Search(tmp_path, killed.journal)
    resumed.writer.on_event(RungBegins(trial, 2))
    resumed.train(trial, 2)
    resumed.train(resumed.promote(done), 4)
    assert resumed.curve(trial.id) == expected(trial.id, 2)
    assert resumed.curve(done.id) == expected(done.id, 4)


@pytest.mark.parametrize("sent_from", [3, 5])
def test_epochs_before_a_checkpoint_are_not_missing(tmp_path: Path, sent_from: int) -> None:
    killed = Search(tmp_path)
    trial = killed.begin(width=128)
    resumed = Search(tmp_path, killed.journal)
    resumed.writer.on_event(RungBegins(trial, 4))
    resumed.train(trial, 4, sent_from=sent_from)
    assert resumed.curve(trial.id) == expected(trial.id, 4)
    assert resumed.curve(trial.id, "trial/winner") == [(1, 1.0)]


def test_a_rung_that_begins_anew_has_its_last_epochs(search: Search) -> None:
    trial = search.begin(width=64)
    search.writer.on_event(EpochEnds(trial, 1, measured(7, 1)))
    search.writer.on_event(RungBegins(trial, 2))  # with half the batch
    search.train(trial, 2)
    assert search.curve(trial.id) == expected(trial.id, 2)


def test_a_deleted_folder_is_written_again(search: Search) -> None:
    first = search.train(search.begin(width=64), 2)
    shutil.rmtree(search.folder)
    second = search.train(search.begin(width=128), 2)
    assert search.curve(first.id) == expected(first.id, 2)
    assert search.curve(second.id) == expected(second.id, 2)
    assert declared(search.folder)


def test_a_full_disk_is_reported_once_and_the_folder_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(tmp_path)
    first = search.train(search.begin(width=64), 2)
    with monkeypatch.context() as full:
        full.setattr(event_files, "_write_all", no_space)
        for _ in range(3):
            search.train(search.begin(width=64), 2)
    (note,) = search.notes
    assert "No space left" in note
    assert "tune board" in note
    search.train(search.promote(first), 4)
    assert not (search.folder / "0003").exists()  # nothing is tried until the search ends
    search.over()
    assert len(rows(search.folder)) == 4
    assert search.curve(first.id) == expected(first.id, 4)
    assert {row.status for row in rows(search.folder).values()} == {"STATUS_SUCCESS"}


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_in_the_place_of_the_folder_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("mine")
    search = Search(tmp_path)
    search.train(search.begin(width=64), 2)
    search.over()
    assert len(search.notes) == 1
    assert (tmp_path / FOLDER).read_text() == "mine"


def test_nothing_is_written_of_a_search_that_has_not_begun(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not yet begun"):
        write_summaries(tmp_path / "board", Journal.create(tmp_path / "journal.db"), 1.0)
    assert not (tmp_path / "board").exists()
