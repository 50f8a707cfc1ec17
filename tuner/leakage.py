"""What a dataset's own splits and classes do to its accuracy."""

from typing import Any

import numpy as np

from tuner.balance import imbalance_note
from tuner.dataset import Dataset, ImageFile
from tuner.findings import Finding, paired_gain
from tuner.quantities import percent

LEAK, CONFLICTS, IMBALANCE = "leak", "conflicting labels", "class imbalance"


def group_of(file: ImageFile) -> str:
    """Name of what an image stands on one side with: itself where it has no group."""
    return file.group or file.sha256


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


def leak_finding(dataset: Dataset, right: np.ndarray, without: np.ndarray) -> Finding:
    """Training images that validation shows too make accuracy look better than it is.

    Args:
        dataset: with its splits.
        right: whether each validation image is named rightly, in the order of
            `dataset.of("validation")`, bool, shape (images,) or (seeds, images).
        without: the same of heads that were trained without the shared images.

    Returns:
        The gain is what accuracy owes to the leak: it is lost with it, and was never there.
    """
    count, images = int(leaked(dataset)[1].sum()), len(dataset.of("validation"))
    accuracy, honest = float(np.mean(right)), float(np.mean(without))
    numbers: dict[str, Any] = {"leaked": count, "validation_images": images, "accuracy": accuracy}
    if not count:
        return Finding(
            LEAK, "No validation image stands in training too.", 0.0, None, numbers=numbers
        )
    inflation, p_value = paired_gain(without, right)
    numbers |= {"accuracy_without_leak": honest}
    shared = f"{count} of {images} validation images stand in training too"
    figures = f"{percent(accuracy)} with them in training and {percent(honest)} without"
    return Finding(
        LEAK,
        f"{shared}: accuracy is overstated, {figures}.",
        inflation,
        p_value,
        "tune search DATA --drop-leaks takes them out of training.",
        numbers,
        harmless=f"{shared}, but accuracy owes them nothing that counts: {figures}.",
    )


def conflict_finding(dataset: Dataset) -> Finding:
    """Pictures that stand under two labels, which are left out of every split."""
    images = sum(len(paths) for paths in dataset.conflicts)
    numbers = {"pictures": len(dataset.conflicts), "images": images}
    if not images:
        return Finding(CONFLICTS, "No picture stands under two labels.", 0.0, None, numbers=numbers)
    return Finding(
        CONFLICTS,
        f"{images} images show pictures that stand under two labels, such as "
        f"{' and '.join(dataset.conflicts[0][:2])}: they are left out, here and by tune search. "
        "Give each picture one label; tune data DATA --json lists them.",
        0.0,
        None,
        numbers=numbers,
    )


def imbalance_finding(dataset: Dataset, right: np.ndarray) -> Finding:
    """How accuracy stands to always answering the most frequent class.

    Args:
        dataset: its validation images count.
        right: as for `leak_finding`.

    Returns:
        No cause: what unequal classes hold back is not accuracy, but that of the small ones.
    """
    labels = dataset.labels("validation")
    shares = np.atleast_2d(right).mean(axis=0)
    accuracy, majority = float(shares.mean()), dataset.majority_rate()
    balanced = float(np.mean([shares[labels == number].mean() for number in np.unique(labels)]))
    numbers = {"accuracy": accuracy, "balanced_accuracy": balanced, "majority_rate": majority}
    sentence = (
        f"The most frequent class alone is {percent(majority)} of the validation images; accuracy "
        f"is {percent(accuracy)}, and {percent(balanced)} where each class counts the same."
    )
    note = imbalance_note(dataset.training_counts(), "val_accuracy", "none")
    return Finding(
        IMBALANCE, sentence if note is None else f"{sentence} {note}", 0.0, None, numbers=numbers
    )
