"""Expected training, against searches whose end is known."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.hyperband.expected_work import Work, expected_work, without_epochs
from tuner.hyperband.schedule import Pause, Schedule, Standing, hyperband, next_task

RECIPES = st.sampled_from([(), ("plain head",), ("plain head", "blog's head")])


def simulate(
    schedule: Schedule, seed: int, failing: float = 0.0
) -> list[tuple[list[Standing], int]]:
    """Every state of a search between its rungs, and the epochs trained by then."""
    chance = random.Random(seed)
    standings: list[Standing] = []
    trained, states = 0, [([], 0)]
    while not isinstance(task := next_task(schedule, standings), Pause):
        number = len(standings) if task.trial is None else task.trial
        if task.trial is None:
            standings = [*standings, Standing(number, task.slot)]
        was = standings[number]
        failed = chance.random() < failing
        scores = was.scores if failed else (*was.scores, chance.random())
        standings = list(standings)
        standings[number] = Standing(number, task.slot, scores, failed=failed)
        trained += 0 if failed else task.end_epoch - task.start_epoch
        states.append((standings, trained))
    return states


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(2, 4), st.integers(1, 2), RECIPES, st.integers(0, 99))
def test_expected_epochs_sum_to_those_that_the_schedule_has_left(
    max_epochs: int, factor: int, iterations: int, recipes: tuple[str, ...], seed: int
) -> None:
    schedule = Schedule(hyperband(max_epochs, factor), iterations, recipes)
    for standings, trained in simulate(schedule, seed):
        work = expected_work(schedule, standings)
        left = sum(each.epochs for each in work.values())
        assert left == pytest.approx(schedule.total_epochs - trained)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(2, 4), st.integers(0, 99))
def test_nothing_is_left_at_the_end_of_a_search_with_failures(
    max_epochs: int, factor: int, seed: int
) -> None:
    schedule = Schedule(hyperband(max_epochs, factor))
    *before, (standings, _) = simulate(schedule, seed, failing=0.2)
    assert not expected_work(schedule, standings)
    assert all(expected_work(schedule, each) for each, _ in before)


def test_once_all_have_scores_exactly_the_best_are_promoted() -> None:
    schedule = Schedule(hyperband(4, 2))
    bracket = schedule.brackets[0]
    first = [Standing(i, (0, bracket.number), (i / 10,)) for i in range(bracket.rungs[0].size)]
    promoted = {trial for trial in expected_work(schedule, first) if trial < len(first)}
    assert promoted == set(range(len(first) - bracket.rungs[1].size, len(first)))


def test_epochs_of_a_running_rung_are_subtracted() -> None:
    work = {0: Work(9.5, 1.25), 1: Work(9.0, 1.0)}
    assert without_epochs(work, 0, 4) == {0: Work(5.5, 0.25), 1: Work(9.0, 1.0)}


def test_the_leader_of_a_rung_is_likely_to_be_promoted_and_the_last_is_not() -> None:
    schedule = Schedule(hyperband(4, 2))
    bracket = schedule.brackets[0]
    assert (bracket.rungs[0].size, bracket.rungs[1].size) == (4, 2)
    scored = [Standing(i, (0, bracket.number), (score,)) for i, score in enumerate((0.9, 0.1, 0.5))]
    work = expected_work(schedule, scored)
    first = [work.get(trial, Work(0.0, 0.0)).rungs for trial in range(4)]
    # Of three in four the first is among the best two for certain, the third never.
    assert first[0] > 1.0 > first[2] > 0.0
    assert first[1] == 0.0
    assert first[3] > 1.0  # it has its first rung before it
