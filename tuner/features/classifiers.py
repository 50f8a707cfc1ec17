"""Simple classifiers on pooled features, for what a head has to be compared with.

Logistic regression is fitted on the principal components of the standardised features, in float32:
of drawings, 512 of 2,048 hold 98 % of the variance and give the accuracy of all within half a
point. One thread does it, so that it does not depend on how busy the cores are.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

COMPONENTS = 512
# Steps of the optimiser, and the gradient at which it ends: further ones change no class.
_ITERATIONS, _TOLERANCE = 200, 1e-3


def projection(features: np.ndarray) -> Any:
    """What standardises features and turns them onto their principal components.

    Args:
        features: what it is fitted on, shape (rows, channels).

    Returns:
        Fitted scikit-learn transformer to at most 512 components, float32.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, channels = features.shape
    components = min(COMPONENTS, rows, channels)
    # The same components: of few rows by the rows, of many by the channels, whichever is quicker.
    reduce = PCA(components, svd_solver="full" if 2 * rows < channels else "covariance_eigh")
    return fit(make_pipeline(StandardScaler(), reduce), features)


def logistic_regression(strength: float) -> Any:
    """An unfitted logistic regression for projected features.

    Args:
        strength: scikit-learn's `C`, the inverse of the L2 penalty.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=_ITERATIONS, tol=_TOLERANCE)


def nearest_neighbours(count: int) -> Any:
    """An unfitted vote of the `count` nearest rows by cosine, for features as they are."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(count, metric="cosine")


def fit(model: Any, features: np.ndarray, labels: np.ndarray | None = None) -> Any:
    """Fits a model on one thread; that it was stopped at the last step is no news."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(features, labels)


def folds(
    labels: np.ndarray, groups: np.ndarray | None, count: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers to fit on and to predict, fold by fold, with the classes spread evenly.

    Args:
        labels: int class numbers, shape (rows,).
        groups: names or numbers of what must not stand on two sides, shape (rows,); None where
            every row stands alone.
        count: of folds; no more than there are rows of the largest class, or groups. With less
            than 2 there is nothing to give.
        seed: draws other folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    most = int(np.bincount(labels).max()) if groups is None else len(np.unique(groups))
    count = min(count, int(np.bincount(labels).max()), most)
    if count < 2:
        return
    split = kind(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer rows than folds
        yield from split.split(labels, labels, groups)


def out_of_fold(
    classifier: Any,
    features: np.ndarray,
    labels: np.ndarray,
    parts: Iterator[tuple[np.ndarray, np.ndarray]],
    on_fold: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Class probabilities of each row by a classifier that was fitted without it.

    Args:
        classifier: unfitted.
        features: shape (rows, channels).
        labels: int class numbers, shape (rows,).
        parts: as `folds` gives them.
        on_fold: called after each fold.

    Returns:
        float64, shape (rows, classes). NaN in the rows whose class no other fold has, and in those
        that no fold predicts from two classes.
    """
    probabilities = np.full((len(labels), int(labels.max()) + 1), np.nan)
    for fitted_on, predicted in parts:
        if len(np.unique(labels[fitted_on])) < 2:
            on_fold()
            continue
        probabilities[predicted] = 0.0
        fitted = fit(classifier, features[fitted_on], labels[fitted_on])
        probabilities[np.ix_(predicted, fitted.classes_)] = fitted.predict_proba(
            features[predicted]
        )
        unknown = predicted[~np.isin(labels[predicted], fitted.classes_)]
        probabilities[unknown] = np.nan
        on_fold()
    return probabilities
