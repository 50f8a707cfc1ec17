"""What a few images can say: intervals for shares, and tests of two classifiers on the same images.

Which interval is used was decided by simulation: `benchmarks/honesty.py` shows how often each holds
the truth.
"""

import math
from collections.abc import Iterator

import numpy as np

CONFIDENCE = 0.95
_Z = 1.959963984540054  # the normal distribution's 97.5 % quantile
_DRAWS = 2000
# Bytes of a block of draws, so that memory stays flat.
_BLOCK_BYTES = 32 * 2**20


def share_interval(right: int, images: int) -> tuple[float, float]:
    """95 % interval of a share: Wilson's (1927), without continuity correction.

    Args:
        right: how many of the images.
        images: how many there are, at least 1.

    Returns:
        Both ends, 0 to 1.
    """
    share, z2 = right / images, _Z**2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = _Z * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2)) / (1 + z2 / images)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean by the bootstrap over rows (percentiles; Efron and Tibshirani 1993).

    Args:
        values: one of each image, shape (images,).
        seed: of the draws.
    """
    random, images = np.random.default_rng(seed), len(values)
    means = np.concatenate(
        [
            values[random.integers(0, images, (block, images))].mean(axis=1)
            for block in blocks(images, _DRAWS)
        ]
    )
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def difference_interval(one: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of how many more of the same images `one` names rightly, as a share.

    By the bootstrap over images, to which two are added that speak for either side, as Bonett and
    Price (2012) do for the normal interval: of few images percentiles alone are too narrow, and of
    classifiers that never differ they would claim to know that they never will.

    Args:
        one: whether each image is named rightly, bool, shape (images,).
        other: the same of another classifier.
        seed: of the draws.
    """
    differences = one.astype(np.float64) - other.astype(np.float64)
    return mean_interval(np.append(differences, [1.0, -1.0]), seed)


def balanced_interval(right: np.ndarray, labels: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of the classes' own accuracies.

    Each class's accuracy is drawn from its Jeffreys posterior, Beta(right + 1/2, wrong + 1/2)
    (Brown, Cai and DasGupta 2001), so that a class that is always named rightly is not certain.

    Args:
        right: whether each image is named rightly, bool, shape (images,).
        labels: int class numbers, shape (images,); classes without images are left out.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=right)
    present = counts > 0
    right_of, wrong_of = hits[present] + 0.5, (counts - hits)[present] + 0.5
    means = random.beta(right_of, wrong_of, (_DRAWS, int(present.sum()))).mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def blocks(images: int, draws: int) -> Iterator[int]:
    """How many draws of so many images are made at a time, so that memory stays flat."""
    most = max(1, _BLOCK_BYTES // (8 * images))
    for start in range(0, draws, most):
        yield min(most, draws - start)


def resampled(images: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """How often each of some images is drawn, with replacement, as many as there are.

    Returns:
        int64, shape (draws, images).
    """
    drawn = random.integers(0, images, (draws, images)) + images * np.arange(draws)[:, np.newaxis]
    return np.bincount(drawn.ravel(), minlength=draws * images).reshape(draws, images)
