"""The winner on the validation images: confusions, classes, mistakes, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.data.dataset import Dataset
from tuner.metrics.intervals import Proportion
from tuner.metrics.scores import per_class, reliability, reliability_gap
from tuner.report.thumbnails import Shown
from tuner.runs.outcomes import Outcomes
from tuner.text import percent

# Rows of the confusion matrix that a screen holds; of more classes those with most mistakes.
_MOST_CLASSES = 24
_MOST_PAIRS = 12


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix, or its rows and columns with the most mistakes.

    Attributes:
        names: of the classes shown.
        rows: images by label and predicted class.
        shades: the same in tenths of the label's images, rounded up.
        left_out: number of classes that are not shown.
        pairs: the most frequent confusions: label, predicted class, images.
    """

    names: tuple[str, ...]
    rows: list[list[int]]
    shades: list[list[int]]
    left_out: int
    pairs: list[tuple[str, str, int]]

    @classmethod
    def of(cls, counts: np.ndarray, names: Sequence[str]) -> "Matrix":
        """From images by label and predicted class, shape (classes, classes)."""
        wrong = counts - np.diag(counts.diagonal())
        mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
        chosen = np.sort(np.argsort(-mistakes, kind="stable")[:_MOST_CLASSES])
        shown = counts[np.ix_(chosen, chosen)]
        share = shown / np.maximum(counts.sum(axis=1)[chosen, np.newaxis], 1)
        order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
        pairs = [
            (names[row], names[column], int(wrong[row, column]))
            for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
            if wrong[row, column]
        ]
        shades = np.ceil(share * 10).astype(int).tolist()
        kept = tuple(names[number] for number in chosen)
        return cls(kept, shown.tolist(), shades, len(names) - len(chosen), pairs)


@dataclass(frozen=True)
class ClassRow:
    """One class: `mistakes` of its images are predicted as `other`, its most frequent confusion."""

    name: str
    recall: Proportion
    precision: float | None
    f1: float
    other: str | None
    mistakes: int


def class_rows(predicted: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[ClassRow]:
    """A row for each class that has images."""
    found = []
    for number, row in enumerate(per_class(predicted, labels, len(names))):
        wrong = np.bincount(predicted[labels == number], minlength=len(names))
        wrong[number] = 0
        other = int(wrong.argmax())
        if row["images"]:
            recall = Proportion.of(row["right"], row["images"])
            name = names[other] if wrong[other] else None
            found.append(
                ClassRow(
                    names[number], recall, row["precision"], row["f1"], name, int(wrong[other])
                )
            )
    return found


def worst(outcomes: Outcomes, labels: np.ndarray, most: int) -> np.ndarray:
    """Numbers of the misclassified images, the most confident first."""
    wrong = np.flatnonzero(outcomes.predicted != labels)
    order = np.lexsort((outcomes.probability[wrong], -outcomes.confidence[wrong]))
    return wrong[order][:most]


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy: means, expected calibration error, and the filled bins.

    `bins` are those of `reliability`, with "accuracy" as a `Proportion`.
    """

    bins: list[dict[str, Any]]
    error: float
    confidence: float
    accuracy: float

    @classmethod
    def of(cls, confidence: np.ndarray, right: np.ndarray) -> "Calibration":
        """From the probability of each predicted class, and whether it is right."""
        rows = reliability(confidence, right)
        error = reliability_gap(rows)
        bins = [
            row | {"accuracy": Proportion.of(round(row["accuracy"] * row["images"]), row["images"])}
            for row in rows
            if row["images"]
        ]
        return cls(bins, error, float(confidence.astype(float).mean()), float(right.mean()))

    @property
    def verdict(self) -> str:
        """The same in words."""
        gap = self.confidence - self.accuracy
        mean = (
            f"Its mean confidence is {percent(self.confidence)}, and {percent(self.accuracy)} of "
            "its predictions are correct"
        )
        if abs(gap) < 0.02:
            return f"{mean}: on the whole, its confidence can be trusted."
        return f"{mean}: it is {'overconfident' if gap > 0 else 'underconfident'}."


@dataclass(frozen=True)
class Validation:
    """The winner on the validation images; `no_heat` says why `worst` has no heat maps, if so."""

    images: int
    wrong: int
    matrix: Matrix
    classes: list[ClassRow]
    calibration: Calibration
    worst: Sequence[Shown]
    no_heat: str

    @classmethod
    def of(
        cls, outcomes: Outcomes, dataset: Dataset, worst: Sequence[Shown], no_heat: str
    ) -> "Validation":
        """From predictions, and pictures of the worst mistakes."""
        from sklearn.metrics import confusion_matrix

        labels = dataset.labels("validation").astype(np.int64)
        predicted = outcomes.predicted.astype(np.int64)
        wrong = predicted != labels
        counts = confusion_matrix(labels, predicted, labels=range(len(dataset.classes)))
        return cls(
            len(labels),
            int(wrong.sum()),
            Matrix.of(counts, dataset.classes),
            class_rows(predicted, labels, dataset.classes),
            Calibration.of(outcomes.confidence, ~wrong),
            worst,
            no_heat,
        )
