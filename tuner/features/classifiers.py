"""Simple classifiers on pooled features, as baselines for trained heads.

Logistic regression is fitted on the principal components of the standardised features, in float32.
For drawings, 512 of 2,048 components hold 98 % of the variance and reach the same accuracy within
half a point. Models are fitted on one thread, so that results do not depend on the load.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tuner.counting import Progress, silent

COMPONENTS = 512
FOLDS = 5  # of `cross_validated`
# Most steps of the optimizer, and its gradient tolerance; stricter ones change no predicted class.
_ITERATIONS, _TOLERANCE = 200, 1e-3


def projection(features: np.ndarray) -> Any:
    """Standardisation and at most 512 principal components, fitted on float32 (rows, channels)."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, channels = features.shape
    components = min(COMPONENTS, rows, channels)
    # Both solvers give the same components; the choice is the faster one.
    reduce = PCA(components, svd_solver="full" if 2 * rows < channels else "covariance_eigh")
    return fit(make_pipeline(StandardScaler(), reduce), features)


def logistic_regression(strength: float) -> Any:
    """Unfitted logistic regression for projected features; `strength` is scikit-learn's `C`."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=_ITERATIONS, tol=_TOLERANCE)


def nearest_neighbours(count: int) -> Any:
    """Unfitted k-nearest-neighbours classifier by cosine distance, for unprojected features."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(count, metric="cosine")


def fit(model: Any, features: np.ndarray, labels: np.ndarray | None = None) -> Any:
    """Fit a model on one thread, without convergence warnings."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(features, labels)


def folds(
    labels: np.ndarray, groups: np.ndarray | None, count: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield at most `count` stratified folds: row numbers to fit on, and to predict.

    Rows of one of `groups` (None: no groups) stay together. No class, nor the groups, can give more
    folds than it has rows; below 2 there are none.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    most = int(np.bincount(labels).max()) if groups is None else len(np.unique(groups))
    count = min(count, int(np.bincount(labels).max()), most)
    if count < 2:
        return
    split = kind(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes with fewer rows than folds
        yield from split.split(labels, labels, groups)


def out_of_fold(
    classifier: Any,
    features: np.ndarray,
    labels: np.ndarray,
    parts: Iterator[tuple[np.ndarray, np.ndarray]],
    on_fold: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Cross-validated class probabilities: each row's by a classifier fitted without it.

    `on_fold` is called after each fold of `parts` (see `folds`).

    Returns:
        float64, shape (rows, classes). NaN for rows whose class the fitted rows lack, or whose
        fold was fitted on fewer than two classes.
    """
    probabilities = np.full((len(labels), int(labels.max()) + 1), np.nan)
    for fitted_on, predicted in parts:
        if len(np.unique(labels[fitted_on])) >= 2:
            fitted = fit(classifier, features[fitted_on], labels[fitted_on])
            known = predicted[np.isin(labels[predicted], fitted.classes_)]
            probabilities[known] = 0.0
            found = fitted.predict_proba(features[predicted])
            probabilities[np.ix_(known, fitted.classes_)] = found[np.isin(predicted, known)]
        on_fold()
    return probabilities


def cross_validated(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    strength: float,
    seeds: Sequence[int],
    on_progress: Progress = silent,
) -> np.ndarray:
    """Out-of-fold class probabilities of logistic regression on projected features.

    Args:
        features: pooled, float32, shape (rows, channels).
        labels: int class numbers, shape (rows,).
        groups: see `folds`.
        strength: see `logistic_regression`.
        seeds: one for each division into folds; the result is their mean.
        on_progress: counts folds.

    Returns:
        See `out_of_fold`.
    """
    projected = projection(features).transform(features)
    count = FOLDS * len(seeds)
    done = iter(range(1, count + 1))
    parts = [
        out_of_fold(
            logistic_regression(strength),
            projected,
            labels,
            folds(labels, groups, FOLDS, seed),
            lambda: on_progress("cross-validation", next(done), count),
        )
        for seed in seeds
    ]
    return np.mean(parts, axis=0)
