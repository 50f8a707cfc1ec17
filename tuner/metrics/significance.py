"""Significance tests on paired predictions, corrected for multiple tests."""

from collections.abc import Sequence

import numpy as np

_RESAMPLES = 9999
_BATCH = 500  # resamples at a time: memory, not the result, depends on it


def paired_gain(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Gain in accuracy, and its one-sided p value by a paired permutation test.

    The test flips the signs of the images' own differences, so it holds whatever their
    distribution. With several seeds, each image's mean is taken.

    Args:
        before: whether each validation image was right, bool, shape (images,) or (seeds, images).
        after: the same for the same images with the examined cause removed.

    Returns:
        Difference of the accuracies, -1 to 1, and the p value.
    """
    from scipy.stats import permutation_test

    differences = np.atleast_2d(after).mean(axis=0) - np.atleast_2d(before).mean(axis=0)
    gain = float(differences.mean())
    changed = differences[differences != 0]
    if not len(changed):
        return gain, 1.0
    if len(changed) == 1:  # the test needs two: a zero changes nothing
        changed = np.append(changed, 0.0)
    tested = permutation_test(
        (changed,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        alternative="greater",
        vectorized=True,
        batch=_BATCH,
        rng=np.random.default_rng(0),
    )
    return gain, float(tested.pvalue)


def best_of(right: np.ndarray) -> np.ndarray:
    """Outcomes of the best of several candidates, without selection bias.

    Args:
        right: whether each candidate is right on each validation row, bool, shape (candidates,
            rows); or, float, in which share of its runs.

    Returns:
        The same, shape (rows,): each half of the rows, in an order drawn once, is judged by the
        candidate that is best on the other half, the first of equals.
    """
    order = np.random.default_rng(0).permutation(right.shape[1])
    halves = order[::2], order[1::2]
    result = np.empty(right.shape[1], right.dtype)
    for judged, chosen_on in (halves, halves[::-1]):
        result[judged] = right[right[:, chosen_on].mean(axis=1).argmax(), judged]
    return result


def corrected(p_values: Sequence[float]) -> list[float]:
    """p values corrected for multiple tests (Holm 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    ordered = np.maximum.accumulate(np.asarray(p_values, float)[order] * factors)
    result = np.empty(len(p_values))
    result[order] = np.minimum(ordered, 1.0)
    return [float(value) for value in result]


def mcnemar_p(one: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p value of McNemar's test (1947) that two classifiers are equally good.

    Args:
        one: whether each image is right, bool, shape (images,).
        other: the same of another classifier.
    """
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if only_one == only_other:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_one, only_one + only_other).pvalue)
