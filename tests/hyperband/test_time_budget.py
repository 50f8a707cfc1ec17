"""Time: how much is left, what fits into it, and how estimates learn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clock import Clock
from tuner.hyperband import time_budget as budget_module
from tuner.hyperband.schedule import Schedule, hyperband, shortened
from tuner.hyperband.time_budget import Pace, TimeBudget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budget_module, "time", clock)
    return clock


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


def test_time_begins_when_it_is_told(clock: Clock) -> None:
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
    asked = Schedule(hyperband(max_epochs, factor), 1, recipes)
    pace = Pace(epoch_seconds)
    budget = TimeBudget(seconds)
    budget.spent_before_seconds = spent

    def seconds_of(schedule: Schedule) -> float:
        needed = pace.schedule_seconds(schedule)
        assert needed is not None
        return needed

    planned = budget.planned(asked, factor, seconds_of)
    least = shortened(asked, factor, 1, 1)
    assert planned == least or seconds_of(planned) < 0.75 * max(0.0, seconds - spent)
    if seconds_of(asked) < 0.65 * (seconds - spent) - 1:
        assert planned == asked


def test_a_budget_that_is_used_up_plans_the_least(clock: Clock) -> None:
    asked = Schedule(hyperband(30, 3), 1, ("a",))
    budget = TimeBudget(1)
    clock.now += 5
    assert budget.planned(asked, 3, lambda schedule: 0.1) == shortened(asked, 3, 1, 1)


# Estimates


def test_nothing_is_estimated_where_nothing_is_known() -> None:
    pace = Pace(None)
    assert pace.seconds(10, 3) is None
    assert pace.schedule_seconds(Schedule(hyperband(10, 3))) is None


def test_an_estimate_counts_epochs_and_trials() -> None:
    pace = Pace(2.0)
    one, two = pace.seconds(10, 0), pace.seconds(10, 5)
    assert one == 20.0
    assert two is not None
    assert two > one


def test_recipes_have_a_cost_of_their_own() -> None:
    pace = Pace(2.0, 30.0)
    assert pace.seconds(10, 0, recipe_epochs=1) == 50.0
    asked = Schedule(hyperband(10, 3), 1, ("a",))
    alone = Schedule(hyperband(10, 3))
    with_recipe, without = pace.schedule_seconds(asked), pace.schedule_seconds(alone)
    assert with_recipe is not None
    assert without is not None
    trial = pace.seconds(0, 1)
    assert trial is not None
    assert with_recipe - without == pytest.approx(10 * 30.0 + trial)
