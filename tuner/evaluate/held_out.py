"""Metrics of predictions on the test images, and which of those images leaked from training."""

from dataclasses import asdict
from typing import Any

import numpy as np

from tuner.data.dataset import Dataset
from tuner.metrics.intervals import balanced_interval, mean_interval
from tuner.metrics.scores import (
    Scores,
    brier_scores,
    confusions,
    log_losses,
    per_class,
    reliability,
)


def details_of(probabilities: np.ndarray, dataset: Dataset) -> dict[str, Any]:
    """All that a report needs of the test images, as JSON can hold it.

    Args:
        probabilities: of the test images in their order, shape (images, classes).
        dataset: their files and classes.

    Returns:
        "scores": as `metrics.Scores` has them. "intervals": 95 % intervals of those that have one,
        by name, [low, high]. "per_class": `metrics.per_class` with the "class" by name.
        "reliability": `metrics.reliability`. "confusions": [own class, named class, images], by
        number in the order of the classes, where there are any images. "mistakes": the images that
        are named wrongly, the surest first: "path" relative to the dataset's root, "label" and
        "predicted" by name, the "confidence" in the latter and the "probability" of the former.
    """
    labels, predicted = dataset.labels("test"), probabilities.argmax(axis=1)
    right = predicted == labels
    rows = per_class(predicted, labels, len(dataset.classes))
    classes = [{"class": name} | row for name, row in zip(dataset.classes, rows, strict=True)]
    return {
        "scores": asdict(Scores.of(probabilities, labels)),
        "intervals": {
            "balanced_accuracy": balanced_interval(right, labels),
            "log_loss": mean_interval(log_losses(probabilities, labels)),
            "brier_score": mean_interval(brier_scores(probabilities, labels)),
        },
        "per_class": classes,
        "reliability": reliability(probabilities.max(axis=1), right),
        "confusions": confusions(predicted, labels),
        "mistakes": _mistakes(probabilities, labels, dataset),
    }


def _mistakes(
    probabilities: np.ndarray, labels: np.ndarray, dataset: Dataset
) -> list[dict[str, Any]]:
    files, predicted = dataset.of("test"), probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return [
        {
            "path": files[row].path,
            "label": files[row].label,
            "predicted": dataset.classes[predicted[row]],
            "confidence": float(confidence[row]),
            "probability": float(probabilities[row, labels[row]]),
        }
        for row in wrong[np.argsort(-confidence[wrong], kind="stable")]
    ]
