"""Faults of the data: leaks across the split, unequal classes, conflicting labels."""

from typing import Any

import numpy as np

from tuner.data.dataset import Dataset, group_of
from tuner.data.imbalance import imbalance_note
from tuner.diagnose.causes import CONFLICTS, IMBALANCE, LEAK
from tuner.diagnose.finding import LEAST_GAIN, SIGNIFICANCE, Finding
from tuner.metrics.significance import paired_gain
from tuner.text import percent

# Share of the training images that a leak has to leave: heads trained on fewer are worse for that.
_LEAST_KEPT = 0.5
# Validation images not in training that accuracy can be told on.
_LEAST_UNSHARED = 30

_DROP_LEAKS = "tune search DATA --drop-leaks takes them out of training."
_SPLIT_ANEW = (
    "Validate on images that are not in training: give one folder of class folders without train "
    "and val, or a table without splits, and tune search splits it so that copies stay together."
)


def leaked(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Which training and which validation images stand on the other side too, or their copies do.

    Returns:
        Two bool arrays, in the order of `dataset.of("train")` and of `dataset.of("validation")`.
    """
    training, validation = dataset.of("train"), dataset.of("validation")
    shared = {group_of(file) for file in training} & {group_of(file) for file in validation}
    return tuple(  # type: ignore[return-value]
        np.array([group_of(file) in shared for file in files], bool)
        for files in (training, validation)
    )


def leak_finding(dataset: Dataset, right: np.ndarray, without: np.ndarray | None) -> Finding:
    """Training images that validation shows too make accuracy look better than it is.

    Args:
        dataset: with its splits.
        right: whether each validation image is named rightly, in the order of
            `dataset.of("validation")`, bool, shape (images,) or (seeds, images).
        without: the same of heads that were trained without the shared images; None where too
            little remains without them. Then the shared validation images are compared with the
            others, and where these are few, the leak is a cause because it was counted.

    Returns:
        The gain is what accuracy owes to the leak: it is lost with it, and was never there.
    """
    shared = leaked(dataset)[1]
    count, images = int(shared.sum()), len(shared)
    accuracy = float(np.mean(right))
    numbers: dict[str, Any] = {"leaked": count, "validation_images": images, "accuracy": accuracy}
    if not count:
        return Finding(
            LEAK, "No validation image stands in training too.", 0.0, None, numbers=numbers
        )
    told = f"{count} of {images} validation images stand in training too"
    if without is None and images - count < _LEAST_UNSHARED:
        return _counted_leak(told, accuracy, dataset.majority_rate(), numbers)
    if without is None:
        inflation, p_value = _unpaired_gain(right, shared)
        honest = accuracy - inflation
        figures = f"{percent(accuracy)} on all, and {percent(honest)} on those that do not"
        harmless = f"{told}; that accuracy owes them anything is not shown: {figures}."
    else:
        inflation, p_value = paired_gain(without, right)
        honest = float(np.mean(without))
        figures = f"{percent(accuracy)} with them in training and {percent(honest)} without"
        harmless = f"{told}, but accuracy owes them nothing that counts: {figures}."
    return Finding(
        LEAK,
        f"{told}: accuracy is overstated, {figures}.",
        inflation,
        p_value,
        _SPLIT_ANEW if without is None else _DROP_LEAKS,
        numbers | {"accuracy_without_leak": honest},
        harmless=harmless,
        overstated=True,
    )


def enough_without(kept: np.ndarray, labels: np.ndarray) -> bool:
    """Whether heads can be trained on what a leak leaves, and compared with those on all.

    Args:
        kept: which training images it leaves, bool, shape (images,).
        labels: of the training images, shape (images,).
    """
    classes = len(np.unique(labels))
    return bool(kept.mean() >= _LEAST_KEPT and len(np.unique(labels[kept])) == classes)


def _counted_leak(told: str, accuracy: float, majority: float, numbers: dict[str, Any]) -> Finding:
    """Of a leak that leaves nothing to measure with."""
    sentence = (
        f"{told}, and too few images are left without them to train or validate on: "
        f"{percent(accuracy)} says nothing of images that were not trained on."
    )
    most = max(accuracy - majority, LEAST_GAIN)
    return Finding(
        LEAK, sentence, most, None, _SPLIT_ANEW, numbers, measured=False, overstated=True
    )


def _unpaired_gain(right: np.ndarray, shared: np.ndarray) -> tuple[float, float]:
    """By how much accuracy exceeds that of the images not shared, and the chance of that."""
    from scipy.stats import permutation_test

    shares = np.atleast_2d(right).mean(axis=0)
    tested = permutation_test(
        (shares[shared], shares[~shared]), lambda a, b, axis: a.mean(axis) - b.mean(axis),
        n_resamples=9999, alternative="greater", vectorized=True, batch=500,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(shares.mean() - shares[~shared].mean()), float(tested.pvalue)


# How much more than its equal share of the images the most frequent class has, from which on
# naming it alone passes for accuracy; and by how much accuracy has to exceed that.
_UNEVEN_SHARE, _LEAST_ABOVE_MAJORITY = 0.1, 0.05


def conflict_finding(dataset: Dataset) -> Finding:
    """Pictures that stand under two labels, which are left out, or trained on where that is asked.

    Args:
        dataset: all of it; of a sample nothing tells whether they were left out before.
    """
    images = sum(len(paths) for paths in dataset.conflicts)
    numbers = {"pictures": len(dataset.conflicts), "images": images}
    if not images:
        return Finding(CONFLICTS, "No picture stands under two labels.", 0.0, None, numbers=numbers)
    files = {file.path for file in dataset.files}
    kept = sum(path in files for paths in dataset.conflicts for path in paths)
    standing = "they are left out, here and by tune search"
    if kept:
        standing = f"{kept} of them are trained on, as --keep-conflicts says"
    return Finding(
        CONFLICTS,
        f"{images} images show pictures that stand under two labels, such as "
        f"{' and '.join(dataset.conflicts[0][:2])}: {standing}. Give each picture one label; "
        "tune data DATA --json lists them.",
        0.0,
        None,
        numbers=numbers | {"trained_on": kept},
    )


def imbalance_finding(dataset: Dataset, right: np.ndarray) -> Finding:
    """Whether a head does better than always answering the most frequent class.

    Args:
        dataset: its validation images count.
        right: as for `leak_finding`.

    Returns:
        A cause, of classes that are not equal, where accuracy is not better than that answer by 5
        points nor beyond chance (a paired test on the images). Else none: what unequal classes hold
        back is not accuracy, but that of the small ones.
    """
    labels = dataset.labels("validation")
    shares = np.atleast_2d(right).mean(axis=0)
    accuracy, majority = float(shares.mean()), dataset.majority_rate()
    balanced = float(np.mean([shares[labels == number].mean() for number in np.unique(labels)]))
    above, p_value = paired_gain(labels == np.bincount(labels).argmax(), right)
    numbers = {
        "accuracy": accuracy, "balanced_accuracy": balanced, "majority_rate": majority,
        "above_majority": above, "above_majority_p_value": p_value,
    }  # fmt: skip
    if (
        majority - 1 / len(dataset.classes) >= _UNEVEN_SHARE
        and above < _LEAST_ABOVE_MAJORITY
        and (above < LEAST_GAIN or p_value > SIGNIFICANCE)
    ):
        return Finding(
            IMBALANCE,
            f"Accuracy is {percent(accuracy)}, and always naming the most frequent class would be "
            f"right for {percent(majority)}: no more than that was learnt. Where each class counts "
            f"the same, {percent(balanced)} are right.",
            1 - majority,
            None,
            "tune search DATA --class-weights balanced --objective val_balanced_accuracy trains "
            "and chooses for all classes alike.",
            numbers,
            measured=False,
        )
    sentence = (
        f"The most frequent class alone is {percent(majority)} of the validation images; accuracy "
        f"is {percent(accuracy)}, and {percent(balanced)} where each class counts the same."
    )
    note = imbalance_note(dataset.training_counts(), "val_accuracy", "none")
    return Finding(
        IMBALANCE, sentence if note is None else f"{sentence} {note}", 0.0, None, numbers=numbers
    )
