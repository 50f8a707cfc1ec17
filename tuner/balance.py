"""Classes of unequal size: a score that they do not distort, and weights that make up for it."""

import numpy as np


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
