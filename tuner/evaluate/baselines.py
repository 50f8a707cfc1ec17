"""What the winner has to beat on the same test images, and whether it did.

A search that gains nothing over a plain head is better replaced by it. Each baseline is compared
image by image: that needs far fewer images than two accuracies that stand beside each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuner.features.classifiers import fit, folds, logistic_regression, out_of_fold, projection
from tuner.metrics.intervals import difference_interval
from tuner.metrics.significance import mcnemar_p
from tuner.runs.records import trial_name

PLAIN = "plain head"
LOGISTIC, MAJORITY, SIMPLE_CHOICE = "logistic regression", "majority class", "the simple choice"
# Of McNemar's test, below which a difference is called one.
SIGNIFICANCE = 0.05
# scikit-learn's C: the inverse of the L2 penalty, of standardised features.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_FOLDS = 5
# Only the plain head is sure to be simpler than the winner; what is no network cannot be taken.
_INSTEAD = {
    PLAIN: "Take the simple one with --prefer simple.",
    MAJORITY: "The winner may know nothing of these classes.",
    LOGISTIC: "A network without hidden layers would do.",
}


@dataclass(frozen=True)
class Baseline:
    """A baseline beside the winner, on the same test images.

    Attributes:
        name: what it is.
        trial: number of the trial that trained it; None where it is no trial.
        accuracy: on the test images, 0 to 1.
        gain: the winner's accuracy less its own.
        gain_interval: 95 % interval of that.
        p_value: of the exact McNemar test.
    """

    name: str
    trial: int | None
    accuracy: float
    gain: float
    gain_interval: tuple[float, float]
    p_value: float

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it; trials by the name that a user sees."""
        return asdict(self) | {"trial": None if self.trial is None else trial_name(self.trial)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Baseline":
        """What `to_json` made of one."""
        trial = None if row["trial"] is None else int(row["trial"])
        return cls(**{**row, "trial": trial, "gain_interval": tuple(row["gain_interval"])})

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance: both the test and the interval say so."""
        low, high = self.gain_interval
        return self.p_value <= SIGNIFICANCE and not low <= 0 <= high


@dataclass(frozen=True)
class LeftOut:
    """A baseline that was skipped.

    Attributes:
        name: what it is.
        reason: why, as a sentence without a capital.
        may_return: whether it can be evaluated once what is missing is back.
    """

    name: str
    reason: str
    may_return: bool = True


def in_order(baselines: Sequence[Baseline]) -> list[Baseline]:
    """The simplest network first: recipes as they were trained, then what is no network."""
    last = (LOGISTIC, MAJORITY, SIMPLE_CHOICE)

    def place(baseline: Baseline) -> tuple[int, int]:
        if baseline.name in last:
            return last.index(baseline.name) + 1, 0
        return 0, baseline.trial or 0

    return sorted(baselines, key=place)


def compare(name: str, winner: np.ndarray, other: np.ndarray, trial: int | None = None) -> Baseline:
    """The comparison of two classifiers on the same images.

    Args:
        name: of the baseline.
        winner: whether each image is named rightly, bool, shape (images,).
        other: the same of the baseline.
        trial: see `Baseline`.
    """
    return Baseline(
        name,
        trial,
        float(other.mean()),
        float(winner.mean() - other.mean()),
        difference_interval(winner, other),
        mcnemar_p(winner, other),
    )


def verdict(
    baselines: Sequence[Baseline], recipe: str | None = None, left_out: Sequence[LeftOut] = ()
) -> str:
    """What the search gained over the first baseline, the simplest network, in a sentence or two.

    A baseline that is significantly better than the winner comes first.

    Args:
        baselines: what the winner was compared with, at least one.
        recipe: the one that the winner is, if it is any.
        left_out: baselines that were skipped.
    """
    first = baselines[0]
    better = [each for each in baselines if each.is_significant and each.gain < 0]
    sentences = [_is_better(max(better, key=lambda each: each.accuracy))] if better else []
    if recipe == PLAIN:
        sentences.append(f"The {PLAIN} itself won: the search found nothing better.")
    elif first not in better:
        sentences.append(_gained(first))
    if any(each.name == PLAIN for each in left_out):
        sentences.append(f"The {PLAIN} was skipped, so the gain over it is not known.")
    return " ".join(sentences)


def _is_better(baseline: Baseline) -> str:
    low, high = (100 * end for end in baseline.gain_interval)
    name = _with_article(baseline.name)
    return (
        f"{name[0].upper()}{name[1:]} is {-100 * baseline.gain:.1f} points better than what the "
        f"search chose ({-high:.1f} to {-low:.1f}). {_INSTEAD.get(baseline.name, 'Take it.')}"
    )


def _gained(first: Baseline) -> str:
    low, high = (100 * end for end in first.gain_interval)
    gained = f"The search gained {100 * first.gain:.1f} points over {_with_article(first.name)}"
    if first.gain < 0:
        gained = f"The search lost {-100 * first.gain:.1f} points to {_with_article(first.name)}"
        low, high = -high, -low
    if first.is_significant:
        return f"{gained} ({low:.1f} to {high:.1f})."
    instead = _INSTEAD.get(first.name, "Either will do.")
    return f"{gained} ({low:.1f} to {high:.1f}), which may be chance. {instead}"


def _with_article(name: str) -> str:
    return name if name == LOGISTIC or name.startswith("the ") else f"the {name}"


def regression(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, seed: int
) -> tuple[Any, float]:
    """Logistic regression on pooled features, with the C that cross-validation names best.

    Args:
        features: of the training images, float32, shape (rows, channels).
        labels: their class numbers.
        groups: names of what must not stand on two sides of a fold; see `classifiers.folds`.
        seed: draws the folds.

    Returns:
        A function from features to class numbers, and the C.
    """
    projected = projection(features)
    rows = projected.transform(features)
    parts = list(folds(labels, groups, _FOLDS, seed))
    hits = {}
    for strength in STRENGTHS:
        probabilities = out_of_fold(logistic_regression(strength), rows, labels, iter(parts))
        hits[strength] = (np.nan_to_num(probabilities).argmax(axis=1) == labels).sum()
    best = max(STRENGTHS, key=lambda strength: hits[strength])  # the first of equals: the simplest
    model = fit(logistic_regression(best), rows, labels)
    return lambda asked: model.predict(projected.transform(asked)), best
