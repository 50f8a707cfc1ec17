"""Settings of a search: checked when they are made, saved with the run."""

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import RunError, SettingsError
from tuner.metrics.objective import OBJECTIVES, Objective
from tuner.storage.atomic import open_file, read_text

SCHEMA_VERSION = 1
BEST, SIMPLE = "best", "simple"
PREFERENCES = (BEST, SIMPLE)  # of `tune best`
DEFAULT_VIEWS = {"none": 1, "flip": 2, "light": 4, "strong": 4}  # by augmentation
AUGMENTATIONS = tuple(DEFAULT_VIEWS)
CLASS_WEIGHTS = ("none", "balanced")
NEAR_DUPLICATES = ("group", "warn", "ignore")
_LEAST = {"image_size": 32, "batch_size": 1, "max_epochs": 1, "factor": 2, "iterations": 1}
_LEAST |= {"seed": 0, "split_seed": 0, "views": 1}
_CHOICES = {"objective": OBJECTIVES, "augment": AUGMENTATIONS, "class_weights": CLASS_WEIGHTS}
_CHOICES |= {"near_duplicates": NEAR_DUPLICATES}


@dataclass(frozen=True)
class SearchSettings:
    """All settings of a search, as the options of `tune search`; checked, or SettingsError.

    Attributes:
        data: folder of the images, or None for scikit-learn's digits.
        space: name of the search space, or `package.module:Class`.
        fixed: pinned hyperparameters, name to value as typed.
        weights: "imagenet", "none", or the path of a weights file.
        max_epochs: epochs of a trial that is never stopped early.
        factor: each rung keeps about one trial in `factor`.
        val_fraction, test_fraction: shares of the images, unless the folder is split already.
        seed: of everything except the split.
        class_level: number of folder levels that make a class, or "leaf"; None: the first.
        path_column, label_column, split_column: of a table, by name; of a list without names, by
            number from 1.
        group_by: what names an image's group in its path; see `variants.groups_by`.
        near_duplicates: "group" near images into one split, "warn" of them, or "ignore" them.
        views: number of fixed views of each training image; 1 without augmentation.
        class_weights: "none", or "balanced": an image's weight in the training loss is n /
            (classes * images of its class), as in scikit-learn.
    """

    data: str | None = None
    space: str = "resnet50"
    fixed: dict[str, str] = dataclasses.field(default_factory=dict)
    weights: str = "imagenet"
    image_size: int = 224
    crop: bool = False
    batch_size: int = 32
    max_epochs: int = 30
    factor: int = 3
    iterations: int = 1
    objective: str = "val_accuracy"
    seed: int = 0
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    drop_leaks: bool = False
    keep_conflicts: bool = False
    class_level: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_by: str | None = None
    near_duplicates: str = "group"
    augment: str = "none"
    views: int = 1
    class_weights: str = "none"
    time_budget_seconds: float | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value < least:
                raise SettingsError(f"{_option(name)} must be at least {least}, but is {value}.")
        if self.time_budget_seconds is not None and self.time_budget_seconds <= 0:
            raise SettingsError(
                f"--time-budget must be above 0 s, but is {self.time_budget_seconds:g} s."
            )
        if not 0 < self.val_fraction < 1:
            raise SettingsError(
                f"--val-fraction must be between 0 and 1, but is {self.val_fraction}."
            )
        if not 0 <= self.test_fraction < 1:
            raise SettingsError(
                "--test-fraction must be between 0 and 1, or 0 for no test, but is "
                f"{self.test_fraction}."
            )
        if self.val_fraction + self.test_fraction >= 1:
            raise SettingsError(
                "--val-fraction and --test-fraction must leave something to train on, but add up "
                f"to {self.val_fraction + self.test_fraction:g}."
            )
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise SettingsError(
                    f"{_option(name)} must be one of {', '.join(choices)}, but is {value}."
                )
        if (self.augment == "none") != (self.views == 1):
            raise SettingsError(
                "--augment flip, light or strong needs --views 2 or more, and --views needs "
                f"--augment, but they are {self.augment} and {self.views}."
            )
        if self.augment == "flip" and self.views > 2:
            raise SettingsError(
                "--augment flip has only 2 different --views, the image and its mirror, but "
                f"--views is {self.views}."
            )

    @property
    def direction(self) -> str:
        """Whether the objective is to be large, "max", or small, "min"."""
        return Objective(self.objective).direction

    def differences(self, other: "SearchSettings") -> list[str]:
        """Sentences on the settings in which `other` differs.

        Settings that may change while a search is interrupted are ignored: the time budget, and the
        paths of images and weights, whose contents are compared elsewhere.
        """
        found = []
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            moved = field.name in ("data", "weights") and _is_path(mine) and _is_path(theirs)
            if mine != theirs and not moved and field.name != "time_budget_seconds":
                if field.name == "data":
                    mine, theirs = mine or "digits", theirs or "digits"
                found.append(f"{_option(field.name)} was {_shown(mine)}, not {_shown(theirs)}")
        return found

    def to_json(self) -> str:
        """The settings as a JSON document."""
        return json.dumps({"schema": SCHEMA_VERSION} | dataclasses.asdict(self), indent=2)

    @staticmethod
    def wrote(path: Path) -> bool:
        """Whether a file begins as those of `to_json`; what follows may be damaged."""
        with contextlib.suppress(OSError), open_file(path) as file:
            return file.read(32).lstrip(b"{ \n").startswith(b'"schema":')
        return False

    @classmethod
    def load(cls, path: Path) -> "SearchSettings":
        """Read the file that `to_json` was written to; RunError if it is missing or damaged."""
        try:
            values = dict(json.loads(read_text(path)))
            schema = int(values.pop("schema"))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise RunError(f"the settings {path} cannot be read: {error}.") from error
        if schema > SCHEMA_VERSION:
            raise RunError(
                f"{path} was written by a newer version (schema {schema}, this one reads up to "
                f"{SCHEMA_VERSION}). Upgrade tune-resnet50."
            )
        try:
            return cls(**values)
        except (TypeError, SettingsError) as error:
            raise RunError(f"{path} is damaged: {str(error).rstrip('.')}.") from error


@dataclass(frozen=True)
class SearchFolders:
    """Where a search reads and writes; without a limit, the cache may fill the disk."""

    runs_dir: Path
    cache_dir: Path
    cache_limit_bytes: int | None = None


def parse_fixed(pairs: list[str]) -> dict[str, str]:
    """Parse the values of --fix: `["name=value", ...]` to a dictionary."""
    fixed: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name or not value:
            raise SettingsError(f"--fix takes name=value, such as unfreeze_blocks=0, not {pair!r}.")
        if name in fixed:
            raise SettingsError(f"--fix {name} is given twice.")
        fixed[name] = value
    return fixed


def _is_path(value: str | None) -> bool:
    return value not in (None, "imagenet", "none")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={pinned}" for name, pinned in value.items()) or "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "nothing" if value is None else str(value)


def _option(name: str) -> str:
    if name in ("data", "fixed"):
        return {"data": "DATA", "fixed": "--fix"}[name]
    return f"--{name.replace('_', '-')}"
