"""Class weights for an imbalanced training set."""

import numpy as np


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
