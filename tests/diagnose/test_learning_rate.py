"""Learning rates that are too high or too low are found, and good ones are not."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space
from tests.support.clusters import CLASSES, clusters
from tuner.diagnose.finding import SIGNIFICANCE, judge
from tuner.diagnose.head_training import HEAD, Heads
from tuner.diagnose.learning_rate import (
    RateCurve,
    learning_rate_curve,
    learning_rate_finding,
    trained_longer,
)
from tuner.errors import SettingsError

if TYPE_CHECKING:
    import keras

SMALL = Configuration(head_width=128, dropout=0.0, l2=1e-6)


@pytest.fixture(scope="module")
def heads(random_backbone: "keras.Model") -> Heads:
    return Heads(ResNet50Space(CLASSES, 32, "none"), PretrainedBackbone(random_backbone))


def rights(*accuracies: float, count: int = 200) -> np.ndarray:
    """Whether each candidate is right, with the same images easy for all, in mixed order."""
    order = np.random.default_rng(1).permutation(count)
    return np.stack([order < accuracy * count for accuracy in accuracies])


def test_a_learning_rate_a_hundred_times_too_high_is_named(heads: Heads) -> None:
    curve = learning_rate_curve(
        heads,
        clusters(240, 0, 3, 1),
        clusters(160, 1, 3, 1),
        configuration=SMALL,
        epochs=4,
        rates=(1e-3, 1e-2, 1.0),
    )
    assert set(np.unique(np.round(3 * curve.right))) <= {0, 1, 2, 3}  # of three heads
    assert len(np.unique(curve.right)) > 2
    found = learning_rate_finding(curve, 1.0)
    assert found.p_value < 0.01
    assert found.gain > 0.1
    assert "too high" in found.sentence
    assert learning_rate_finding(curve, curve.good[0]).p_value > SIGNIFICANCE


def test_a_low_learning_rate_only_takes_longer() -> None:
    curve = RateCurve((1e-5, 1e-3, 1e-1), rights(0.3, 0.8, 0.6), (2.0, 0.1, 1.0))
    found = learning_rate_finding(curve, 2e-5, longer=rights(0.79)[0])
    assert found.p_value is not None
    assert found.p_value > SIGNIFICANCE
    assert "no cause" in found.harmless


def test_a_low_learning_rate_that_was_not_tried_longer_is_not_judged() -> None:
    curve = RateCurve((1e-5, 1e-3, 1e-1), rights(0.3, 0.8, 0.6), (2.0, 0.1, 1.0))
    judged = judge([learning_rate_finding(curve, 2e-5)])[0]
    assert not judged.is_cause
    assert "was not judged" in judged.sentence
    assert "no cause" not in judged.sentence


def test_a_learning_rate_that_more_epochs_do_not_make_up_for_is_too_low() -> None:
    curve = RateCurve((1e-5, 1e-3, 1e-1), rights(0.3, 0.8, 0.6), (2.0, 0.1, 1.0))
    found = learning_rate_finding(curve, 2e-5, longer=rights(0.5)[0])
    assert found.p_value < 0.01
    assert found.gain == pytest.approx(0.3)
    assert "2e-05 is too low" in found.sentence
    assert "50.0 % with 2e-05 after 5 times as many epochs" in found.sentence
    assert "0.001" in str(found.remedy)


def test_heads_are_trained_five_times_as_long(heads: Heads) -> None:
    training, validation = clusters(120, 0, 3, 1), clusters(80, 1, 3, 1)
    steps: list[tuple[str, int, int]] = []
    longer = trained_longer(
        heads, training, validation, 1e-4, on_progress=lambda *step: steps.append(step)
    )
    assert steps == [("a low learning rate", done, 3) for done in range(4)]
    slow = replace(HEAD, learning_rate=1e-4)
    expected = [
        heads.fit(slow, [training], validation, epochs=50, seed=seed).right for seed in range(3)
    ]
    assert longer.tolist() == np.mean(expected, axis=0).tolist()


def test_the_good_range_is_within_a_standard_error_of_the_best() -> None:
    curve = RateCurve((1e-4, 1e-3, 1e-2, 1e-1), rights(0.5, 0.79, 0.8, 0.78), (1, 1, 1, 1))
    assert curve.good == (1e-3, 1e-1)


@pytest.mark.parametrize("used", [0, -1e-3, float("nan")])
def test_a_learning_rate_is_above_0(used: float) -> None:
    with pytest.raises(SettingsError, match="above 0"):
        learning_rate_finding(RateCurve((1e-3,), rights(0.5), (1.0,)), used)
