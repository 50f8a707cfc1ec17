"""Ends of axes."""

import pytest

from tuner.report import axes


@pytest.mark.parametrize("is_loss", [False, True])
def test_a_hopeless_score_does_not_flatten_the_others(is_loss: bool) -> None:
    scores = [0.70 + 0.01 * (number % 8) for number in range(24)]
    low, high = axes.score_ends([*scores, 9.0 if is_loss else 0.01], is_loss)
    assert low <= 0.70
    assert high >= 0.77
    assert high - low < 0.5


@pytest.mark.parametrize(
    ("scores", "is_loss", "ends"),
    [([1.0], False, (0.998, 1.0)), ([0.5, 1.0], False, (0.5, 1.0)), ([0.0], True, (0.0, 0.002))],
)  # fmt: skip
def test_no_axis_goes_beyond_what_a_score_can_be(
    scores: list[float], is_loss: bool, ends: tuple[float, float]
) -> None:
    assert axes.score_ends(scores, is_loss) == pytest.approx(ends)
