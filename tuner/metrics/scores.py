"""How good predicted probabilities are, and what of it a report shows: numbers of rows alone.

Accuracy says how often the most probable class is the right one; the others say what it hides:
classes that are rarely found, and probabilities that promise more than is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.metrics.objective import Objective

# The least probability that cross-entropy sees: keras.config.epsilon().
EPSILON = 1e-7
# Of the calibration error and the reliability figure, as Guo et al. (2017) have them.
BINS = 15


@dataclass(frozen=True)
class Scores:
    """Numbers for all rows together; see the functions of the same names.

    Attributes:
        accuracy: share of the rows that are named rightly.
        balanced_accuracy: the mean of the classes' own shares.
        macro_f1: the mean of the classes' F1.
        log_loss: in nats.
        brier_score: 0 to 2.
        calibration_error: 0 to 1.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    brier_score: float
    calibration_error: float

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> "Scores":
        """All of them.

        Args:
            probabilities: shape (rows, classes), with at least one row.
            labels: int class numbers, shape (rows,).
        """
        return cls(
            accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
            balanced_accuracy=balanced_accuracy(probabilities, labels),
            macro_f1=macro_f1(probabilities, labels),
            log_loss=float(log_losses(probabilities, labels).mean()),
            brier_score=float(brier_scores(probabilities, labels).mean()),
            calibration_error=calibration_error(probabilities, labels),
        )


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each row's cross-entropy in nats, float64, shape (rows,); a probability counts as 1e-7 at
    least.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(own, EPSILON, 1.0)))


def brier_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each row's squared distance to the truth over all classes, 0 to 2, float64, shape (rows,).

    As Brier (1950) has it; of two classes it is twice what scikit-learn's `brier_score_loss` gives.
    """
    distance = probabilities.astype(np.float64)
    distance[np.arange(len(labels)), labels] -= 1.0
    return np.asarray(np.square(distance).sum(axis=1))


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the classes of F1, 0 to 1.

    Classes that are neither met nor predicted are left out (scikit-learn's `f1_score` with
    `average="macro"`).
    """
    shares = [row["f1"] for row in per_class(probabilities, labels) if row["f1"] is not None]
    return float(np.mean(shares))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error of the predicted class, 0 to 1 (Guo et al. 2017).

    The mean over all rows of how far a bin's accuracy is from its mean confidence. Of few rows it
    is above 0 for a perfect model too.
    """
    filled = [row for row in reliability(probabilities, labels, bins) if row["images"]]
    gaps = [row["images"] * abs(row["accuracy"] - row["confidence"]) for row in filled]
    return float(sum(gaps) / len(labels))


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> list[dict[str, Any]]:
    """Confidence beside accuracy, in bins of equal width.

    Returns:
        For each bin: "from" and "to", the confidences that it holds, the upper one included;
        "images"; their mean "confidence" and "accuracy", None where it is empty.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    # Bins are open below and closed above, so that 1 belongs to the last.
    numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows = []
    for number in range(bins):
        inside = numbers == number
        filled = bool(inside.any())
        rows.append(
            {
                "from": number / bins,
                "to": (number + 1) / bins,
                "images": int(inside.sum()),
                "confidence": float(confidence[inside].mean()) if filled else None,
                "accuracy": float(right[inside].mean()) if filled else None,
            }
        )
    return rows


def per_class(probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """How well each class is found, in the order of the class numbers.

    Returns:
        For each class: "images" that it has, how many were "predicted" as it, how many "right";
        "precision", "recall" and "f1", 0 to 1, None where nothing divides them.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    counts = np.bincount(labels, minlength=classes)
    named = np.bincount(predicted, minlength=classes)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return [
        {
            "images": int(count),
            "predicted": int(name),
            "right": int(hit),
            "precision": _share(hit, name),
            "recall": _share(hit, count),
            "f1": _share(2 * hit, count + name),
        }
        for count, name, hit in zip(counts, named, right, strict=True)
    ]


def confusions(probabilities: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """Which class is named how often as which: [own class, named class, images], where any are."""
    pairs = np.stack([labels, probabilities.argmax(axis=1)], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return [[*map(int, pair), int(count)] for pair, count in zip(found, counts, strict=True)]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


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


def chance_rate(counts: Mapping[str, int], objective: str) -> float | None:
    """The score of always answering the most frequent class.

    Args:
        counts: images by class, of the split that is scored.
        objective: what the score is, such as "val_accuracy".

    Returns:
        A share of one; None for a loss, or where there are no images.
    """
    present = [count for count in counts.values() if count]
    if Objective(objective).is_loss or not present:
        return None
    return 1 / len(present) if Objective(objective).is_balanced else max(present) / sum(present)


def score(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy.

    Args:
        probabilities: shape (rows, classes).
        labels: int class numbers, shape (rows,).
    """
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.clip(true, EPSILON, 1.0)).mean()
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())
