"""What several commands say while they work."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.dataset import Dataset
    from tuner.observer import SearchObserver


def say_dataset(observer: "SearchObserver", dataset: "Dataset") -> None:
    """How many images of which split there are, and what is wrong with them."""
    from tuner.tables import data_warnings

    parts = ", ".join(
        f"{len(dataset.of(split))} {split}" for split in ("train", "validation", "test")
    )
    observer.note(f"{len(dataset.files)} images in {len(dataset.classes)} classes: {parts}.")
    found = (dataset.skipped, dataset.conflicts, dataset.leaks)
    for line in data_warnings(*found, dataset.paths):
        observer.note(f"Warning: {line}")
