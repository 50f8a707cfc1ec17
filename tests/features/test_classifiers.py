"""Classifiers on pooled features: a row is predicted from the others alone."""

import warnings

import numpy as np
import pytest

from tests.support.clusters import CLASSES, clusters
from tuner.features.classifiers import (
    COMPONENTS,
    fit,
    folds,
    logistic_regression,
    nearest_neighbours,
    out_of_fold,
    projection,
)


def test_a_projection_is_small_and_standardised() -> None:
    rows = clusters(40, 0)
    turned = projection(rows.x).transform(rows.x)
    assert turned.shape == (40, 40)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=1e-3)
    assert projection(clusters(COMPONENTS + 20, 0).x).transform(rows.x).shape == (40, COMPONENTS)


@pytest.mark.parametrize("classifier", [logistic_regression(1e-2), nearest_neighbours(5)])
def test_out_of_fold_classes_are_predicted(classifier: object) -> None:
    rows = clusters(80, 0)
    parts = folds(rows.y, None, 4, seed=0)
    done: list[int] = []
    found = out_of_fold(classifier, rows.x, rows.y, parts, lambda: done.append(1))
    assert found.shape == (80, CLASSES)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found.argmax(axis=1) == rows.y).mean() > 0.95
    assert len(done) == 4


def test_a_label_has_no_part_in_its_own_prediction() -> None:
    rows = clusters(80, 0)
    wrong = rows.y.copy()
    wrong[0] = (wrong[0] + 1) % CLASSES
    found = out_of_fold(nearest_neighbours(5), rows.x, wrong, folds(wrong, None, 4, seed=0))
    assert found[0].argmax() == rows.y[0]


def test_folds_hold_every_row_once_and_no_group_twice() -> None:
    labels, groups = np.arange(60) % 3, np.arange(60) // 2
    parts = list(folds(labels, groups, 5, seed=1))
    assert sorted(np.concatenate([predicted for _, predicted in parts])) == list(range(60))
    for fitted_on, predicted in parts:
        assert not set(groups[fitted_on]) & set(groups[predicted])
    other = list(folds(labels, groups, 5, seed=2))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(parts, other, strict=True))


def test_folds_are_limited_by_rows_and_groups() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert len(list(folds(labels, None, 10, seed=0))) == 3
    assert len(list(folds(labels, np.array([0, 0, 1, 0, 1, 1]), 10, seed=0))) == 2
    assert list(folds(labels, np.zeros(6), 10, seed=0)) == []


def test_a_class_of_one_row_is_nan() -> None:
    rows = clusters(40, 0)
    labels = rows.y.copy()
    labels[0] = CLASSES
    found = out_of_fold(logistic_regression(1e-2), rows.x, labels, folds(labels, None, 4, seed=0))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:, :CLASSES]).all()


def test_an_unconverged_fit_gives_no_warning() -> None:
    rows = clusters(80, 0, apart=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(logistic_regression(1e3).set_params(max_iter=1), rows.x, rows.y)
