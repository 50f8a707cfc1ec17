"""What a dataset's own splits and classes do to its accuracy."""

from typing import Any

import numpy as np

from tuner.dataset import Dataset
from tuner.findings import Finding

LEAK, CONFLICTS, IMBALANCE = "leak", "conflicting labels", "class imbalance"


def leak_finding(dataset: Dataset, right: np.ndarray) -> Finding:
    """Validation images that training images show too make accuracy look better than it is.

    Args:
        dataset: with its leaks.
        right: whether each validation image is named rightly, in the order of
            `dataset.of("validation")`, bool, shape (images,) or (seeds, images).

    Returns:
        The gain is what accuracy owes to the leak: it is lost with it, and was never there.
    """
    leaked_paths = {
        path
        for leak in dataset.leaks
        for path, split in ((leak.path, leak.split), (leak.other, leak.other_split))
        if split == "validation" and "train" in (leak.split, leak.other_split)
    }
    leaked = np.array([file.path in leaked_paths for file in dataset.of("validation")], bool)
    shares = np.atleast_2d(right).mean(axis=0)
    count, accuracy = int(leaked.sum()), float(shares.mean())
    numbers: dict[str, Any] = {
        "leaked": count,
        "validation_images": len(leaked),
        "accuracy": accuracy,
    }
    if not count:
        return Finding(
            LEAK, "No validation image stands in training too.", 0.0, None, numbers=numbers
        )
    honest = float(shares[~leaked].mean()) if count < len(leaked) else 0.0
    numbers |= {"accuracy_without_leak": honest, "examples": sorted(leaked_paths)[:5]}
    return Finding(
        LEAK,
        f"{count} of {len(leaked)} validation images stand in training too, such as "
        f"{min(leaked_paths)}: {accuracy:.1%} of all validation images are right, and {honest:.1%} "
        "of the others.",
        max(accuracy - honest, 0.0),
        None,
        "Take them out of training with --drop-leaks.",
        numbers,
    )


def conflict_finding(dataset: Dataset) -> Finding:
    """Pictures that stand under two labels, which no network can name rightly."""
    images = sum(len(paths) for paths in dataset.conflicts)
    numbers = {"pictures": len(dataset.conflicts), "images": images}
    if not images:
        return Finding(CONFLICTS, "No picture stands under two labels.", 0.0, None, numbers=numbers)
    share = images / (len(dataset.files) + images)
    return Finding(
        CONFLICTS,
        f"{images} images show pictures that stand under two labels, such as "
        f"{' and '.join(dataset.conflicts[0][:2])}: at most half of them can be named rightly.",
        share / 2,
        None,
        "They are left out; tune data --json lists them: give each picture one label.",
        numbers,
    )


def imbalance_finding(dataset: Dataset, right: np.ndarray) -> Finding:
    """How accuracy stands to always answering the most frequent class.

    Args:
        dataset: its validation images count.
        right: as for `leak_finding`.
    """
    labels = dataset.labels("validation")
    shares = np.atleast_2d(right).mean(axis=0)
    accuracy, majority = float(shares.mean()), dataset.majority_rate()
    balanced = float(np.mean([shares[labels == number].mean() for number in np.unique(labels)]))
    counts = np.bincount(labels)
    numbers = {"accuracy": accuracy, "balanced_accuracy": balanced, "majority_rate": majority}
    sentence = (
        f"The most frequent class alone is {majority:.1%} of the validation images; accuracy is "
        f"{accuracy:.1%}, and {balanced:.1%} where each class counts the same."
    )
    uneven = accuracy - balanced if counts.max() > 5 * counts[counts > 0].min() else 0.0
    return Finding(
        IMBALANCE,
        sentence,
        max(uneven, 0.0),
        None,
        "Search with --objective val_balanced_accuracy --class-weights balanced."
        if uneven > 0
        else "",
        numbers,
    )
