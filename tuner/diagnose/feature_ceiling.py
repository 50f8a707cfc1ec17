"""Experiment: the accuracy that any classifier reaches on the frozen features."""

from typing import Any

import numpy as np

from tuner.counting import Told, tell_counts
from tuner.diagnose.causes import FEATURES, WEAK_HEAD
from tuner.diagnose.finding import SIGNIFICANCE, Finding
from tuner.diagnose.head_training import EPOCHS
from tuner.features.classifiers import (
    fit,
    folds,
    logistic_regression,
    nearest_neighbours,
    out_of_fold,
    projection,
)
from tuner.metrics.significance import paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
NEIGHBOURS = (1, 5, 10, 20)

# Accuracy that is no less, but for chance, is not called stuck where only other features remain.
HEALTHY = 0.9
_FOLDS = 3


def ceiling(
    training: Rows,
    validation: Rows,
    right: np.ndarray,
    *,
    seed: int = 0,
    on_progress: Told = None,
) -> Finding:
    """What the best simple classifier reaches on the same features, against a head.

    Logistic regression and nearest neighbours by cosine, each with the setting that is best in
    cross-validation on the training rows; the better of the two there is compared.

    Args:
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        right: whether the head names each validation row rightly, bool, shape (rows,) or (seeds,
            rows).
        seed: of the folds.
        on_progress: told (settings tried, of how many).
    """
    turn = projection(training.x[:])
    raw = training.x[:], validation.x[:]
    projected = turn.transform(raw[0]), turn.transform(raw[1])
    tried: list[tuple[str, float, Any, tuple[np.ndarray, np.ndarray]]] = [
        *(("logistic regression", c, logistic_regression(c), projected) for c in STRENGTHS),
        *(
            ("nearest neighbours", k, nearest_neighbours(k), raw)
            for k in NEIGHBOURS
            if k <= len(training.y) // 2
        ),
    ]
    best: dict[str, tuple[float, float, np.ndarray]] = {}
    for number, (name, setting, classifier, (x, x_validation)) in enumerate(tried, start=1):
        expected = _cross_validated(classifier, x, training.y, seed)
        if name not in best or expected > best[name][0]:
            predicted = fit(classifier, x, training.y).predict(x_validation)
            best[name] = (expected, setting, predicted == validation.y)
        tell_counts(on_progress, number, len(tried))
    chosen = max(best, key=lambda name: best[name][0])
    gain, p_value = paired_gain(right, best[chosen][2])
    numbers: dict[str, Any] = {"head": float(np.mean(right)), "chosen": chosen} | {
        name: {"setting": setting, "cross_validated": expected, "val_accuracy": float(own.mean())}
        for name, (expected, setting, own) in best.items()
    }
    reached = " and ".join(f"{percent(own.mean())} by {name}" for name, (_, _, own) in best.items())
    evidence = (
        f"on these features {reached} are reached, and {percent(float(np.mean(right)))} by the head"
    )
    return Finding(
        WEAK_HEAD,
        f"A plain head of {EPOCHS} epochs, as this program trains it, leaves {100 * gain:.1f} "
        f"points: {evidence}. A head of your own was not compared.",
        gain,
        p_value,
        "Search heads with tune search DATA.",
        numbers,
        harmless=f"The head is at the ceiling of the features: {evidence}.",
    )


def features_limit(overfitted: Finding, reached: Finding, images: int) -> Finding:
    """Whether accuracy is held back by what no head can change: features, images or labels.

    Args:
        overfitted: as `overfitting` gives it.
        reached: as `ceiling` gives it.
        images: how many validation images there are.

    Returns:
        A cause where the best of all heads and classifiers is right for less than 90 % of the
        images beyond chance (binomial test). The gain is all that is missing: how much of it other
        features would give is not known.
    """
    from scipy.stats import binomtest

    accuracies = [each["val_accuracy"] for each in overfitted.numbers["grid"]]
    classifiers = [each["val_accuracy"] for each in reached.numbers.values() if _is_fitted(each)]
    best = max(*accuracies, *classifiers)
    spread = f"{percent(min(accuracies))} to {percent(max(accuracies))}"
    evidence = (
        f"training accuracy is {percent(overfitted.numbers['train_accuracy'])}, validation stays "
        f"at {spread} over dropout 0 to 0.6 and L2 1e-6 to 1e-2, and other classifiers reach "
        f"{percent(max(classifiers))}"
    )
    numbers = {"best": best, "healthy": HEALTHY}
    below = binomtest(round(best * images), images, HEALTHY, alternative="less")
    if below.pvalue > SIGNIFICANCE:
        sentence = f"Heads reach {percent(best)} on these features, which is not called stuck."
        return Finding(FEATURES, sentence, 0.0, None, numbers=numbers)
    return Finding(
        FEATURES,
        f"No head gets more out of these features: {evidence}. What is left are the features, the "
        "images or the labels.",
        1 - best,
        None,
        "Change the features: tune search DATA also trains 1 to 16 blocks of the backbone.",
        numbers,
        harmless=f"Another head gets more out of these features: {evidence}.",
        measured=False,
    )


def _cross_validated(classifier: Any, x: np.ndarray, y: np.ndarray, seed: int) -> float:
    probabilities = out_of_fold(classifier, x, y, folds(y, None, _FOLDS, seed))
    known = np.isfinite(probabilities).all(axis=1)
    return float((known & (probabilities.argmax(axis=1) == y)).mean())


def _is_fitted(number: Any) -> bool:
    return isinstance(number, dict)
