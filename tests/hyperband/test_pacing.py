"""A search against its time, with trials that take as long as they are told to."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from keras_tuner.engine import trial as kt_trial

from tests.support.clock import Clock
from tuner.errors import TuneError
from tuner.hyperband import pacing as pacing_module
from tuner.hyperband import time_budget as budget_module
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.pacing import Pacing, charged, note_spent
from tuner.hyperband.schedule import Schedule, hyperband, shortened
from tuner.hyperband.time_budget import TimeBudget
from tuner.runs.journal import Journal
from tuner.runs.records import RungRecord
from tuner.text import duration

FACTOR = 3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(now=0.0)
    for module in (budget_module, pacing_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.db")
    yield journal
    journal.close()


class Costs:
    """The part of a source that pacing looks at."""

    fingerprint: Mapping[str, str] = {}

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds

    def epoch_seconds(self, hyperparameters: Mapping[str, Any]) -> float | None:
        return self.seconds


class Race:
    """A search in which epochs pass on a clock of its own, as one process would run it."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        seconds: float | None,
        *,
        max_epochs: int = 9,
        expected: float | None = 1.0,
        epoch_seconds: float = 1.0,
        iterations: int = 1,
    ) -> None:
        space = keras_tuner.HyperParameters()
        space.Float("rate", 0.0, 1.0)
        self.clock = clock
        self.epoch_seconds = epoch_seconds
        self.budget = TimeBudget(seconds)
        self.oracle = JournalOracle(
            journal, space, max_epochs=max_epochs, factor=FACTOR, iterations=iterations
        )
        self.notes: list[str] = []
        self.pacing = Pacing(self.oracle, Costs(expected), self.budget, FACTOR)  # type: ignore[arg-type]
        self.pacing.follow_plan(journal, self.notes.append)

    def run(self) -> "Race":
        while True:
            self.oracle.closing = self.pacing.must_close()
            if self.budget.left() <= 0:
                return self
            trial = self.oracle.create_trial("tuner0")
            if trial.status != kt_trial.TrialStatus.RUNNING:
                return self
            if not self.train(trial):
                return self

    def train(self, trial: kt_trial.Trial) -> bool:
        values = trial.hyperparameters.values
        start, end = values["tuner/initial_epoch"], values["tuner/epochs"]
        record = self.oracle.record(int(trial.trial_id))
        self.told = [(self.clock.now, self.pacing.begin(record))]
        for epoch in range(start, end):
            self.clock.now += self.epoch_seconds
            if self.pacing.end_epoch(epoch + 1):
                self.told.append((self.clock.now, self.pacing.time_left()))
            if epoch + 1 < end and self.budget.left() <= 0:
                return False
        seconds = (end - start) * self.epoch_seconds
        rung = RungRecord(start, end, values["rate"], seconds)
        self.oracle.finish_rung(trial, rung, [{"val_accuracy": values["rate"]}] * (end - start))
        trial.status = kt_trial.TrialStatus.COMPLETED
        self.oracle.end_trial(trial)
        self.pacing.note(record, end - start, seconds)
        return True

    @property
    def longest(self) -> int:
        return max((record.epochs for record in self.oracle.records()), default=0)


ASKED = Schedule(hyperband(9, FACTOR))


def test_without_a_budget_nothing_is_planned(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, None).run()
    assert race.oracle.complete
    assert race.oracle.schedule == ASKED
    assert journal.note("plan") is None
    assert race.notes == []


def test_a_budget_for_all_of_it_shortens_nothing(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, 10_000.0)
    assert race.oracle.schedule == ASKED
    assert journal.note("plan") == [9, 3]
    assert race.notes == []


@pytest.mark.parametrize("seconds", [20.0, 40.0, 60.0, 80.0, 100.0])
def test_a_plan_fits_and_is_completed_in_time(
    journal: Journal, clock: Clock, seconds: float
) -> None:
    race = Race(journal, clock, seconds)
    assert race.oracle.schedule != ASKED
    assert journal.note("plan") == [
        race.oracle.schedule.max_epochs, len(race.oracle.schedule.brackets),
    ]  # fmt: skip
    assert "Planned for the time budget: the whole search of" in race.notes[0]
    race.run()
    assert race.oracle.complete
    assert clock.now <= seconds
    assert race.longest == race.oracle.schedule.max_epochs


def test_a_plan_is_made_once_and_kept(journal: Journal, clock: Clock) -> None:
    planned = Race(journal, clock, 40.0).oracle.schedule
    # Killed before its first trial, and begun again on a machine of another speed,
    again = Race(journal, clock, 40.0, expected=0.01)
    assert again.oracle.schedule == planned
    again.train(again.oracle.create_trial("tuner0"))
    # or with more time, or with none to keep to.
    for seconds in (10_000.0, None):
        later = Race(journal, clock, seconds)
        assert later.oracle.schedule == planned
        assert later.oracle.max_epochs == planned.max_epochs
        assert later.notes == []
    assert later.run().oracle.complete


def test_a_plan_is_followed_in_iterations_that_are_added(journal: Journal, clock: Clock) -> None:
    planned = Race(journal, clock, 40.0).run().oracle.schedule
    more = Race(journal, clock, None, iterations=2).run()
    assert more.oracle.schedule == shortened(
        Schedule(hyperband(9, FACTOR), 2), FACTOR, planned.max_epochs, len(planned.brackets)
    )
    assert more.oracle.complete
    assert len(more.oracle.records()) == 2 * planned.total_trials


def test_a_search_that_has_begun_is_not_planned_any_more(journal: Journal, clock: Clock) -> None:
    first = Race(journal, clock, None)
    first.train(first.oracle.create_trial("tuner0"))
    second = Race(journal, clock, 20.0)
    assert second.oracle.schedule == ASKED
    assert journal.note("plan") is None


def test_what_was_spent_before_counts_with_all_that_was_no_rung(
    journal: Journal, clock: Clock
) -> None:
    for seconds in (5.0, 7.0):
        with charged(TimeBudget(50.0), journal):
            clock.now += seconds
        clock.now += 100.0  # between the processes
    assert journal.note("spent_seconds") == 12.0
    later = TimeBudget(50.0)
    with charged(later, journal):
        assert later.left() == 38.0


@pytest.mark.parametrize("noted", [False, True])
def test_what_a_killed_process_could_not_note_is_at_least_its_rungs(
    journal: Journal, clock: Clock, noted: bool
) -> None:
    first = Race(journal, clock, 50.0, expected=None)
    for _ in range(4):
        first.train(first.oracle.create_trial("tuner0"))
    if noted:
        clock.now += 3.0
        note_spent(first.budget, journal)
    second = TimeBudget(50.0)
    with charged(second, journal):
        assert second.left() == (43.0 if noted else 46.0)


def test_an_error_is_not_hidden_by_what_cannot_be_noted(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise TuneError("there is no space left for the journal.")

    with pytest.raises(ZeroDivisionError), charged(TimeBudget(50.0), journal):
        monkeypatch.setattr(journal, "set_notes", full)
        raise ZeroDivisionError


def test_without_a_budget_nothing_is_noted(journal: Journal, clock: Clock) -> None:
    with charged(TimeBudget(), journal):
        clock.now += 5.0
    assert journal.note("spent_seconds") is None


@pytest.mark.parametrize("seconds", [10.5, 12.0, 17.0, 25.0, 33.3, 50.0, 70.0])
def test_where_nothing_is_known_a_finalist_comes_before_the_end(
    journal: Journal, clock: Clock, seconds: float
) -> None:
    race = Race(journal, clock, seconds, expected=None).run()
    (note,) = race.notes
    assert note.startswith("How long an epoch of this space takes is not known: nothing is planned")
    assert journal.note("plan") is None
    assert race.longest == 9
    assert clock.now <= seconds + race.epoch_seconds
    assert not race.oracle.complete


@pytest.mark.parametrize("slower", [1.5, 3.0, 5.0])
@pytest.mark.parametrize("seconds", [30.0, 60.0, 90.0])
def test_where_epochs_take_longer_than_planned_the_budget_is_kept_all_the_same(
    journal: Journal, clock: Clock, slower: float, seconds: float
) -> None:
    race = Race(journal, clock, seconds, epoch_seconds=slower).run()
    assert clock.now <= seconds + slower
    assert race.longest == race.oracle.schedule.max_epochs


def test_the_best_of_the_bracket_becomes_the_finalist(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, 12.0, expected=None).run()
    records = race.oracle.records()
    (finalist,) = [record for record in records if record.epochs == 9]
    assert finalist.rungs[0].score == max(record.rungs[0].score for record in records)


def test_it_closes_no_sooner_than_it_must(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, 100.0, expected=None)
    assert not race.pacing.must_close()  # there is nobody yet
    race.train(race.oracle.create_trial("tuner0"))
    # The leader needs 8 seconds more, and a rung that is begun now one.
    for left, close in ((9.5, False), (8.5, True)):
        clock.now = 100.0 - left
        assert race.pacing.must_close() is close


def test_without_a_budget_it_never_closes(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, None, expected=None)
    race.train(race.oracle.create_trial("tuner0"))
    clock.now = 1e9
    assert not race.pacing.must_close()


def test_the_time_left_follows_a_rung_whose_epochs_take_longer_than_expected(
    journal: Journal, clock: Clock
) -> None:
    race = Race(journal, clock, None, epoch_seconds=5.0)
    while race.longest < 9:  # the finalist of the first bracket trains six epochs at a time
        race.train(race.oracle.create_trial("tuner0"))
    assert [now - race.told[0][0] for now, _ in race.told] == [0, 5, 10, 15, 20, 25, 30]
    left = [seconds for _, seconds in race.told if seconds is not None]
    assert left[0] - left[-1] == pytest.approx(30, rel=0.5)
    assert left[-1] == pytest.approx(5 * race.pacing.epochs_left(), rel=0.2)


def test_epochs_of_a_trial_that_failed_are_left_to_the_one_in_its_place(
    journal: Journal, clock: Clock
) -> None:
    race = Race(journal, clock, None)
    before = race.pacing.seconds_left() or 0.0
    trial = race.oracle.create_trial("tuner0")
    race.pacing.begin(race.oracle.record(0))
    race.pacing.end_epoch(1)
    assert race.pacing.seconds_left() == pytest.approx(before - 2.0)  # an epoch, and its start
    trial.status = kt_trial.TrialStatus.FAILED
    race.oracle.end_trial(trial)
    race.pacing.end_rung()
    assert race.pacing.seconds_left() == pytest.approx(before)


def test_epochs_that_follow_fast_are_looked_at_once_a_second(
    journal: Journal, clock: Clock
) -> None:
    race = Race(journal, clock, None, epoch_seconds=0.25, max_epochs=27)
    while race.longest < 27:
        race.train(race.oracle.create_trial("tuner0"))
    assert [now - race.told[0][0] for now, _ in race.told] == [0, 1, 2, 3, 4]


def test_no_more_time_is_left_than_the_budget_leaves(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, 12.0)
    race.clock.now = 5.0
    assert race.pacing.seconds_left() == pytest.approx(9.0, abs=8.0)
    race.oracle.follow(ASKED)  # more than fits
    assert race.pacing.time_left() == 7.0
    race.clock.now = 13.0
    assert race.pacing.time_left() == 0.0


def test_what_is_left_is_said(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, 12.0, expected=None).run()
    done = sum(record.epochs for record in race.oracle.records())
    left = race.oracle.schedule.total_epochs - done
    assert left > 0
    assert race.pacing.epochs_left() == left
    assert race.pacing.seconds_left() == pytest.approx(left, rel=0.01)  # learned, not counted
    assert race.pacing.what_is_left() == (
        f"The time budget is used up: {left} of {ASKED.total_epochs} planned epochs are left, "
        f"about {duration(left)} of work. To go on, resume the run with a larger budget."
    )


def test_where_nothing_is_known_no_time_is_said(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, 12.0, expected=None)
    total = ASKED.total_epochs
    assert race.pacing.seconds_left() is None
    assert f"{total} of {total} planned epochs are left. To go on" in race.pacing.what_is_left()


def test_of_a_complete_search_nothing_is_left(journal: Journal, clock: Clock) -> None:
    race = Race(journal, clock, None, max_epochs=3).run()
    assert race.pacing.epochs_left() == 0


def test_a_larger_budget_goes_on_and_completes_it(journal: Journal, clock: Clock) -> None:
    Race(journal, clock, 12.0, expected=None).run()
    clock.now = 0.0
    race = Race(journal, clock, 1000.0, expected=None).run()
    assert race.oracle.complete
    sizes = {
        (bracket.number, rung.end_epoch): rung.size
        for bracket in ASKED.brackets
        for rung in bracket.rungs
    }
    reached: dict[tuple[int, int], int] = {}
    for record in race.oracle.records():
        for rung in record.rungs:
            key = (record.bracket or 0, rung.end_epoch)
            reached[key] = reached.get(key, 0) + 1
    assert reached == sizes
