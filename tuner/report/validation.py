"""What the winner makes of the validation images: confusions, classes, doubts, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.metrics.intervals import share_interval
from tuner.runs.outcomes import Outcomes
from tuner.text import percent

# Bins of the reliability diagram, as Guo et al. 2017 (arXiv:1706.04599) draw it with 15; a hundred
# images fill no more than ten.
_BINS = 10


@dataclass(frozen=True)
class Answers:
    """What a model said of each image.

    Attributes:
        labels: class numbers as the folders have them, int, shape (images,).
        predicted: class numbers as the model gives them, int, shape (images,).
        confidence: probability of the predicted class, 0 to 1, shape (images,).
        probability: probability of the labelled class, 0 to 1, shape (images,).
    """

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    probability: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether each image is named as its label says, bool, shape (images,)."""
        return self.predicted == self.labels

    @classmethod
    def of(cls, outcomes: Outcomes, labels: np.ndarray) -> "Answers":
        """From what the journal keeps of a trial, and the labels in the same order."""
        return cls(
            labels.astype(np.int64),
            outcomes.predicted.astype(np.int64),
            outcomes.confidence.astype(np.float64),
            outcomes.probability.astype(np.float64),
        )


@dataclass(frozen=True)
class Interval:
    """A share with its 95 % interval (Wilson 1927).

    Attributes:
        share: of all, 0 to 1.
        low: lower end.
        high: upper end.
        count: of how many.
    """

    share: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, successes: int, count: int) -> "Interval":
        """So many successes of `count`, at least 1."""
        return cls(successes / count, *share_interval(successes, count), count)


@dataclass(frozen=True)
class ClassRow:
    """One class on the validation images.

    Attributes:
        name: of the class.
        images: how many have its label.
        recall: share of them that are named rightly, with its interval.
        precision: share of what is named so that is rightly named so; None where nothing is.
        f1: harmonic mean of the two.
        taken_for: the class that its images are most often taken for; None where none is wrong.
        taken: how many are.
    """

    name: str
    images: int
    recall: Interval
    precision: float | None
    f1: float
    taken_for: str | None
    taken: int


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies between two values.

    Attributes:
        low: lower end of the bin.
        high: upper end.
        confidence: mean of theirs.
        accuracy: share that is named rightly, with its interval.
    """

    low: float
    high: float
    confidence: float
    accuracy: Interval


@dataclass(frozen=True)
class Reliability:
    """Whether a confidence means what it says.

    Attributes:
        bins: those that hold an image.
        error: expected calibration error: the mean distance between confidence and accuracy over
            the bins, by their images, 0 to 1.
        confidence: mean of all images.
        accuracy: of all images.
    """

    bins: tuple[Bin, ...]
    error: float
    confidence: float
    accuracy: float

    @property
    def verdict(self) -> str:
        """The same in words."""
        gap = self.confidence - self.accuracy
        mean = (
            f"Its mean confidence is {percent(self.confidence)}, and {percent(self.accuracy)} are "
            "right"
        )
        if abs(gap) < 0.02:
            return f"{mean}: on the whole, its confidence can be taken at its word."
        if gap > 0:
            return f"{mean}: it is too sure of itself."
        return f"{mean}: it is surer than it says."


def confusion(answers: Answers, classes: int) -> np.ndarray:
    """Images by label (row) and predicted class (column), int, shape (classes, classes)."""
    flat = np.bincount(answers.labels * classes + answers.predicted, minlength=classes**2)
    return flat.reshape(classes, classes)


def class_rows(counts: np.ndarray, names: Sequence[str]) -> list[ClassRow]:
    """A row for each class that has images.

    Args:
        counts: as `confusion` gives them.
        names: of the classes.
    """
    return [
        _class_row(counts, number, names) for number in range(len(names)) if counts[number].sum()
    ]


def _class_row(counts: np.ndarray, number: int, names: Sequence[str]) -> ClassRow:
    images, named = int(counts[number].sum()), int(counts[:, number].sum())
    right = int(counts[number, number])
    wrong = counts[number].copy()
    wrong[number] = 0
    other = int(wrong.argmax())
    return ClassRow(
        names[number], images, Interval.of(right, images), right / named if named else None,
        2 * right / (images + named), names[other] if wrong[other] else None, int(wrong[other]),
    )  # fmt: skip


def confused_pairs(
    counts: np.ndarray, names: Sequence[str], most: int
) -> list[tuple[str, str, int]]:
    """The most frequent confusions: label, predicted class, images."""
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(counts)) for place in order]
    return [(names[row], names[column], int(wrong[row, column])) for row, column in places
            if wrong[row, column]]  # fmt: skip


def worst(answers: Answers, most: int) -> np.ndarray:
    """Numbers of the images that are named wrongly, the most confident first."""
    wrong = np.flatnonzero(~answers.right)
    order = np.lexsort((answers.probability[wrong], -answers.confidence[wrong]))
    return wrong[order][:most]


def reliability(answers: Answers) -> Reliability:
    """Confidence against accuracy in ten bins of equal width."""
    confidence, right = answers.confidence, answers.right
    places = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = []
    for number in range(_BINS):
        inside = places == number
        if inside.any():
            found = Interval.of(int(right[inside].sum()), int(inside.sum()))
            mean = float(confidence[inside].mean())
            bins.append(Bin(number / _BINS, (number + 1) / _BINS, mean, found))
    gaps = [abs(each.confidence - each.accuracy.share) * each.accuracy.count for each in bins]
    return Reliability(
        tuple(bins), sum(gaps) / len(right), float(confidence.mean()), float(right.mean())
    )
