"""What trials are expected to take, once some have been trained."""

from collections.abc import Mapping
from typing import Any

import pytest

from tuner.hyperband.rung_costs import Costs


def values(blocks: int) -> dict[str, Any]:
    return {"unfreeze_blocks": blocks}


def cost(hyperparameters: Mapping[str, Any]) -> float:
    return 1.0 + hyperparameters["unfreeze_blocks"]


def test_depths_that_were_dearer_than_expected_are_expected_to_be_so_again() -> None:
    costs = Costs(cost, 0.0)
    for trial in range(20):
        costs.note(2 * trial, values(0), 2, 2.0)
        costs.note(2 * trial + 1, values(9), 2, 60.0)
    assert costs.seconds(100, values(0), 10, 1) == pytest.approx(10, rel=0.3)
    assert costs.seconds(101, values(9), 10, 1) == pytest.approx(300, rel=0.1)


def test_a_trial_that_is_dearer_than_its_like_is_expected_to_stay_so() -> None:
    costs = Costs(cost, 0.0)
    for trial in range(9):
        costs.note(trial, values(1), 2, 4.0)
    for _ in range(9):
        costs.note(9, values(1), 2, 12.0)
    usual, dear = (costs.seconds(trial, values(1), 2, 1) for trial in (20, 9))
    assert usual is not None and dear is not None
    assert dear > 1.4 * usual


def test_starts_and_epochs_are_told_apart() -> None:
    costs = Costs(cost, 1.0)
    for trial, blocks in enumerate((1, 2, 3, 1, 2, 3)):  # a start of 20 s, epochs as expected
        epochs, each = 1 + trial % 2, cost(values(blocks))
        costs.note(trial, values(blocks), epochs, 20 + epochs * each, (epochs - 1) * each)
    long = costs.seconds(99, values(2), 100, 1)
    assert long == pytest.approx(20 + 100 * cost(values(2)), rel=0.15)
    short = costs.seconds(99, values(2), 1, 1)
    assert short == pytest.approx(20 + cost(values(2)), rel=0.15)


def test_what_heads_alone_took_says_nothing_of_deeper_networks() -> None:
    costs = Costs(cost, 1.0)
    before = costs.seconds(99, values(3), 9, 1)
    for trial in range(5):  # hundred times as long as expected
        costs.note(trial, values(0), 9, 901.0, 800.0)
    assert costs.seconds(99, values(3), 9, 1) == before


def test_a_rung_that_is_running_counts_until_the_next_is_noted() -> None:
    costs = Costs(cost, 0.0)
    costs.note(0, values(0), 2, 8.0, 4.0, running=True)
    slow = costs.seconds(0, values(0), 2, 0)
    assert slow is not None and slow > 3
    costs.note(0, values(0), 9, 9.0, 8.0)
    mended = costs.seconds(0, values(0), 2, 0)
    assert mended == pytest.approx(2.0, rel=0.1)
