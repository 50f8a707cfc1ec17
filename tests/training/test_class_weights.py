"""Classes of unequal size: by hand, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score
from sklearn.utils.class_weight import compute_class_weight

from tuner.data.imbalance import imbalance_note
from tuner.metrics.scores import balanced_accuracy
from tuner.training.class_weights import balanced_weights


def probabilities(named: list[int], classes: int) -> np.ndarray:
    """Rows whose most probable class is the one that is named."""
    return np.eye(classes, dtype=np.float32)[named] * 0.5 + np.float32(0.1)


def test_each_class_counts_the_same() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    always_0 = probabilities([0] * 100, 2)
    assert balanced_accuracy(always_0, labels) == 0.5
    half_of_1 = probabilities([0] * 95 + [1] * 5, 2)
    assert balanced_accuracy(half_of_1, labels) == 0.75


def test_a_class_without_rows_is_left_out() -> None:
    labels = np.array([0, 0, 2, 2])
    assert balanced_accuracy(probabilities([0, 1, 2, 2], 4), labels) == 0.75
    assert balanced_accuracy(probabilities([3, 3, 3, 3], 4), labels) == 0.0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_it_is_the_mean_recall_of_the_classes(pairs: list[tuple[int, int]]) -> None:
    labels, named = np.array(pairs).T
    expected = recall_score(labels, named, labels=np.unique(labels), average="macro")
    found = balanced_accuracy(probabilities(list(named), 5), labels)
    assert found == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=200))
def test_balanced_weights_are_those_of_scikit_learn_and_add_up_to_the_rows(rows: list[int]) -> None:
    labels = np.array(rows)
    weights = balanced_weights(labels)
    assert weights.dtype == np.float32
    classes = np.unique(labels)
    expected = compute_class_weight("balanced", classes=classes, y=labels)
    np.testing.assert_allclose(weights[classes], expected, rtol=1e-6)
    assert weights[labels].sum() == pytest.approx(len(labels), rel=1e-5)
    assert np.count_nonzero(weights) == len(classes)


OBJECTIVE = "--objective val_balanced_accuracy lets each class count the same"
WEIGHTS = "--class-weights balanced lets each train the same"


@pytest.mark.parametrize(
    ("objective", "class_weights", "remedies"),
    [
        ("val_accuracy", "none", f"{OBJECTIVE}, {WEIGHTS}"),
        ("val_loss", "balanced", OBJECTIVE),
        ("val_balanced_accuracy", "none", WEIGHTS),
    ],
)
def test_imbalance_suggests_the_options_not_yet_in_use(
    objective: str, class_weights: str, remedies: str
) -> None:
    counts = {"cat": 30, "dog": 51, "eel": 10}
    assert imbalance_note(counts, objective, class_weights) == (
        f"Class dog has 51 training images and class eel 10: {remedies}."
    )


def test_no_imbalance_at_five_to_one_or_with_both_options() -> None:
    assert imbalance_note({"cat": 10, "dog": 50}, "val_accuracy", "none") is None
    assert imbalance_note({"cat": 10, "dog": 51}, "val_accuracy", "none") is not None
    assert imbalance_note({"cat": 10, "dog": 90}, "val_balanced_accuracy", "balanced") is None
