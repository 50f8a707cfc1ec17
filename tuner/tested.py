"""What a network's answers for the test images tell, and how far those are new to it."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuner.dataset import Dataset
from tuner.intervals import balanced_interval, mean_interval, share_interval
from tuner.metrics import (
    Scores,
    brier_scores,
    confusions,
    log_losses,
    per_class,
    reliability,
)
from tuner.quantities import percent


@dataclass(frozen=True)
class Leaked:
    """Test images that are not new: a copy, or one of their group, trained or validated.

    Splits that a user gives keep such images.

    Attributes:
        images: how many.
        of: of how many test images.
        training: how many of them have it among the training images.
        validation: how many among the validation images.
        accuracy: of the other test images, 0 to 1; None where there are none, or it is not known.
        interval: 95 % interval of that.
    """

    images: int
    of: int
    training: int = 0
    validation: int = 0
    accuracy: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def sentence(self) -> str | None:
        """What that does to the test accuracy; None where every test image is new."""
        if not self.images:
            return None
        counts = (("training", self.training), ("validation", self.validation))
        among = " and ".join(f"the {name} images ({count})" for name, count in counts if count)
        have = "has a copy, or one of its" if self.images == 1 else "have a copy, or one of their"
        leak = f"{self.images} of the {self.of} test images {have} group, among {among}"
        if self.images == self.of:
            return f"{leak}: the test accuracy says nothing of new images."
        if self.accuracy is None or self.interval is None:
            return f"{leak}: new images are named worse than the test accuracy says."
        low, high = map(percent, self.interval)
        return (
            f"{leak}. The accuracy on the other {self.of - self.images} is "
            f"{percent(self.accuracy)} ({low} to {high}): rely on that."
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it: its attributes and the sentence."""
        return asdict(self) | {"sentence": self.sentence}


def leaked(dataset: Dataset, wrong: Collection[str] | None = None) -> Leaked:
    """The test images that the search has met.

    Args:
        dataset: with its splits.
        wrong: paths of the test images that are named wrongly; None where they are not known.
    """
    tests = dataset.of("test")
    met = {
        split: {key for file in dataset.of(split) for key in (file.sha256, file.group) if key}
        for split in ("train", "validation")
    }
    has = {
        split: [not known.isdisjoint((file.sha256, file.group)) for file in tests]
        for split, known in met.items()
    }
    new = [
        file for file, one, other in zip(tests, has["train"], has["validation"], strict=True)
        if not one and not other
    ]  # fmt: skip
    counts = (len(tests) - len(new), len(tests), sum(has["train"]), sum(has["validation"]))
    if wrong is None or not new:
        return Leaked(*counts)
    right = sum(file.path not in wrong for file in new)
    return Leaked(*counts, right / len(new), share_interval(right, len(new)))


def wrong_paths(results: Mapping[str, Any]) -> set[str] | None:
    """Paths of the test images that a trial named wrongly; None where they were not kept.

    Args:
        results: what the journal keeps of it.
    """
    mistakes = results.get("details", {}).get("mistakes")
    return None if mistakes is None else {mistake["path"] for mistake in mistakes}


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
    labels = dataset.labels("test")
    right = probabilities.argmax(axis=1) == labels
    classes = [
        {"class": name} | row
        for name, row in zip(dataset.classes, per_class(probabilities, labels), strict=True)
    ]
    return {
        "scores": asdict(Scores.of(probabilities, labels)),
        "intervals": {
            "balanced_accuracy": balanced_interval(right, labels),
            "log_loss": mean_interval(log_losses(probabilities, labels)),
            "brier_score": mean_interval(brier_scores(probabilities, labels)),
        },
        "per_class": classes,
        "reliability": reliability(probabilities, labels),
        "confusions": confusions(probabilities, labels),
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
