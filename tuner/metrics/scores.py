"""Scores of predicted probabilities, shape (rows, classes), for labels: int, shape (rows,)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.metrics.objective import Objective

# The smallest probability that cross-entropy sees: keras.config.epsilon().
EPSILON = 1e-7
# Bins of the calibration error and of the reliability diagram, as in Guo et al. (2017).
BINS = 15


@dataclass(frozen=True)
class Scores:
    """Scores over all rows.

    Attributes:
        accuracy: share of the rows that are right.
        balanced_accuracy: mean of the classes' accuracies.
        macro_f1: mean F1 of the classes that are met or predicted.
        log_loss: mean cross-entropy in nats.
        brier_score: 0 to 2.
        calibration_error: expected calibration error, 0 to 1.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    brier_score: float
    calibration_error: float

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> "Scores":
        """All scores of at least one row."""
        from sklearn.metrics import f1_score

        log_loss, accuracy = score(probabilities, labels)
        return cls(
            accuracy,
            balanced_accuracy(probabilities, labels),
            float(f1_score(labels, probabilities.argmax(axis=1), average="macro")),
            log_loss,
            float(brier_scores(probabilities, labels).mean()),
            calibration_error(probabilities, labels),
        )


def score(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy."""
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    return float(log_losses(probabilities, labels).mean()), float(accuracy)


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each row in nats, float64, shape (rows,)."""
    return cross_entropy(probabilities[np.arange(len(labels)), labels])


def cross_entropy(probability: np.ndarray) -> np.ndarray:
    """Cross-entropy in nats, float64, of the probability of the right class, at least 1e-7."""
    return np.asarray(-np.log(np.clip(probability.astype(np.float64), EPSILON, 1.0)))


def brier_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distance of each row to the truth over all classes, 0 to 2, float64, shape (rows,).

    As Brier (1950) defines it: for two classes twice scikit-learn's `brier_score_loss`.
    """
    distance = probabilities.astype(np.float64)
    distance[np.arange(len(labels)), labels] -= 1.0
    return np.asarray(np.square(distance).sum(axis=1))


def balanced_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the classes' accuracies, 0 to 1, over the classes that have rows.

    As scikit-learn's `balanced_accuracy_score`, but without its cost after every epoch.
    """
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=probabilities.argmax(axis=1) == labels)
    present = counts > 0
    return float((right[present] / counts[present]).mean())


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of the predicted class, 0 to 1 (Guo et al. 2017).

    The mean over the rows of the distance between the accuracy of a bin and its mean confidence.
    With few rows it is above 0 for a perfect model too.
    """
    right = probabilities.argmax(axis=1) == labels
    return reliability_gap(reliability(probabilities.max(axis=1), right))


def reliability_gap(rows: list[dict[str, Any]]) -> float:
    """Expected calibration error of the bins that `reliability` returns."""
    filled = [row for row in rows if row["images"]]
    gaps = [row["images"] * abs(row["accuracy"] - row["confidence"]) for row in filled]
    return float(sum(gaps) / sum(row["images"] for row in filled))


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """Confidence against accuracy, in BINS bins of equal width.

    Args:
        confidence: probability of the predicted class, shape (rows,).
        right: whether the prediction is right, bool, shape (rows,).

    Returns:
        For each bin: its ends "from" and "to", the upper one included; "images"; their mean
        "confidence" and their "accuracy", None where it is empty.
    """
    confidence = confidence.astype(np.float64)
    numbers = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    rows: list[dict[str, Any]] = []
    for number in range(BINS):
        inside = numbers == number
        row = {"from": number / BINS, "to": (number + 1) / BINS, "images": int(inside.sum())}
        means = [
            float(each[inside].mean()) if inside.any() else None for each in (confidence, right)
        ]
        rows.append(row | dict(zip(("confidence", "accuracy"), means, strict=True)))
    return rows


def per_class(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, in the order of the class numbers.

    Returns:
        For each class: "images" with its label, how many are "predicted" as it, how many of them
        are "right"; "precision", "recall" and "f1", 0 to 1, None where they are undefined.
    """
    from sklearn.metrics import precision_recall_fscore_support

    *shares, images = precision_recall_fscore_support(
        labels, predicted, labels=range(num_classes), zero_division=np.nan
    )
    counts = images, np.bincount(predicted, minlength=num_classes)
    right = np.bincount(labels[predicted == labels], minlength=num_classes)
    rows = []
    for number in range(num_classes):
        whole = [int(each[number]) for each in (*counts, right)]
        defined = [None if np.isnan(each[number]) else float(each[number]) for each in shares]
        names = ("images", "predicted", "right", "precision", "recall", "f1")
        rows.append(dict(zip(names, whole + defined, strict=True)))
    return rows


def confusions(predicted: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """The filled cells of the confusion matrix: [label, predicted class, rows]."""
    pairs = np.stack([labels, predicted], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return [[*map(int, pair), int(count)] for pair, count in zip(found, counts, strict=True)]


def chance_rate(
    counts: Mapping[str, int], training: Mapping[str, int], objective: str
) -> float | None:
    """The score of always predicting the most frequent class of the training images, 0 to 1.

    Args:
        counts: images by class, of the split that is scored.
        training: the same of the training images.
        objective: name of the score, such as "val_accuracy".

    Returns:
        None for a loss, or where there are no images.
    """
    present = [count for count in counts.values() if count]
    kind = Objective(objective)
    if kind.is_loss or not present:
        return None
    right = counts[max(training, key=lambda name: training[name])]
    return bool(right) / len(present) if kind.is_balanced else right / sum(present)
