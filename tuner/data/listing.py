"""List image files with their class and split, by name, before any is read.

DATA/CLASS/**/*                      folders below a class belong to it
DATA/{train,val,test}/CLASS/**/*     the same, with given splits; test/ may be missing
DATA.csv                             see `tuner.data.table`
"""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuner.decoding.formats import HEADER_BYTES, SUFFIXES, image_format
from tuner.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


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
    """

    root: Path
    candidates: list[Candidate] = field(default_factory=list)
    classes: dict[str | None, tuple[str, ...]] = field(default_factory=dict)
    stray: list[Skipped] = field(default_factory=list)
    ignored: int = 0

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the given splits."""
        return tuple(split for split in self.classes if split is not None)

    def check_classes(self) -> None:
        """Raise DataError unless there are at least two classes, the same in every split."""
        names = self.classes.get("train") or self.classes.get(None) or ()
        if not names:
            state = "its images lie directly in it" if self.stray else "it holds none"
            where = f"The train folder in {self.root}" if self.given else self.root
            raise DataError(
                f"{where} must hold one folder per class, but {state}: move the images of each "
                "class into a folder with the name of the class."
            )
        for split, others in self.classes.items():
            if different := sorted(set(names) ^ set(others)):
                raise DataError(
                    f"The training and {split} images must have the same classes, but only one "
                    f"of the two has {', '.join(different)}."
                )
        if len(names) == 1:
            raise DataError(
                f"{self.root} has one class, {names[0]}, but at least two are needed: add the "
                "folder of another class, or name the folder that holds the class folders."
            )


def folder_manifest(root: Path) -> Manifest:
    """List a folder of class folders, or of split folders that hold class folders.

    Links are followed, each folder once for each class, so that loops end.

    Raises:
        DataError: the folder is missing or unreadable, or lacks images in at least two classes.
    """
    if not _is_folder(root):
        state = "is a file" if root.exists() else "does not exist"
        raise DataError(
            f"{root} {state}: name a folder that holds one folder per class, or a CSV file."
        )
    manifest = Manifest(root)
    folders, images = _children(manifest, root)
    splits = _split_folders(folders)
    if splits:
        _add_stray(manifest, images)
        manifest.ignored += len(folders) - len(splits)
        for split, folder in splits.items():
            _add_classes(manifest, split, *_children(manifest, folder))
    else:
        _add_classes(manifest, None, folders, images)
    manifest.check_classes()
    return manifest


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


def _add_classes(
    manifest: Manifest, split: str | None, folders: list[Path], images: list[Path]
) -> None:
    _add_stray(manifest, images)
    manifest.classes[split] = tuple(sorted({class_name(folder.name) for folder in folders}))
    for folder in folders:
        # Otherwise a link to a parent folder would give all its images to one class.
        seen = {_identity(path) for path in (manifest.root, folder.parent, folder)}
        manifest.candidates += [
            Candidate(_relative(manifest, path), class_name(folder.name), split)
            for path in _images(manifest, folder, seen)
        ]


def _add_stray(manifest: Manifest, images: list[Path]) -> None:
    reason = "it lies outside the class folders"
    manifest.stray += [Skipped(_relative(manifest, path), reason) for path in images]


def _images(manifest: Manifest, folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All images below a folder, entering each folder once."""
    waiting = [folder]
    while waiting:
        folders, images = _children(manifest, waiting.pop())
        yield from images
        for child in folders:
            if _identity(child) not in seen:
                seen.add(_identity(child))
                waiting.append(child)


def _children(manifest: Manifest, folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the images in a folder, sorted; counts the rest."""
    with readable(folder):
        paths = sorted(folder.iterdir())
        visible = [path for path in paths if path.name[0] != "." and path.name != "__MACOSX"]
        folders = [path for path in visible if path.is_dir()]
        images = [path for path in visible if may_be_image(path)]
    manifest.ignored += len(paths) - len(folders) - len(images)
    return folders, images


def _relative(manifest: Manifest, path: Path) -> str:
    return path.relative_to(manifest.root).as_posix()


def _is_folder(path: Path) -> bool:
    with readable(path):
        return path.is_dir()


def may_be_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, so that damage is reported, or by its content."""
    if path.exists() and not path.is_file():
        return False  # a device or a pipe would never end
    if path.suffix.lower() in SUFFIXES:
        return True  # a link to nowhere too
    try:
        with path.open("rb") as file:
            return image_format(file.read(HEADER_BYTES)) is not None
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _split_folders(folders: list[Path]) -> dict[str, Path]:
    """The split folders by split; empty if the folders are classes.

    "train" alone may be a class, next to "car" and "plane".
    """
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    splits = {SPLIT_NAMES[folder.name.lower()]: folder for folder in named}
    if "train" not in splits or not (len(named) == len(folders) or "validation" in splits):
        return {}
    if len(named) > len(splits):
        names = ", ".join(folder.name for folder in named)
        raise DataError(f"Two of the folders {names} mean the same split: keep one of them.")
    return splits
