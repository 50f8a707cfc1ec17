"""Confidence intervals of shares, means and differences.

Which interval is used was decided by simulation: `benchmarks/honesty.py` shows how often each holds
the truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
_QUANTILES = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
_DRAWS = 2000
_BLOCK_BYTES = 32 * 2**20  # of a block of draws: memory stays flat


@dataclass(frozen=True)
class Proportion:
    """A share of `count` images with both ends of its 95 % interval, 0 to 1.

    Example:
        >>> Proportion.of(30, 40).share
        0.75
    """

    share: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, right: int, count: int) -> "Proportion":
        """`right` images of `count`, which is at least 1."""
        return cls(right / count, *share_interval(right, count), count)


def share_interval(right: int, images: int) -> tuple[float, float]:
    """95 % interval of a share of at least one image: Wilson's (1927), 0 to 1."""
    from scipy.stats import binomtest

    low, high = binomtest(int(right), int(images)).proportion_ci(CONFIDENCE, method="wilson")
    return float(low), float(high)


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean: percentiles of the bootstrap (Efron and Tibshirani 1993)."""
    random, images = np.random.default_rng(seed), len(values)
    means = [
        values[random.integers(0, images, (block, images))].mean(axis=1)
        for block in blocks(images, _DRAWS)
    ]
    low, high = np.quantile(np.concatenate(means), _QUANTILES)
    return float(low), float(high)


def difference_interval(one: np.ndarray, other: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same images.

    The bootstrap over images, with two added that favour either side, as Bonett and Price (2012) do
    for the normal interval: percentiles alone are too narrow on few images, and would rule out any
    difference between classifiers that agree everywhere.

    Args:
        one: whether each image is right, bool, shape (images,).
        other: the same of another classifier.
        seed: of the draws.
    """
    differences = one.astype(np.float64) - other.astype(np.float64)
    return mean_interval(np.append(differences, [1.0, -1.0]), seed)


def balanced_interval(right: np.ndarray, labels: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of the classes' accuracies.

    The accuracy of each class is drawn from its Jeffreys posterior, Beta(right + 1/2, wrong + 1/2)
    (Brown, Cai and DasGupta 2001), so that a class without mistakes is not certain.

    Args:
        right: whether each image is right, bool, shape (images,).
        labels: int class numbers, shape (images,); classes without images are left out.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    counts, hits = np.bincount(labels).astype(np.float64), np.bincount(labels, weights=right)
    hits, misses = hits[counts > 0], (counts - hits)[counts > 0]
    means = random.beta(hits + 0.5, misses + 0.5, (_DRAWS, len(hits))).mean(axis=1)
    low, high = np.quantile(means, _QUANTILES)
    return float(low), float(high)


def blocks(images: int, draws: int) -> Iterator[int]:
    """Sizes of the blocks in which draws of so many images are made, so that memory stays flat."""
    most = max(1, _BLOCK_BYTES // (8 * images))
    for start in range(0, draws, most):
        yield min(most, draws - start)


def resampled(images: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """How often each image is drawn with replacement, int64, shape (draws, images)."""
    drawn = random.integers(0, images, (draws, images)) + images * np.arange(draws)[:, np.newaxis]
    return np.bincount(drawn.ravel(), minlength=draws * images).reshape(draws, images)
