"""Test images that leaked from training."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuner.data.dataset import Dataset
from tuner.metrics.intervals import share_interval
from tuner.text import percent


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
    seen = np.logical_or(has["train"], has["validation"])
    new = [file for file, known in zip(tests, seen, strict=True) if not known]
    counts = (len(tests) - len(new), len(tests), sum(has["train"]), sum(has["validation"]))
    if wrong is None or not new:
        return Leaked(*counts)
    right = sum(file.path not in wrong for file in new)
    return Leaked(*counts, right / len(new), share_interval(right, len(new)))


def wrong_paths(results: Mapping[str, Any]) -> set[str]:
    """Paths of the test images that a trial misclassified, of what the journal keeps of it."""
    return {mistake["path"] for mistake in results["details"]["mistakes"]}
