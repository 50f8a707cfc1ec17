"""The list of image files with their classes and splits, by name, before any is read."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tuner.data.variants import groups_by
from tuner.decoding.formats import HEADER_BYTES, SUFFIXES, image_format, unread_kind
from tuner.errors import DataError, SettingsError


@dataclass(frozen=True)
class Layout:
    """How the images of a folder or a table are arranged.

    Attributes:
        class_level: number of folder levels that make a class; or "leaf", the folder of the image.
        path_column: the table's column of that meaning, by its name; or by its number from 1, if
            the first row holds no names.
        label_column: likewise.
        split_column: likewise.
        group_by: what names an image's group in its path; see `variants.groups_by`.
    """

    class_level: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_by: str | None = None

    def __post_init__(self) -> None:
        """Check the level."""
        level = self.class_level
        if (level not in (None, "leaf") and not (level or "").isdecimal()) or level == "0":
            raise SettingsError(f"--class-level must be 1, 2, ... or leaf, but is {level}.")


USUAL = Layout()


@dataclass(frozen=True)
class Candidate:
    """A file that is expected to be an image, with its class, and its split and group if given."""

    path: str
    label: str
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and a short reason such as "it is cut short"."""

    path: str
    reason: str


@dataclass
class Manifest:
    """The files of a dataset.

    Attributes:
        root: folder that paths are relative to.
        candidates: the images.
        classes: names of the classes by given split; by None if no splits are given.
        stray: images without a class.
        ignored: number of other files and folders.
        unread: number of images that cannot be read, by kind.
        hints: what may be meant by the path of a missing file.
        notes: sentences on what was left out, or may be meant otherwise.
    """

    root: Path
    candidates: list[Candidate] = field(default_factory=list)
    classes: dict[str | None, tuple[str, ...]] = field(default_factory=dict)
    stray: list[Skipped] = field(default_factory=list)
    ignored: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the given splits."""
        return tuple(split for split in self.classes if split is not None)

    def unread_note(self) -> str:
        """A sentence on the images that cannot be read."""
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.unread.most_common())
        return (
            f"{self.unread.total():,} images are of kinds that are not read ({kinds}): convert "
            "them to JPEG or PNG."
        )

    def group_by(self, pattern: str) -> None:
        """Group the images that have no group yet by their paths.

        Raises:
            SettingsError: it is no pattern, or is found in no path.
        """
        groups = groups_by(pattern, (candidate.path for candidate in self.candidates))
        if not any(groups):
            raise SettingsError(
                f"--group-by {pattern} is found in no path, such as {self.candidates[0].path}: "
                "give a regular expression that is found in some."
            )
        pairs = zip(self.candidates, groups, strict=True)
        self.candidates = [replace(each, group=each.group or group) for each, group in pairs]

    def check_classes(self, hint: str = "") -> None:
        """Check the classes, and add notes on them.

        Raises:
            DataError: there are fewer than two, or training lacks one; `hint` ends the message.
        """
        names = self.classes.get("train") or self.classes.get(None) or ()
        if not names:
            state = "its images lie directly in it" if self.stray else "it holds none"
            where = f"The train folder in {self.root}" if self.given else self.root
            unread = f" {self.unread_note()}" if self.unread else ""
            raise DataError(
                f"{where} must hold one folder per class, but {state}: move the images of each "
                f"class into a folder with the name of the class.{unread}{hint}"
            )
        for split, others in self.classes.items():
            if unknown := [name for name in others if name not in names]:
                bare = {_bare(name) for name in unknown}
                alike = [name for name in names if _bare(name) in bare]
                spelled = f" Training spells {some(alike)}." if alike else ""
                raise DataError(
                    f"There are {split} images of {some(unknown)}, but no training images: add "
                    f"some, or remove that class from {split}.{spelled}"
                )
            if missing := [name for name in names if name not in others]:
                self.notes.append(
                    f"There are no {split} images of {len(missing)} of the {len(names)} classes "
                    f"({some(missing)}): accuracy is measured without them."
                )
        if len(names) == 1:
            raise DataError(
                f"{self.root} has one class, {names[0]}, but at least two are needed: add the "
                f"folder of another class, or name the folder that holds the class folders.{hint}"
            )
        spellings: dict[str, list[str]] = {}
        for name in names:
            spellings.setdefault(_bare(name), []).append(name)
        self.notes += [
            f"The classes {some(alike)} differ only in their spelling: if they are one class, "
            "give them one name."
            for alike in spellings.values()
            if len(alike) > 1
        ]
        if self.unread:
            self.notes.append(self.unread_note())


def _bare(name: str) -> str:
    """A class name without case, blanks, "_", "-", leading zeros, and the ".0" of a number."""
    name = re.sub(r"^0*(\d+)(\.0*)?$", r"\1", name.strip())
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())


def some(names: Iterable[str]) -> str:
    """Up to ten names, and how many more there are."""
    shown = list(names)
    more = f" and {len(shown) - 10:,} more" if len(shown) > 10 else ""
    return f"{', '.join(shown[:10])}{more}"


def class_name(text: str) -> str:
    """A class name in Unicode NFC, since some systems decompose letters in file names."""
    return unicodedata.normalize("NFC", text)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a DataError."""
    try:
        yield
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise DataError(f"{path} cannot be read: {detail}.") from error


def may_be_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, so that damage is reported, or by its content."""
    if path.exists() and not path.is_file():
        return False  # a device or a pipe would never end
    if unread_kind(path.name) is not None:
        return False  # a camera's raw file is not the small TIFF in it
    if path.suffix.lower() in SUFFIXES:
        return True  # a link to nowhere too
    try:
        with path.open("rb") as file:
            return image_format(file.read(HEADER_BYTES)) is not None
    except OSError:
        return False
