"""Baselines on the same images: which differences are significant, and the verdict."""

import json

import numpy as np
import pytest

from tuner.evaluate.baselines import (
    STRENGTHS,
    Baseline,
    LeftOut,
    compare,
    in_order,
    regression,
    verdict,
)


def right(*counts: int) -> np.ndarray:
    """Alternately right and wrong, so many images each."""
    return np.repeat(np.arange(len(counts)) % 2 == 0, counts)


def test_a_comparison_is_kept_as_json() -> None:
    baseline = compare("plain head", right(90, 10), right(80, 20), trial=3)
    assert (baseline.accuracy, baseline.gain) == (0.8, pytest.approx(0.1))
    assert baseline.gain_interval[0] < 0.1 < baseline.gain_interval[1]
    assert baseline.p_value == pytest.approx(2 / 2**10)
    kept = json.loads(json.dumps(baseline.to_json()))
    assert kept["trial"] == "0003"
    assert Baseline.from_json(kept) == baseline


@pytest.mark.parametrize(
    ("winner", "other", "expected"),
    [
        (right(90, 10), right(80, 20), "The search gained 10.0 points over the plain head ("),
        (
            right(90, 10),
            right(89, 11),
            "which may be chance. Take the simple one with --prefer simple.",
        ),
        (right(80, 20), right(80, 20), "gained 0.0 points over the plain head (-"),
        (
            right(80, 20),
            right(81, 19),
            "The search lost 1.0 points to the plain head (-2.0 to 4.9)",
        ),
        (right(80, 20), right(90, 10), "The plain head is 10.0 points better than what the search"),
    ],
)
def test_what_is_said(winner: np.ndarray, other: np.ndarray, expected: str) -> None:
    assert expected in verdict([compare("plain head", winner, other)])


def test_a_plain_head_that_won_gained_nothing() -> None:
    baselines = [compare("blog head", right(90, 10), right(50, 50))]
    assert verdict(baselines, "plain head") == (
        "The plain head itself won: the search found nothing better."
    )


def test_what_is_no_network_is_not_to_be_taken() -> None:
    for name in ("majority class", "logistic regression"):
        for other in (right(80, 20), right(99, 1)):
            said = verdict([compare(name, right(80, 20), other)])
            assert "Take" not in said
            assert name in said.lower()


def test_the_verdict_names_any_baseline_that_is_better() -> None:
    plain = compare("plain head", right(60, 40), right(30, 70))
    better = compare("logistic regression", right(60, 40), right(85, 15))
    said = verdict([plain, better])
    assert said.startswith("Logistic regression is 25.0 points better than what the search chose")
    assert "The search gained 30.0 points over the plain head" in said
    assert "is 25.0 points better" in verdict([better], "plain head")


def test_a_large_head_is_not_the_simple_one() -> None:
    said = verdict([compare("blog head", right(90, 10), right(89, 11))])
    assert said.endswith("which may be chance. Either will do.")


def test_a_verdict_without_the_plain_head_says_so() -> None:
    baselines = [compare("blog head", right(90, 10), right(80, 20))]
    gone = LeftOut("plain head", "its weights are gone.")
    assert verdict(baselines, None, [gone]).endswith(
        "The plain head was skipped, so the gain over it is not known."
    )
    regression_gone = LeftOut("logistic regression", "images are gone.")
    assert verdict(baselines, None, [regression_gone]) == verdict(baselines)


def test_the_simplest_network_comes_first_whenever_it_was_asked() -> None:
    names = {"majority class": None, "the simple choice": 1, "blog head": 3, "plain head": 0}
    baselines = [compare(name, right(9), right(9), trial) for name, trial in names.items()]
    assert [each.name for each in in_order(baselines)] == [
        "plain head",
        "blog head",
        "majority class",
        "the simple choice",
    ]


def test_logistic_regression_with_a_strength_by_cross_validation() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    x = (random.normal(size=(120, 30)) + 1.2 * np.eye(3, 30)[labels]).astype(np.float32)
    named, strength = regression(x, labels, None, seed=0)
    assert strength in STRENGTHS
    fresh = (random.normal(size=(120, 30)) + 1.2 * np.eye(3, 30)[labels]).astype(np.float32)
    assert (named(fresh) == labels).mean() > 0.55
    assert regression(x, labels, None, seed=0)[1] == strength
