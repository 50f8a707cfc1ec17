"""Intervals and tests: known values, and the truth inside as often as they say."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tuner.metrics.intervals import (
    balanced_interval,
    difference_interval,
    mean_interval,
    share_interval,
)


@pytest.mark.parametrize(("right", "images"), [(0, 1), (1, 1), (0, 30), (52, 72), (29, 30)])
def test_wilsons_interval(right: int, images: int) -> None:
    expected = binomtest(right, images).proportion_ci(method="wilson")
    assert share_interval(right, images) == pytest.approx((expected.low, expected.high))


def test_the_bootstrap_of_a_mean_is_as_wide_as_the_normal_interval() -> None:
    values = np.random.default_rng(0).exponential(size=4000)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)
    assert mean_interval(values) == (low, high)
    assert mean_interval(values, seed=1) != (low, high)


def test_a_difference_is_that_of_the_same_images() -> None:
    random = np.random.default_rng(0)
    one = random.random(300) < 0.8
    low, high = difference_interval(one, one)
    assert -0.02 < low < 0 < high < 0.02  # what never differed may yet
    better = one | (random.random(300) < 0.2)
    low, high = difference_interval(better, one)
    assert 0 < low < better.mean() - one.mean() < high < 0.1


def test_each_class_counts_the_same_in_a_balanced_interval() -> None:
    labels = np.repeat([0, 1], [900, 20])
    right = np.repeat([True, False, True], [900, 10, 10])
    low, high = balanced_interval(right, labels)
    assert low < 0.75 < high
    # All doubt is that of the rare class: 10 of 20.
    rare_low, rare_high = share_interval(10, 20)
    assert high - low == pytest.approx((rare_high - rare_low) / 2, rel=0.2)


def test_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(0)
    held = {"share": 0, "mean": 0, "difference": 0}
    repeats = 300
    for _ in range(repeats):
        one, other = random.random((2, 120)) < np.array([[0.8], [0.7]])
        low, high = share_interval(int(one.sum()), 120)
        held["share"] += low <= 0.8 <= high
        low, high = mean_interval(other.astype(float))
        held["mean"] += low <= 0.7 <= high
        low, high = difference_interval(one, other)
        held["difference"] += low <= 0.1 <= high
    assert all(0.91 < count / repeats < 0.98 for count in held.values()), held
