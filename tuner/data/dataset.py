"""The images of a search: their classes and splits, and what a run keeps of them.

A survey of a folder or a table is split here, by content, so that it can be repeated; pictures that
are the same, or of one group, are never on both sides.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data.listing import Skipped
from tuner.data.splits import SPLITS, Member, group_names, split_members
from tuner.data.survey import Leak, Picture, Survey
from tuner.errors import DataError, SettingsError

_SCHEMA = 1


@dataclass(frozen=True)
class ImageFile:
    """One image.

    Attributes:
        path: relative to the dataset's root, with `/`.
        label: name of its class.
        split: "train", "validation" or "test".
        sha256: of the file.
        group: name of what stays on one side with it: the least SHA-256 of its members.
    """

    path: str
    label: str
    split: str
    sha256: str
    group: str = ""


@dataclass(frozen=True)
class Dataset:
    """The images of a search.

    Attributes:
        root: folder that paths are relative to.
        classes: names of the classes, in the order of the labels.
        files: the images, sorted by path.
        skipped: images that cannot be read or belong to no class.
        ignored: number of files and folders that are no images.
        conflicts: paths of images that show the same picture under different labels, by picture.
        leaks: pictures on two sides of the splits that were given.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    skipped: tuple[Skipped, ...] = ()
    ignored: int = 0
    conflicts: tuple[tuple[str, ...], ...] = ()
    leaks: tuple[Leak, ...] = ()

    @property
    def paths(self) -> set[str]:
        """Those of all its files."""
        return {file.path for file in self.files}

    def of(self, split: str) -> tuple[ImageFile, ...]:
        """The files of "train", "validation" or "test", in the order of their content hashes.

        Sorted by path, neighbours would be of one class; so they are as good as shuffled, and a
        file that is renamed keeps its place.
        """
        if split not in SPLITS:
            raise ValueError(f"Expected one of {', '.join(SPLITS)}, but got {split!r}")
        files = (file for file in self.files if file.split == split)
        return tuple(sorted(files, key=lambda file: (file.sha256, file.path)))

    def labels(self, split: str) -> np.ndarray:
        """The class indices of `of(split)`, int32, shape (n,)."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[file.label] for file in self.of(split)], np.int32)

    def counts(self) -> dict[str, dict[str, int]]:
        """The number of images by class and split."""
        found = Counter((file.label, file.split) for file in self.files)
        return {name: {split: found[name, split] for split in SPLITS} for name in self.classes}

    def training_counts(self) -> dict[str, int]:
        """The number of training images by class."""
        return {name: splits["train"] for name, splits in self.counts().items()}

    def majority_rate(self, split: str = "validation") -> float:
        """The accuracy of always answering the most frequent class of `split`.

        Raises:
            DataError: the split has no images.
        """
        labels = self.labels(split)
        if not len(labels):
            raise DataError(
                f"The {split} split has no images: give it some, or a fraction above 0."
            )
        return float(np.bincount(labels).max() / len(labels))

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of the paths, labels, splits and contents, wherever the root is."""
        rows = sorted((file.path, file.label, file.split, file.sha256) for file in self.files)
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """What a run keeps as dataset.json."""
        files = [asdict(file) for file in self.files]
        return {
            "schema": _SCHEMA,
            "root": str(self.root.absolute()),
            "classes": list(self.classes),
            "files": files,
        }

    @classmethod
    def from_json(cls, root: Path | None, data: Mapping[str, Any]) -> "Dataset":
        """The dataset that `to_json` described; what was left out is not in it.

        Args:
            root: the folder that its files lie in; None for where they were.
            data: what `to_json` gave.

        Raises:
            DataError: a newer version wrote it, or it is not such a description.
        """
        try:
            if data["schema"] > _SCHEMA:
                raise DataError(
                    f"dataset.json has schema {data['schema']}, but this version reads up to "
                    f"{_SCHEMA}: upgrade this program."
                )
            files = tuple(
                ImageFile(
                    row["path"], row["label"], row["split"], row["sha256"], row.get("group", "")
                )
                for row in data["files"]
            )
            return cls(root or Path(data["root"]), tuple(data["classes"]), files)
        except (KeyError, TypeError) as error:
            raise DataError(f"dataset.json is damaged ({error}): start a new run.") from error


@dataclass(frozen=True)
class SplitOptions:
    """How a survey is split.

    Attributes:
        val_fraction: share of each class for validation, at least one image; above 0.
        test_fraction: share of each class for the test; 0 for no test.
        split_seed: draws another split.
        drop_leaks: whether a training image that validation or test images show too is left out,
            where the splits are given.
        keep_conflicts: whether images that stand under two labels are trained on; they never
            validate or test.

    Raises:
        SettingsError: the fractions leave nothing to validate with or to train on.
    """

    val_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    drop_leaks: bool = False
    keep_conflicts: bool = False

    def __post_init__(self) -> None:
        """Checks the fractions."""
        val, test = self.val_fraction, self.test_fraction
        if not (val > 0 and test >= 0 and val + test < 1):
            raise SettingsError(
                "val_fraction must be above 0, test_fraction at least 0 and their sum below 1, but "
                f"they are {val} and {test}."
            )


def split_survey(found: Survey, options: SplitOptions) -> Dataset:
    """Splits what was found.

    The splits that are given are kept. Others are drawn within each class, in the order of a hash
    of `split_seed` and the content, so that they depend on these alone, and images that are added
    move few others. Pictures that are the same, or of one group, stay on one side. One that stands
    under two labels is left out.

    Raises:
        DataError: a class has too few images that differ.
    """
    pictures = found.pictures
    groups = group_names([picture.sha256 for picture in pictures], found.together)
    conflicting = {number for numbers in found.conflicts for number in numbers}
    dropped = {leak.path for leak in found.leaks if leak.split == "train" and options.drop_leaks}
    shares = {
        split: share
        for split, share in (("test", options.test_fraction), ("validation", options.val_fraction))
        if split not in found.given and share
    }
    members = {
        number: Member(
            picture.label, groups[number], _standing(picture, number in conflicting, shares)
        )
        for number, picture in enumerate(pictures)
        if picture.path not in dropped
        and (number not in conflicting or (options.keep_conflicts and _may_train(picture)))
    }
    splits = split_members(list(members.values()), shares, options.split_seed)
    files = [
        ImageFile(pictures[number].path, member.label, split, pictures[number].sha256, member.group)
        for (number, member), split in zip(members.items(), splits, strict=True)
    ]
    dataset = Dataset(
        found.root, found.classes, tuple(files), found.skipped, found.ignored,
        found.conflicting_paths, found.leaks,
    )  # fmt: skip
    _check_splits(dataset, ["train", *found.given, *shares])
    return dataset


def _may_train(picture: Picture) -> bool:
    return picture.split in (None, "train")


def _standing(picture: Picture, conflicting: bool, shares: Mapping[str, float]) -> str | None:
    """Where a picture stands before anything is split; None where it may be moved."""
    if not _may_train(picture):
        return picture.split
    return None if shares and not conflicting else "train"


def _check_splits(dataset: Dataset, splits: Sequence[str]) -> None:
    """Raises DataError if a class has no image in one of the splits."""
    for name, counts in dataset.counts().items():
        for split in splits:
            if not counts[split]:
                raise DataError(
                    f"Class {name} has no {split} images left once those are set aside that show "
                    "the same as others: add some that differ, or remove the class."
                )


def group_of(file: ImageFile) -> str:
    """Name of what an image stands on one side with: itself where it has no group."""
    return file.group or file.sha256
