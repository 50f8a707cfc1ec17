"""Warn about classes of very unequal size."""

from collections.abc import Mapping

from tuner.data.dataset import Dataset
from tuner.settings import SearchSettings

# How many times the images of the smallest class the largest may have before that is said.
_UNEVEN = 5


def imbalance_note(counts: Mapping[str, int], objective: str, class_weights: str) -> str | None:
    """One line that says how unequal the classes are and which options are meant for that.

    Args:
        counts: training images by class.
        objective: of the search.
        class_weights: of the search, "none" or "balanced".

    Returns:
        The line, or None where the largest class has at most 5 times the images of the smallest,
        and where both options are in use.
    """
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    remedies = []
    if objective != "val_balanced_accuracy":
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
    """The line that tells of very unequal classes before a search, or None; see `balance`."""
    return imbalance_note(dataset.training_counts(), settings.objective, settings.class_weights)
