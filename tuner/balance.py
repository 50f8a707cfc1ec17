"""Classes of unequal size: a score that they do not distort, and weights that make up for it.

A score says little without that of a model that has learnt nothing but which class is the largest.
"""

from collections.abc import Mapping

import numpy as np

# How many times the images of the smallest class the largest may have before that is said.
_UNEVEN = 5


def balanced_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes of the share of their rows that are named rightly, 0 to 1.

    Classes without rows are left out of the mean (scikit-learn's `balanced_accuracy_score`).

    Args:
        probabilities: shape (rows, classes).
        labels: int class numbers, shape (rows,).
    """
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=probabilities.argmax(axis=1) == labels)
    present = counts > 0
    return float((right[present] / counts[present]).mean())


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """The weight of each class with which all classes weigh the same, and all rows the mean of 1.

    It is n / (classes * n_class), as scikit-learn's `class_weight="balanced"` is; classes without
    rows do not count.

    Args:
        labels: int class numbers, shape (rows,).

    Returns:
        float32, shape (largest class number + 1,); 0 for a class without rows.
    """
    counts = np.bincount(labels)
    whole = np.count_nonzero(counts) * np.maximum(counts, 1)
    return np.where(counts > 0, len(labels) / whole, 0.0).astype(np.float32)


def chance_rate(counts: Mapping[str, int], objective: str) -> float | None:
    """The score of always answering the most frequent class.

    Args:
        counts: images by class, of the split that is scored.
        objective: what the score is, such as "val_accuracy".

    Returns:
        A share of one; None for a loss, or where there are no images.
    """
    present = [count for count in counts.values() if count]
    if objective.endswith("loss") or not present:
        return None
    return 1 / len(present) if "balanced" in objective else max(present) / sum(present)


def imbalance_note(counts: Mapping[str, int], objective: str, class_weights: str) -> str | None:
    """One line that says how unequal the classes are and which options are meant for that.

    Args:
        counts: training images by class.
        objective: of the search.
        class_weights: of the search, "none" or "balanced".

    Returns:
        The line, or None where the largest class has at most 5 times the images of the smallest,
        and where both options are in use.
    """
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    remedies = []
    if objective != "val_balanced_accuracy":
        remedies.append("--objective val_balanced_accuracy lets each class count the same")
    if class_weights != "balanced":
        remedies.append("--class-weights balanced lets each train the same")
    if counts[largest] <= _UNEVEN * counts[smallest] or not remedies:
        return None
    return (
        f"Class {largest} has {counts[largest]} training images and class {smallest} "
        f"{counts[smallest]}: {', '.join(remedies)}."
    )
