"""Scores of probabilities: those of scikit-learn, and by hand where it has none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as known

from tuner.metrics.scores import (
    Scores,
    balanced_accuracy,
    brier_scores,
    calibration_error,
    chance_rate,
    confusions,
    per_class,
    reliability,
    reliability_gap,
)


def drawn(rows: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(classes, 0.5), rows), random.integers(0, classes, rows)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_scores_are_scikit_learns(rows: int, classes: int, seed: int) -> None:
    probabilities, labels = drawn(rows, classes, seed)
    predicted, scores = probabilities.argmax(axis=1), Scores.of(probabilities, labels)
    assert scores.accuracy == pytest.approx(known.accuracy_score(labels, predicted))
    assert scores.macro_f1 == pytest.approx(known.f1_score(labels, predicted, average="macro"))
    assert scores.balanced_accuracy == pytest.approx(
        known.recall_score(labels, predicted, labels=np.unique(labels), average="macro")
    )
    clipped = np.clip(probabilities, 1e-7, 1)
    expected = -np.log(clipped[np.arange(rows), labels]).mean()
    assert scores.log_loss == pytest.approx(expected)
    assert 0 <= scores.calibration_error <= 1
    assert 0 <= scores.brier_score <= 2


def test_brier_score_of_two_classes_is_twice_that_of_one() -> None:
    probabilities, labels = drawn(40, 2, 3)
    one = known.brier_score_loss(labels, probabilities[:, 1])
    assert brier_scores(probabilities, labels).mean() == pytest.approx(2 * one)


def test_each_class() -> None:
    predicted = np.array([0, 0, 1, 1, 1])
    labels = np.array([0, 1, 1, 1, 2])
    assert per_class(predicted, labels, 4)[1] == {
        "images": 3, "predicted": 3, "right": 2,
        "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }  # fmt: skip
    nowhere = per_class(predicted, labels, 4)[3]
    assert (nowhere["precision"], nowhere["recall"], nowhere["f1"]) == (None, None, None)
    assert confusions(predicted, labels) == [[0, 0, 1], [1, 0, 1], [1, 1, 2], [2, 1, 1]]


def test_calibration() -> None:
    # Four images named with 0.8 and three of them right; one with certainty, and wrong.
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.0, 1.0]])
    labels = np.array([0, 0, 0, 1, 0])
    rows = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    filled = [row for row in rows if row["images"]]
    assert [(row["from"], row["to"], row["images"]) for row in filled] == [
        (11 / 15, 0.8, 4),
        (14 / 15, 1.0, 1),
    ]
    assert [row["accuracy"] for row in filled] == [0.75, 0.0]
    expected = (4 * 0.05 + 1 * 1.0) / 5
    assert reliability_gap(rows) == pytest.approx(expected)
    assert calibration_error(np.eye(2)[[0, 1]], np.array([0, 1])) == 0


COUNTS = {"cat": 6, "dog": 3, "eel": 1, "fox": 0}


def test_the_rate_of_chance() -> None:
    assert chance_rate(COUNTS, COUNTS, "val_accuracy") == 0.6
    assert chance_rate(COUNTS, COUNTS, "val_balanced_accuracy") == pytest.approx(1 / 3)
    assert chance_rate(COUNTS, COUNTS, "val_loss") is None
    assert chance_rate({"cat": 0}, {"cat": 1}, "val_accuracy") is None


def test_the_most_frequent_class_is_that_of_the_training_images() -> None:
    training = {"cat": 2, "dog": 9, "eel": 1, "fox": 0}
    assert chance_rate(COUNTS, training, "val_accuracy") == 0.3
    only_fox = {"cat": 0, "dog": 0, "eel": 0, "fox": 5}
    assert chance_rate(COUNTS, only_fox, "val_balanced_accuracy") == 0


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 4))
def test_the_rate_of_chance_is_what_always_answering_one_class_scores(
    rows: list[int], largest: int
) -> None:
    labels = np.array(rows)
    counts = {str(name): int((labels == name).sum()) for name in range(5)}
    training = {str(name): int(name == largest) for name in range(5)}
    always = np.eye(5)[[largest] * len(labels)]
    accuracy = float((always.argmax(axis=1) == labels).mean())
    assert chance_rate(counts, training, "val_accuracy") == pytest.approx(accuracy)
    balanced = balanced_accuracy(always, labels)
    assert chance_rate(counts, training, "val_balanced_accuracy") == pytest.approx(balanced)
