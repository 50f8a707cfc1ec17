"""Warn about classes of very unequal size."""

from collections.abc import Mapping

from tuner.data.dataset import Dataset
from tuner.metrics.objective import Objective
from tuner.settings import SearchSettings

# Largest ratio of class sizes without a warning.
_UNEVEN = 5


def imbalance_note(counts: Mapping[str, int], objective: str, class_weights: str) -> str | None:
    """A warning about unequal classes, with the options that help; None if none is needed."""
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    remedies = []
    if not Objective(objective).is_balanced:
        remedies.append("--objective val_balanced_accuracy lets each class count the same")
    if class_weights != "balanced":
        remedies.append("--class-weights balanced lets each train the same")
    if counts[largest] <= _UNEVEN * counts[smallest] or not remedies:
        return None
    return (
        f"Class {largest} has {counts[largest]} training images and class {smallest} "
        f"{counts[smallest]}: {', '.join(remedies)}."
    )


def imbalance(dataset: Dataset, settings: SearchSettings) -> str | None:
    """`imbalance_note` of the classes that a search trains on."""
    return imbalance_note(dataset.training_counts(), settings.objective, settings.class_weights)
