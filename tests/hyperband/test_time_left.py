"""The time left, once some rungs have been measured."""

from collections.abc import Mapping
from typing import Any

import pytest
from keras_tuner.engine import trial as kt_trial

from tests.support.clock import Clock
from tests.support.timed_search import FULL, TimedSearch
from tuner.hyperband.expected_work import Work, expected_work
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.hyperband.time_left import RungCosts
from tuner.runs.journal import Journal

DEPTHS = (0, 1, 2, 3, 9)


def depth_of(trial: int) -> dict[str, Any]:
    """Configurations whose depths take turns: trial 7 has that of 2."""
    return {"unfreeze_blocks": DEPTHS[trial % len(DEPTHS)]}


def cost(hyperparameters: Mapping[str, Any]) -> float:
    return 1.0 + hyperparameters["unfreeze_blocks"]


def test_before_anything_is_measured_the_estimate_adds_up() -> None:
    schedule = Schedule(hyperband(1, 3), 1, ("plain head",))
    costs = RungCosts([{"unfreeze_blocks": 0}, {"unfreeze_blocks": 3}].__getitem__, cost)
    starts = 1 + (1 + 3 / 4)  # a deeper network takes longer to trace
    assert costs.seconds(expected_work(schedule, [])) == pytest.approx(1 + 4 + starts)


def test_a_recipe_has_its_own_cost() -> None:
    costs = RungCosts(
        lambda trial: {"slow": trial == 0}, lambda values: 30.0 if values["slow"] else 2.0
    )
    whole, alone = Schedule(hyperband(10, 3), 1, ("a",)), Schedule(hyperband(10, 3))
    recipe, start = 10 * 30.0, 1.0
    assert costs.seconds(expected_work(whole, [])) == pytest.approx(
        2.0 * alone.total_epochs + starts(alone) + recipe + start
    )


def starts(schedule: Schedule) -> int:
    return sum(rung.size for bracket in schedule.brackets for rung in bracket.rungs)


def test_unknown_costs_are_learned() -> None:
    costs = RungCosts(lambda trial: {}, lambda values: None)
    work = expected_work(Schedule(hyperband(2, 2)), [])
    assert costs.seconds(work) is None
    for trial in range(9):
        costs.note(trial, 4, 8.0)
    assert costs.seconds({9: Work(4, 1)}) == pytest.approx(8.0, rel=0.05)


def test_depths_that_were_slower_than_expected_are_expected_to_be_so_again() -> None:
    costs = RungCosts(depth_of, cost)
    for trial in range(0, 100, 5):
        costs.note(trial, 2, 3.0, 1.0)
        costs.note(trial + 4, 2, 63.0, 30.0)
    assert costs.seconds({100: Work(10, 1)}) == pytest.approx(11, rel=0.3)
    assert costs.seconds({104: Work(10, 1)}) == pytest.approx(300, rel=0.1)


def test_a_trial_that_is_slower_than_its_like_is_expected_to_stay_so() -> None:
    costs = RungCosts(lambda trial: {"unfreeze_blocks": 1}, cost)
    for trial in range(9):
        costs.note(trial, 2, 4.0)
    for _ in range(9):
        costs.note(9, 2, 12.0)
    usual, slow = (costs.seconds({trial: Work(2, 1)}) for trial in (20, 9))
    assert usual is not None and slow is not None
    assert slow > 1.4 * usual


def test_starts_and_epochs_are_told_apart() -> None:
    costs = RungCosts(lambda trial: {"unfreeze_blocks": 1 + trial % 3}, cost)
    for trial in range(6):  # a start of 20 s, epochs as expected
        epochs, each = 1 + trial % 2, 2.0 + trial % 3
        costs.note(trial, epochs, 20 + epochs * each, (epochs - 1) * each)
    assert costs.seconds({100: Work(100, 1)}) == pytest.approx(20 + 100 * 3, rel=0.15)
    assert costs.seconds({100: Work(1, 1)}) == pytest.approx(20 + 3, rel=0.15)


def test_heads_alone_say_nothing_of_deeper_networks() -> None:
    costs = RungCosts(depth_of, cost)
    before = costs.seconds({103: Work(9, 1)})
    for trial in range(0, 25, 5):  # hundred times as long as expected
        costs.note(trial, 9, 901.0, 800.0)
    assert costs.seconds({103: Work(9, 1)}) == before


def test_a_running_rung_counts_until_the_next_is_noted() -> None:
    costs = RungCosts(depth_of, cost)
    costs.note(0, 2, 8.0, 4.0, running=True)
    slow = costs.seconds({0: Work(2, 0)})
    assert slow is not None and slow > 3
    costs.note(0, 9, 10.0, 8.0)
    assert costs.seconds({0: Work(2, 0)}) == pytest.approx(2.0, rel=0.1)


def test_the_time_left_follows_a_rung_whose_epochs_take_longer_than_expected(
    journal: Journal, clock: Clock
) -> None:
    search = TimedSearch(journal, clock, None, epoch_seconds=5.0)
    while search.longest < 9:  # the finalist of the first bracket trains six epochs at a time
        search.train()
    assert [now - search.shown[0][0] for now, _ in search.shown] == [0, 5, 10, 15, 20, 25, 30]
    left = [seconds for _, seconds in search.shown if seconds is not None]
    assert left[0] - left[-1] == pytest.approx(30, rel=0.5)
    assert left[-1] == pytest.approx(5 * search.epochs_left, rel=0.2)


def test_the_epochs_of_a_failed_trial_are_left_to_its_replacement(
    journal: Journal, clock: Clock
) -> None:
    search = TimedSearch(journal, clock, None)
    before = search.time.work_seconds() or 0.0
    trial = search.oracle.create_trial("tuner0")
    search.time.begin_rung(search.oracle.record(0))
    search.time.end_epoch(1)
    assert search.time.work_seconds() == pytest.approx(before - 2.0)  # an epoch, and its start
    trial.status = kt_trial.TrialStatus.FAILED
    search.oracle.end_trial(trial)
    search.time.drop_rung()
    assert search.time.work_seconds() == pytest.approx(before)


def test_fast_epochs_update_the_estimate_once_a_second(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, None, epoch_seconds=0.25, max_epochs=27)
    while search.longest < 27:
        search.train()
    assert [now - search.shown[0][0] for now, _ in search.shown] == [0, 1, 2, 3, 4]


def test_the_time_left_never_exceeds_the_budget(journal: Journal, clock: Clock) -> None:
    search = TimedSearch(journal, clock, 12.0)
    search.clock.now = 5.0
    assert search.time.work_seconds() == pytest.approx(9.0, abs=8.0)
    search.oracle.follow(FULL)  # more than fits
    assert search.time.seconds() == 7.0
    search.clock.now = 13.0
    assert search.time.seconds() == 0.0
