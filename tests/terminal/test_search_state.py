"""How far a search has come."""

import pytest

from tuner.hyperband.schedule import Schedule, hyperband
from tuner.runs.records import COMPLETED, FAILED, RungRecord, TrialRecord
from tuner.terminal.search_state import RungCount, SearchState

SCHEDULE = Schedule(hyperband(4, 2), 2, ("plain head",))


def trial(
    number: int, *scores: float, bracket: int = 2, iteration: int = 0, status: str = COMPLETED,
    recipe: str | None = None,
) -> TrialRecord:  # fmt: skip
    rungs = tuple(RungRecord(i, i + 1, score, 1.0) for i, score in enumerate(scores))
    return TrialRecord(number, recipe, iteration, bracket, {}, status, 1, None, rungs)


def test_rungs_fill_up_in_the_bracket_of_their_trial() -> None:
    state = SearchState(SCHEDULE, [trial(0, 0.5, 0.75), trial(1, 0.25)], 0.0)
    state.begin_rung(trial(1, 0.25), 2)
    rows = dict(state.brackets())
    assert list(rows) == ["recipes", "2", "1", "0"]
    assert rows["2"] == [
        RungCount(1, 4, 2, False), RungCount(2, 2, 1, True), RungCount(4, 1, 0, False),
    ]  # fmt: skip
    assert rows["recipes"] == [RungCount(4, 1, 0, False)]
    assert {count.done for count in rows["0"]} == {0}


def test_the_next_iteration_begins_with_empty_rungs() -> None:
    state = SearchState(SCHEDULE, [trial(0, 0.5), trial(1, 0.75, recipe="plain head")], 0.0)
    state.begin_rung(trial(2, iteration=1), 1)
    assert state.iteration == 1
    rows = dict(state.brackets())
    assert [count.done for count in rows["2"]] == [0, 0, 0]
    assert rows["recipes"][0].done == 1  # recipes are trained once


def test_a_trial_that_is_replaced_and_epochs_of_a_checkpoint_are_counted_once() -> None:
    state = SearchState(SCHEDULE, [trial(0, status=FAILED)], 0.0)
    state.begin_rung(trial(1), 4, epoch=2)
    assert state.epochs == 2
    state.end_epoch(trial(1), 3)
    assert state.running is not None
    assert state.running.epoch == 3
    state.begin_rung(trial(2), 1)
    state.end_epoch(trial(2), 1)
    state.end_rung(trial(2, status=FAILED), None, 1.0)
    assert (state.trials, state.epochs, state.running) == (0, 3, None)  # no trial has a score
    assert state.rates(60.0) == pytest.approx((0.0, 1.0))  # epochs of this process


def test_a_new_leading_score_is_reported_and_remembered() -> None:
    state = SearchState(SCHEDULE, [], 0.0)
    assert state.end_rung(trial(0, 0.5), trial(0, 0.5), 1.0)
    assert not state.end_rung(trial(1, 0.25), trial(0, 0.5), 2.0)
    assert state.end_rung(trial(2, 0.75), trial(2, 0.75), 3.0)
    assert state.improvements == [(1.0, 0.5), (3.0, 0.75)]
    assert state.best == trial(2, 0.75)


def test_a_resumed_search_has_its_leader_from_the_start() -> None:
    done = [trial(0, 0.5), trial(1, 0.75)]
    state = SearchState(SCHEDULE, done, 10.0, done[1])
    assert (state.best, state.improvements) == (done[1], [(10.0, 0.75)])
    assert not state.end_rung(trial(2, 0.625), done[1], 20.0)


def test_what_earlier_processes_trained_counts_as_passed() -> None:
    state = SearchState(SCHEDULE, [trial(0, 0.5, 0.75), trial(1, 0.25)], 100.0)
    assert state.share(110.0) == 0.0  # nothing is known of what is left
    state.note_left(7.0, 100.0)
    assert state.share(100.0) == pytest.approx(3 / 10)
    assert state.share(101.0) == pytest.approx(4 / 10)


def test_the_time_left_runs_down_between_two_estimates() -> None:
    state = SearchState(SCHEDULE, [], 0.0)
    assert state.left(5.0) is None
    state.note_left(60.0, 10.0)
    assert state.left(40.0) == 30.0
    assert state.left(100.0) == 0.0


def test_rates_count_what_this_process_has_done() -> None:
    state = SearchState(SCHEDULE, [trial(0, 0.5, 0.75)], 100.0)
    for number in (1, 2, 3):
        state.begin_rung(trial(number), 1)
        state.end_epoch(trial(number), 1)
        state.end_rung(trial(number, 0.5), None, 150.0)
    assert state.rates(190.0) == pytest.approx((2.0, 2.0))
