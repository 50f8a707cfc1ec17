"""Experiment: the accuracy that simple classifiers reach on the frozen features."""

from typing import Any

import numpy as np

from tuner.command_lines import Command
from tuner.counting import Progress, silent
from tuner.diagnose.finding import FEATURES, SIGNIFICANCE, WEAK_HEAD, Finding, Remedy
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

# Accuracy that is not significantly below this is not called stuck.
HEALTHY = 0.9
_FOLDS = 3


def ceiling(
    training: Rows,
    validation: Rows,
    right: np.ndarray,
    *,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Finding:
    """Compare a head with the best simple classifier on the same features.

    Logistic regression and nearest neighbours by cosine, each with the setting that is best in
    cross-validation on the training rows; the better of the two there is compared.

    Args:
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        right: whether the head classifies each validation row correctly, bool, shape (rows,) or
            (seeds, rows).
        seed: of the folds.
        on_progress: counts settings.
    """
    candidates = _candidates(training, validation)
    best: dict[str, tuple[float, float, np.ndarray]] = {}
    for done, (name, setting, classifier, (x, x_validation)) in enumerate(candidates, start=1):
        expected = _cross_validated(classifier, x, training.y, seed)
        if name not in best or expected > best[name][0]:
            predicted = fit(classifier, x, training.y).predict(x_validation)
            best[name] = (expected, setting, predicted == validation.y)
        on_progress("ceiling", done, len(candidates))
    chosen = max(best, key=lambda name: best[name][0])
    gain, p_value = paired_gain(right, best[chosen][2])
    numbers: dict[str, Any] = {"head": float(np.mean(right)), "chosen": chosen} | {
        name: {"setting": setting, "cross_validated": expected, "val_accuracy": float(own.mean())}
        for name, (expected, setting, own) in best.items()
    }
    others = " and ".join(f"{name} {percent(own.mean())}" for name, (_, _, own) in best.items())
    figures = f"on these features the head reaches {percent(float(np.mean(right)))}, {others}"
    return Finding(
        WEAK_HEAD,
        f"A plain head, trained for {EPOCHS} epochs, is {100 * gain:.1f} points below another "
        f"classifier: {figures}. A head of your own was not compared.",
        gain,
        p_value,
        Remedy(("Search heads with ", Command("search"), ".")),
        numbers,
        harmless=f"The head is at the ceiling of the features: {figures}.",
    )


def features_limit(overfitted: Finding, reached: Finding, images: int) -> Finding:
    """Whether accuracy is limited by what no head can change: features, images or labels.

    Args:
        overfitted: as `overfitting` returns it.
        reached: as `ceiling` returns it.
        images: number of validation images.

    Returns:
        A cause where the best of all heads and classifiers is significantly below 90 % (binomial
        test). The gain is all that is missing; other features may give less of it.
    """
    from scipy.stats import binomtest

    accuracies = [each["val_accuracy"] for each in overfitted.numbers["grid"]]
    classifiers = [
        each["val_accuracy"] for each in reached.numbers.values() if isinstance(each, dict)
    ]
    best = max(*accuracies, *classifiers)
    spread = f"{percent(min(accuracies))} to {percent(max(accuracies))}"
    figures = (
        f"training accuracy is {percent(overfitted.numbers['train_accuracy'])}, validation stays "
        f"at {spread} over dropout 0 to 0.6 and L2 1e-6 to 1e-2, and other classifiers reach "
        f"{percent(max(classifiers))}"
    )
    numbers = {"best": best, "healthy": HEALTHY}
    below = binomtest(round(best * images), images, HEALTHY, alternative="less")
    if below.pvalue > SIGNIFICANCE:
        sentence = f"Heads reach {percent(best)} on these features, which is not stuck."
        return Finding(FEATURES, sentence, 0.0, None, numbers=numbers)
    return Finding(
        FEATURES,
        f"No head gets more out of these features: {figures}. The limit is in the features, the "
        "images or the labels.",
        1 - best,
        None,
        Remedy(
            ("Change the features: ", Command("search"), " also trains 1 to 16 backbone blocks.")
        ),
        numbers,
        harmless=f"Another head gets more out of these features: {figures}.",
        measured=False,
    )


def _candidates(
    training: Rows, validation: Rows
) -> list[tuple[str, float, Any, tuple[np.ndarray, np.ndarray]]]:
    """Name, setting, classifier, and its training and validation features."""
    raw = training.x[:], validation.x[:]
    components = projection(raw[0])
    projected = components.transform(raw[0]), components.transform(raw[1])
    counts = [count for count in NEIGHBOURS if count <= len(training.y) // 2]
    return [
        *(("logistic regression", c, logistic_regression(c), projected) for c in STRENGTHS),
        *(("nearest neighbours", count, nearest_neighbours(count), raw) for count in counts),
    ]


def _cross_validated(classifier: Any, x: np.ndarray, y: np.ndarray, seed: int) -> float:
    probabilities = out_of_fold(classifier, x, y, folds(y, None, _FOLDS, seed))
    known = np.isfinite(probabilities).all(axis=1)
    return float((known & (probabilities.argmax(axis=1) == y)).mean())
