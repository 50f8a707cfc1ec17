"""Searches that end within their time budget."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock import Clock
from tests.support.timed_search import FACTOR, FULL, TimedSearch
from tuner.errors import TuneError
from tuner.hyperband.expected_work import expected_work
from tuner.hyperband.schedule import Schedule, hyperband, shortened
from tuner.hyperband.time_budget import TimeBudget, charged, note_spent
from tuner.hyperband.time_left import RungCosts
from tuner.runs.journal import Journal
from tuner.text import duration


def test_without_a_budget_time_never_ends(clock: Clock) -> None:
    budget = TimeBudget()
    budget.spent_before_seconds = 1e12
    clock.now += 1e12
    assert not budget.limited
    assert budget.left() == float("inf")


def test_time_passes_and_is_overdrawn(clock: Clock) -> None:
    budget = TimeBudget(60)
    assert budget.limited
    assert budget.left() == 60
    clock.now += 45
    assert budget.left() == 15
    clock.now += 45
    assert budget.left() == -30


def test_time_begins_when_the_process_did(clock: Clock) -> None:
    assert TimeBudget(60, begun=clock.now - 20).left() == 40


def test_what_earlier_processes_spent_counts(clock: Clock) -> None:
    budget = TimeBudget(60)
    budget.spent_before_seconds = 25.0
    clock.now += 5
    assert budget.left() == 30


@settings(deadline=None, max_examples=60)
@given(
    seconds=st.floats(0.01, 1e5),
    spent=st.floats(0, 1e4),
    max_epochs=st.integers(1, 30),
    factor=st.integers(2, 4),
    recipes=st.sampled_from([(), ("a", "b")]),
    epoch_seconds=st.floats(0.001, 100),
)
def test_a_plan_fits_into_what_is_left_with_some_to_spare(
    seconds: float,
    spent: float,
    max_epochs: int,
    factor: int,
    recipes: tuple[str, ...],
    epoch_seconds: float,
) -> None:
    full = Schedule(hyperband(max_epochs, factor), 1, recipes)
    costs = RungCosts(lambda trial: {}, lambda hyperparameters: epoch_seconds)
    budget = TimeBudget(seconds)
    budget.spent_before_seconds = spent

    def seconds_of(schedule: Schedule) -> float:
        needed = costs.seconds(expected_work(schedule, ()))
        assert needed is not None
        return needed

    planned = budget.planned(full, factor, seconds_of)
    least = shortened(full, factor, 1, 1)
    assert planned == least or seconds_of(planned) < 0.75 * max(0.0, seconds - spent)
    if seconds_of(full) < 0.65 * (seconds - spent) - 1:
        assert planned == full


def test_an_overdrawn_budget_plans_the_least(clock: Clock) -> None:
    full = Schedule(hyperband(30, 3), 1, ("a",))
    budget = TimeBudget(1)
    clock.now += 5
    assert budget.planned(full, 3, lambda schedule: 0.1) == shortened(full, 3, 1, 1)


def test_without_a_budget_nothing_is_planned(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, None).run()
    assert search.oracle.complete
    assert search.oracle.schedule == FULL
    assert journal.notes().plan is None
    assert search.notes == []


def test_a_sufficient_budget_shortens_nothing(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, 10_000.0)
    assert search.oracle.schedule == FULL
    assert journal.notes().plan == [9, 3]
    assert search.notes == []


@pytest.mark.parametrize("seconds", [20.0, 40.0, 60.0, 80.0, 100.0])
def test_a_plan_fits_and_is_completed_in_time(
    journal: Journal, clock: Clock, seconds: float
) -> None:
    search = TimedSearch(journal, clock, seconds)
    assert search.oracle.schedule != FULL
    assert journal.notes().plan == [
        search.oracle.schedule.max_epochs, len(search.oracle.schedule.brackets),
    ]  # fmt: skip
    assert "Planned for the time budget: the whole search of" in search.notes[0]
    search.run()
    assert search.oracle.complete
    assert clock.now <= seconds
    assert search.longest == search.oracle.schedule.max_epochs


def test_a_plan_is_made_once_and_kept(journal: Journal, clock: Clock) -> None:
    planned = TimedSearch(journal, clock, 40.0).oracle.schedule
    # Killed before its first trial, and begun again on a machine of another speed,
    again = TimedSearch(journal, clock, 40.0, expected=0.01)
    assert again.oracle.schedule == planned
    again.train()
    # or with more time, or with none to keep to.
    for seconds in (10_000.0, None):
        later = TimedSearch(journal, clock, seconds)
        assert later.oracle.schedule == planned
        assert later.oracle.max_epochs == planned.max_epochs
        assert later.notes == []
    assert later.run().oracle.complete


def test_a_plan_is_followed_in_iterations_that_are_added(journal: Journal, clock: Clock) -> None:
    planned = TimedSearch(journal, clock, 40.0).run().oracle.schedule
    more = TimedSearch(journal, clock, None, iterations=2).run()
    assert more.oracle.schedule == shortened(
        Schedule(hyperband(9, FACTOR), 2), FACTOR, planned.max_epochs, len(planned.brackets)
    )
    assert more.oracle.complete
    assert len(more.oracle.records()) == 2 * planned.total_trials


def test_a_search_that_has_begun_is_not_planned_again(journal: Journal, clock: Clock) -> None:
    first = TimedSearch(journal, clock, None)
    first.train()
    second = TimedSearch(journal, clock, 20.0)
    assert second.oracle.schedule == FULL
    assert journal.notes().plan is None


def test_time_between_rungs_of_earlier_processes_counts(journal: Journal, clock: Clock) -> None:
    for seconds in (5.0, 7.0):
        with charged(TimeBudget(50.0), journal):
            clock.now += seconds
        clock.now += 100.0  # between the processes
    assert journal.notes().spent_seconds == 12.0
    later = TimeBudget(50.0)
    with charged(later, journal):
        assert later.left() == 38.0


@pytest.mark.parametrize("noted", [False, True])
def test_of_a_killed_process_at_least_the_rungs_count(
    journal: Journal, clock: Clock, noted: bool
) -> None:
    first = TimedSearch(journal, clock, 50.0, expected=None)
    for _ in range(4):
        first.train()
    if noted:
        clock.now += 3.0
        note_spent(first.budget, journal)
    second = TimeBudget(50.0)
    with charged(second, journal):
        assert second.left() == (43.0 if noted else 46.0)


def test_an_error_is_not_hidden_by_a_failing_note(
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
    assert journal.notes().spent_seconds is None


@pytest.mark.parametrize("seconds", [10.5, 12.0, 17.0, 25.0, 33.3, 50.0, 70.0])
def test_where_nothing_is_known_a_finalist_comes_before_the_end(
    journal: Journal, clock: Clock, seconds: float
) -> None:
    search = TimedSearch(journal, clock, seconds, expected=None).run()
    (note,) = search.notes
    assert note.startswith("How long an epoch of this space takes is not known: nothing is planned")
    assert journal.notes().plan is None
    assert search.longest == 9
    assert clock.now <= seconds + search.epoch_seconds
    assert not search.oracle.complete


@pytest.mark.parametrize("slower", [1.5, 3.0, 5.0])
@pytest.mark.parametrize("seconds", [30.0, 60.0, 90.0])
def test_the_budget_is_kept_where_epochs_take_longer_than_planned(
    journal: Journal, clock: Clock, slower: float, seconds: float
) -> None:
    search = TimedSearch(journal, clock, seconds, epoch_seconds=slower).run()
    assert clock.now <= seconds + slower
    assert search.longest == search.oracle.schedule.max_epochs


def test_the_best_of_the_bracket_becomes_the_finalist(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, 12.0, expected=None).run()
    records = search.oracle.records()
    (finalist,) = [record for record in records if record.epochs == 9]
    assert finalist.rungs[0].score == max(record.rungs[0].score for record in records)


def test_the_search_closes_no_sooner_than_it_must(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, 100.0, expected=None)
    assert not search.must_close()  # no trial leads yet
    search.train()
    # The leader needs 8 seconds more, and a rung that is begun now one.
    for left, close in ((9.5, False), (8.5, True)):
        clock.now = 100.0 - left
        assert search.must_close() is close


def test_without_a_budget_a_search_never_closes(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, None, expected=None)
    search.train()
    clock.now = 1e9
    assert not search.must_close()


def test_the_work_that_is_left_is_reported(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, 12.0, expected=None).run()
    done = sum(record.epochs for record in search.oracle.records())
    left = search.oracle.schedule.total_epochs - done
    assert left > 0
    assert search.epochs_left == left
    assert search.time.work_seconds() == pytest.approx(left, rel=0.01)  # learned, not counted
    assert search.out_of_time() == (
        f"The time budget is used up: {left} of {FULL.total_epochs} planned epochs are left, "
        f"about {duration(left)} of work. To continue, resume the run with a larger budget."
    )


def test_where_nothing_is_known_no_time_is_reported(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, 12.0, expected=None)
    total = FULL.total_epochs
    assert search.time.work_seconds() is None
    assert f"{total} of {total} planned epochs are left. To continue" in search.out_of_time()


def test_a_larger_budget_completes_the_search(journal: Journal, clock: Clock) -> None:
    TimedSearch(journal, clock, 12.0, expected=None).run()
    clock.now = 0.0
    search = TimedSearch(journal, clock, 1000.0, expected=None).run()
    assert search.oracle.complete
    sizes = {
        (bracket.number, rung.end_epoch): rung.size
        for bracket in FULL.brackets
        for rung in bracket.rungs
    }
    reached: dict[tuple[int, int], int] = {}
    for record in search.oracle.records():
        for rung in record.rungs:
            key = (record.bracket or 0, rung.end_epoch)
            reached[key] = reached.get(key, 0) + 1
    assert reached == sizes
