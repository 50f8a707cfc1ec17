"""Confusions, mistakes and calibration, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from tuner.report.validation import Calibration, Matrix, class_rows, worst
from tuner.runs.outcomes import Outcomes

NAMES = ("cat", "dog", "hen")


OUTCOMES = Outcomes(
    np.array([0, 0, 1, 1, 2, 1], "<u2"),
    np.array([0.9, 0.5, 0.8, 0.95, 0.6, 0.99], "<f2"),
    np.array([0.9, 0.5, 0.1, 0.95, 0.6, 0.0], "<f2"),
)


LABELS = np.array([0, 0, 0, 1, 2, 2])


def test_classes_are_counted_as_scikit_learn_counts_them() -> None:
    predicted = OUTCOMES.predicted.astype(int)
    rows = class_rows(predicted, LABELS, NAMES)
    assert [row.recall.share for row in rows] == pytest.approx(
        recall_score(LABELS, predicted, average=None)
    )
    assert [row.precision for row in rows] == pytest.approx(
        precision_score(LABELS, predicted, average=None)
    )
    assert [row.f1 for row in rows] == pytest.approx(f1_score(LABELS, predicted, average=None))
    assert [(row.other, row.mistakes) for row in rows] == [("dog", 1), (None, 0), ("dog", 1)]
    matrix = Matrix.of(confusion_matrix(LABELS, predicted), NAMES)
    assert matrix.rows == [[2, 1, 0], [0, 1, 0], [0, 1, 1]]
    assert matrix.shades == [[7, 4, 0], [0, 10, 0], [0, 5, 5]]
    assert matrix.pairs == [("cat", "dog", 1), ("hen", "dog", 1)]


def test_the_worst_mistake_is_the_most_confident_one() -> None:
    assert list(worst(OUTCOMES, LABELS, 9)) == [5, 2]
    assert list(worst(OUTCOMES, LABELS, 1)) == [5]


def test_calibration_of_a_model_that_is_right_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 20_000)
    right = random.random(20_000) < confidence
    honest, boastful = Calibration.of(confidence, right), Calibration.of(np.sqrt(confidence), right)
    assert honest.error < 0.01
    assert "can be trusted" in honest.verdict
    gap = float((np.sqrt(confidence) - confidence).mean())
    assert boastful.error == pytest.approx(gap, abs=0.01)
    assert "overconfident" in boastful.verdict
    assert Calibration.of(confidence**2, right).verdict.endswith("it is underconfident.")
