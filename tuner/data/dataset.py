"""The images of a search with their classes and splits, stored by a run as dataset.json."""

import hashlib
import json
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data.listing import Skipped
from tuner.data.splits import SPLITS, Member, group_names, split_members
from tuner.data.survey import Leak, Picture, Survey
from tuner.data.warnings import WARN, dataset_warnings
from tuner.errors import DataError, SettingsError

_SCHEMA = 1


@dataclass(frozen=True)
class ImageFile:
    """One image: its path relative to the dataset's root, class, split and SHA-256.

    Its group, whose images share a split, is named by the least SHA-256 of its members.
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
        skipped: unreadable images, and images without a class.
        ignored: number of other files and folders.
        conflicts: groups of paths of the same picture with different labels.
        leaks: images whose picture or group is in two of the given splits.
        notes: sentences on what was left out, or may be meant otherwise.
        warnings: sentences on what makes its accuracy doubtful.
        given: names of the splits that came with the images; the others were drawn.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    skipped: tuple[Skipped, ...] = ()
    ignored: int = 0
    conflicts: tuple[tuple[str, ...], ...] = ()
    leaks: tuple[Leak, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def paths(self) -> set[str]:
        """Paths of all files."""
        return {file.path for file in self.files}

    def of(self, split: str) -> tuple[ImageFile, ...]:
        """The files of a split, in the order of their content hashes: as good as shuffled."""
        if split not in SPLITS:
            raise ValueError(f"Expected one of {', '.join(SPLITS)}, but got {split!r}")
        files = (file for file in self.files if file.split == split)
        return tuple(sorted(files, key=lambda file: (file.sha256, file.path)))

    def labels(self, split: str) -> np.ndarray:
        """The class indices of `of(split)`, int32, shape (n,)."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[file.label] for file in self.of(split)], np.int32)

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of images by class and split."""
        found = Counter((file.label, file.split) for file in self.files)
        return {name: {split: found[name, split] for split in SPLITS} for name in self.classes}

    def training_counts(self) -> dict[str, int]:
        """Number of training images by class."""
        return {name: splits["train"] for name, splits in self.counts().items()}

    def majority_rate(self, split: str = "validation") -> float:
        """Accuracy on `split` of always predicting the most frequent training class."""
        labels = self.labels(split)
        if not len(labels):
            raise DataError(
                f"The {split} split has no images: give it some, or a fraction above 0."
            )
        return float((labels == np.bincount(self.labels("train")).argmax()).mean())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the paths, labels, splits and contents; independent of the root."""
        rows = sorted((file.path, file.label, file.split, file.sha256) for file in self.files)
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The content of dataset.json."""
        files = [asdict(file) for file in self.files]
        return {
            "schema": _SCHEMA,
            "root": str(self.root.absolute()),
            "classes": list(self.classes),
            "given": list(self.given),
            "files": files,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, root: Path | None, data: Mapping[str, Any]) -> "Dataset":
        """The dataset of a dataset.json; its files lie in `root`, or where they were.

        Raises:
            DataError: a newer version wrote it, or it is damaged.
        """
        try:
            if data["schema"] > _SCHEMA:
                raise DataError(
                    f"dataset.json has schema {data['schema']}, but this version reads up to "
                    f"{_SCHEMA}: upgrade this program."
                )
            files = tuple(ImageFile(**row) for row in data["files"])
            given, warnings = tuple(data["given"]), tuple(data["warnings"])
            return cls(
                root or Path(data["root"]),
                tuple(data["classes"]),
                files,
                given=given,
                warnings=warnings,
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"dataset.json is damaged ({error}): start a new run.") from error


@dataclass(frozen=True)
class SplitOptions:
    """How a survey is split.

    Attributes:
        val_fraction: share of each class for validation, at least one image; above 0.
        test_fraction: share of each class for the test; 0 for no test.
        split_seed: changes the split.
        drop_leaks: leave out training images whose picture is also in a given other split.
        keep_conflicts: train on pictures with two labels; they are never in validation or test.
        near_duplicates: "group" near images into one split, "warn" of them, or "ignore" them.
    """

    val_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    drop_leaks: bool = False
    keep_conflicts: bool = False
    near_duplicates: str = "group"

    def __post_init__(self) -> None:
        """Check the fractions."""
        val, test = self.val_fraction, self.test_fraction
        if not (val > 0 and test >= 0 and val + test < 1):
            raise SettingsError(
                "val_fraction must be above 0, test_fraction at least 0 and their sum below 1, but "
                f"they are {val} and {test}."
            )


def split_survey(found: Survey, options: SplitOptions) -> Dataset:
    """Split the images of a survey.

    Given splits are kept. Others are drawn within each class, in the order of a hash of
    `split_seed` and the content, so that they depend on these alone, and added images move few
    others. The same picture, or the same group, stays in one split.

    Raises:
        DataError: a class has too few different images.
    """
    if found.problem is not None:
        raise DataError(found.problem)
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
            picture.label, groups[number], _fixed_split(picture, number in conflicting, shares)
        )
        for number, picture in enumerate(pictures)
        if picture.path not in dropped
        and (number not in conflicting or (options.keep_conflicts and _may_train(picture)))
    }
    try:
        splits = split_members(list(members.values()), shares, options.split_seed)
    except DataError as error:
        if not (found.joined and found.near):
            raise
        raise DataError(
            f"{error} Images that look alike count as one: {WARN} splits them."
        ) from error
    files = [
        ImageFile(pictures[number].path, member.label, split, pictures[number].sha256, member.group)
        for (number, member), split in zip(members.items(), splits, strict=True)
    ]
    dataset = Dataset(
        root=found.root,
        classes=found.classes,
        files=tuple(files),
        skipped=found.skipped,
        ignored=found.ignored,
        conflicts=found.conflicting_paths,
        leaks=found.leaks,
        notes=found.notes,
        warnings=tuple(dataset_warnings(found)),
        given=tuple(found.given),
    )
    _check_splits(dataset, {"train", *shares}, {(each.label, each.split) for each in pictures})
    return dataset


def _check_splits(
    dataset: Dataset, drawn: Container[str], given: Container[tuple[str, str | None]]
) -> None:
    """Raise DataError if a class has none of the images that were drawn for it, or given."""
    for name, counts in dataset.counts().items():
        for split in SPLITS:
            if not counts[split] and (split in drawn or (name, split) in given):
                raise DataError(
                    f"Class {name} has no {split} images left once those are set aside that show "
                    "the same as others: add some that differ, or remove the class."
                )


def _may_train(picture: Picture) -> bool:
    return picture.split in (None, "train")


def _fixed_split(picture: Picture, conflicting: bool, shares: Mapping[str, float]) -> str | None:
    if not _may_train(picture):
        return picture.split
    return None if shares and not conflicting else "train"


def group_of(file: ImageFile) -> str:
    """The image's group key: its group, or its own SHA-256."""
    return file.group or file.sha256
