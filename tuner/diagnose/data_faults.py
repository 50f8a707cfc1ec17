"""Faults of the data: leaks across the split, conflicting labels, unequal classes."""

from typing import Any

import numpy as np

from tuner.command_lines import Command
from tuner.data.dataset import Dataset, group_of
from tuner.data.imbalance import imbalance_note
from tuner.diagnose.finding import (
    CONFLICTS,
    IMBALANCE,
    LEAK,
    LEAST_GAIN,
    SIGNIFICANCE,
    Finding,
    Remedy,
)
from tuner.metrics.significance import paired_gain
from tuner.text import percent

# Share of the training images that must remain without a leak, for heads that can be compared.
_LEAST_KEPT = 0.5
# Validation images outside of training that accuracy can be measured on.
_LEAST_UNSHARED = 30
# How much more than an equal share the most frequent class has, for classes to be called unequal,
# and by how much accuracy must exceed that class's share.
_UNEVEN_SHARE, _LEAST_ABOVE_MAJORITY = 0.1, 0.05

_DROP_LEAKS = Remedy((Command("search", ("--drop-leaks",)), " leaves them out of training."))
_SPLIT_AGAIN = Remedy(
    (
        "Validate on images that are not in training: give one folder of class folders without "
        "train and val, or a table without splits, and tune search splits it so that copies stay "
        "together.",
    )
)
_BALANCE = Remedy(
    (
        Command("search", ("--class-weights", "balanced", "--objective", "val_balanced_accuracy")),
        " trains and selects for all classes equally.",
    )
)


def leaked(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Find the images that are in both training and validation, as copies or near-duplicates.

    Returns:
        Two bool arrays, in the order of `dataset.of("train")` and `dataset.of("validation")`.
    """
    groups = [np.array([group_of(file) for file in dataset.of(s)]) for s in ("train", "validation")]
    return np.isin(groups[0], groups[1]), np.isin(groups[1], groups[0])


def leak_finding(dataset: Dataset, right: np.ndarray, without: np.ndarray | None) -> Finding:
    """Measure by how much training images in the validation set overstate accuracy.

    Args:
        dataset: with its splits.
        right: whether each validation image is classified correctly, in the order of
            `dataset.of("validation")`, bool, shape (images,) or (seeds, images).
        without: the same for heads trained without the shared images; None where too few remain.
            Then the shared validation images are compared with the others; where those are few
            too, the leak is a cause because it was counted.
    """
    shared = leaked(dataset)[1]
    count, images = int(shared.sum()), len(shared)
    accuracy = float(np.mean(right))
    numbers: dict[str, Any] = {"leaked": count, "validation_images": images, "accuracy": accuracy}
    if not count:
        return Finding(LEAK, "No validation image is in training too.", 0.0, None, numbers=numbers)
    what = f"{count} of {images} validation images are in training too"
    if without is None and images - count < _LEAST_UNSHARED:
        return _counted_leak(what, accuracy, dataset.majority_rate(), numbers)
    if without is None:
        inflation, p_value = _unpaired_gain(right, shared)
        honest = accuracy - inflation
        figures = f"{percent(accuracy)} on all, and {percent(honest)} on the others"
    else:
        inflation, p_value = paired_gain(without, right)
        honest = float(np.mean(without))
        figures = f"{percent(accuracy)} with them in training, and {percent(honest)} without"
    return Finding(
        LEAK,
        f"{what}: accuracy is overstated, {figures}.",
        inflation,
        p_value,
        _SPLIT_AGAIN if without is None else _DROP_LEAKS,
        numbers | {"accuracy_without_leak": honest},
        harmless=f"{what}, with no measurable effect on accuracy: {figures}.",
        overstated=True,
    )


def enough_without(kept: np.ndarray, labels: np.ndarray) -> bool:
    """Whether heads trained without the leaked images can be compared with those trained on all.

    Args:
        kept: which training images remain, bool, shape (images,).
        labels: of the training images, shape (images,).
    """
    classes = len(np.unique(labels))
    return bool(kept.mean() >= _LEAST_KEPT and len(np.unique(labels[kept])) == classes)


def _counted_leak(what: str, accuracy: float, majority: float, numbers: dict[str, Any]) -> Finding:
    """A leak too large to measure its effect."""
    sentence = (
        f"{what}, and too few images are left without them to train or validate on: "
        f"{percent(accuracy)} is no estimate for images that were not trained on."
    )
    most = max(accuracy - majority, LEAST_GAIN)
    return Finding(
        LEAK, sentence, most, None, _SPLIT_AGAIN, numbers, measured=False, overstated=True
    )


def _unpaired_gain(right: np.ndarray, shared: np.ndarray) -> tuple[float, float]:
    """By how much accuracy exceeds that on images that are not shared, and the p value of that."""
    from scipy.stats import permutation_test

    shares = np.atleast_2d(right).mean(axis=0)
    tested = permutation_test(
        (shares[shared], shares[~shared]),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        n_resamples=9999,
        alternative="greater",
        vectorized=True,
        batch=500,
        rng=np.random.default_rng(0),
    )
    return float(shares.mean() - shares[~shared].mean()), float(tested.pvalue)


def conflict_finding(dataset: Dataset) -> Finding:
    """Count identical images with different labels.

    Args:
        dataset: all of it; a sample does not show whether they were left out before.
    """
    images = sum(len(paths) for paths in dataset.conflicts)
    numbers = {"pictures": len(dataset.conflicts), "images": images}
    if not images:
        return Finding(CONFLICTS, "No image has two labels.", 0.0, None, numbers=numbers)
    files = {file.path for file in dataset.files}
    kept = sum(path in files for paths in dataset.conflicts for path in paths)
    use = "they are left out, here and by tune search"
    if kept:
        use = f"{kept} of them are trained on, because of --keep-conflicts"
    return Finding(
        CONFLICTS,
        f"{images} images are identical to one with another label, such as "
        f"{' and '.join(dataset.conflicts[0][:2])}: {use}. Give each image one label; "
        "tune data --json lists them.",
        0.0,
        None,
        numbers=numbers | {"trained_on": kept},
    )


def imbalance_finding(dataset: Dataset, right: np.ndarray) -> Finding:
    """Whether a head is better than always predicting the most frequent class.

    Args:
        dataset: its validation images count.
        right: as for `leak_finding`.

    Returns:
        A cause where classes are unequal and accuracy is not above that baseline by 5 points, nor
        by a significant point (a paired test on the images). Otherwise unequal classes hold back
        not accuracy, but that of the small classes.
    """
    labels = dataset.labels("validation")
    shares = np.atleast_2d(right).mean(axis=0)
    accuracy, majority = float(shares.mean()), dataset.majority_rate()
    balanced = float(np.mean([shares[labels == number].mean() for number in np.unique(labels)]))
    above, p_value = paired_gain(labels == np.bincount(labels).argmax(), right)
    numbers = {
        "accuracy": accuracy,
        "balanced_accuracy": balanced,
        "majority_rate": majority,
        "above_majority": above,
        "above_majority_p_value": p_value,
    }
    is_uneven = majority - 1 / len(dataset.classes) >= _UNEVEN_SHARE
    is_above = above >= LEAST_GAIN and p_value <= SIGNIFICANCE
    if is_uneven and above < _LEAST_ABOVE_MAJORITY and not is_above:
        sentence = (
            f"Accuracy is {percent(accuracy)}, hardly more than the {percent(majority)} of always "
            f"predicting the most frequent class; balanced accuracy is {percent(balanced)}."
        )
        return Finding(IMBALANCE, sentence, 1 - majority, None, _BALANCE, numbers, measured=False)
    sentence = (
        f"The most frequent class is {percent(majority)} of the validation images; accuracy is "
        f"{percent(accuracy)}, balanced accuracy {percent(balanced)}."
    )
    note = imbalance_note(dataset.training_counts(), "val_accuracy", "none")
    sentence = " ".join(filter(None, [sentence, note]))
    return Finding(IMBALANCE, sentence, 0.0, None, numbers=numbers)
