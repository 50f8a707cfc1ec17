"""A folder of labelled photos -> the files, their classes, and a split that can be repeated.

DATA/CLASS/**/*.jpg                 split here, by content
DATA/{train,val,test}/CLASS/**/*    kept as it is; a part that is missing is taken from train
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tuner.cache import storage_errors
from tuner.decode import DecodeError, decode, on_all_cores, read_bytes
from tuner.errors import DataError, SettingsError

SPLITS = ("train", "validation", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")

_SCHEMA = 1
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class ImageFile:
    """One image: `path` is relative to the dataset's root, with `/`; `label` is a class name."""

    path: str
    label: str
    split: str
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """An image that was left out, and a short reason such as "it is cut short"."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """The images of a folder: `classes` in the order of the labels, `files` sorted by path.

    `ignored` counts what does not look like an image: other files, hidden ones, system folders.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    skipped: tuple[Skipped, ...] = ()
    ignored: int = 0

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
        """The dataset that `to_json` described; what was skipped is not in it.

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
                ImageFile(row["path"], row["label"], row["split"], row["sha256"])
                for row in data["files"]
            )
            return cls(root or Path(data["root"]), tuple(data["classes"]), files)
        except (KeyError, TypeError) as error:
            raise DataError(f"dataset.json is damaged ({error}): start a new run.") from error


def load_dataset(
    data: Path,
    *,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    split_seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Finds, reads and splits the images of a folder.

    Every image is read and decoded once; those that cannot be are in `skipped`. The split is drawn
    within each class, in the order of a hash of `split_seed` and the content, so that it depends on
    these alone, and images that are added move few others. Byte-identical images of a class stay
    on one side.

    Args:
        data: see the top of this module for the two layouts.
        val_fraction: share of each class for validation, at least one image; above 0.
        test_fraction: share of each class for the test; 0 for no test.
        split_seed: draws another split.
        on_progress: called with the images read and the number of images.

    Raises:
        DataError: there is no such folder, or it does not hold images in at least two classes.
        SettingsError: the fractions leave nothing to validate with or to train on.
    """
    if not (val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):
        raise SettingsError(
            "val_fraction must be above 0, test_fraction at least 0 and their sum below 1, but "
            f"they are {val_fraction} and {test_fraction}."
        )
    scan = _Scan(data)
    _check_classes(scan)
    files, damaged = _read(scan, on_progress)
    _check_readable(scan, files, damaged)
    shares = {"test": test_fraction, "validation": val_fraction}
    missing = {name: share for name, share in shares.items() if name not in scan.classes and share}
    split: list[ImageFile] = []
    for (_, given), group in groupby(sorted(files, key=_class_and_split), key=_class_and_split):
        members = list(group)
        split += _carve(members, missing, split_seed) if given == "train" else members
    return Dataset(
        data,
        scan.classes["train"],
        tuple(sorted(split, key=_path)),
        tuple(sorted(scan.stray + damaged, key=_path)),
        scan.ignored,
    )


def digits_dataset(
    cache_dir: Path,
    *,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    split_seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The 1,797 handwritten digits that come with scikit-learn, as a demo that needs no download.

    They are written once, as class folders of 32 x 32 PNG files, to `cache_dir / "digits"`.

    Args:
        cache_dir: made if it is missing.
        val_fraction: as for `load_dataset`, like the others.
        test_fraction: see there.
        split_seed: see there.
        on_progress: see there.

    Raises:
        CacheError: `cache_dir` is full, or may not be written.
    """
    folder = cache_dir / "digits"
    if not folder.is_dir():
        with storage_errors(cache_dir):
            cache_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache_dir, prefix="digits.") as temporary:
                written = Path(temporary, "digits")
                _write_digits(written)
                try:
                    written.rename(folder)
                except OSError:
                    if not folder.is_dir():  # else another process was faster, with the same files
                        raise
    return load_dataset(
        folder,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        on_progress=on_progress,
    )


class _Scan:
    """What a folder holds by name alone: nothing has been read yet.

    `classes` has the class names of each split that the folder gives, always of "train".
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.candidates: list[ImageFile] = []
        self.stray: list[Skipped] = []
        self.ignored = 0
        self.classes: dict[str, tuple[str, ...]] = {}
        if not _is_folder(root):
            state = "is a file" if root.exists() else "does not exist"
            raise DataError(f"{root} {state}: name a folder that holds one folder per class.")
        folders, images = self._children(root)
        splits = _split_folders(folders)
        if not splits:
            self._add_split("train", folders, images)
            return
        self._add_stray(images)
        self.ignored += len(folders) - len(splits)
        for split, folder in splits.items():
            self._add_split(split, *self._children(folder))

    def _add_split(self, split: str, folders: list[Path], images: list[Path]) -> None:
        self._add_stray(images)
        self.classes[split] = tuple(folder.name for folder in folders)
        for folder in folders:
            # Without these, a link to a folder above would give its images of all classes to one.
            seen = {_identity(path) for path in (self.root, folder.parent, folder)}
            self.candidates += [
                ImageFile(self._relative(path), folder.name, split, sha256="")
                for path in self._images(folder, seen)
            ]

    def _add_stray(self, images: list[Path]) -> None:
        reason = "it lies outside the class folders"
        self.stray += [Skipped(self._relative(path), reason) for path in images]

    def _images(self, folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
        """All images below a folder, entering each folder once: a loop of links ends."""
        folders, images = self._children(folder)
        yield from images
        for child in folders:
            if _identity(child) not in seen:
                seen.add(_identity(child))
                yield from self._images(child, seen)

    def _children(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The folders and the images in a folder, sorted; counts the rest."""
        with _readable(folder):
            paths = sorted(folder.iterdir())
            visible = [path for path in paths if path.name[0] != "." and path.name != "__MACOSX"]
            folders = [path for path in visible if path.is_dir()]
            images = [path for path in visible if _is_candidate(path)]
        self.ignored += len(paths) - len(folders) - len(images)
        return folders, images

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Says what is wrong where a folder, or what it holds, may not be looked at."""
    try:
        yield
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise DataError(f"{folder} cannot be read: {detail}.") from error


def _is_folder(path: Path) -> bool:
    with _readable(path):
        return path.is_dir()


def _is_candidate(path: Path) -> bool:
    # A link to nowhere is one, so that it is reported. A device or a pipe would never end.
    return path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists())


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _split_folders(folders: list[Path]) -> dict[str, Path]:
    """The folders that are splits, by split; empty where the folders are classes.

    "train" alone may be a class, beside "car" and "plane".
    """
    named = [folder for folder in folders if folder.name.lower() in _SPLIT_FOLDERS]
    splits = {_SPLIT_FOLDERS[folder.name.lower()]: folder for folder in named}
    if "train" not in splits or not (len(named) == len(folders) or "validation" in splits):
        return {}
    if len(named) > len(splits):
        names = ", ".join(folder.name for folder in named)
        raise DataError(f"Two of the folders {names} mean the same split: keep one of them.")
    return splits


def _check_classes(scan: _Scan) -> None:
    classes = scan.classes["train"]
    if not classes:
        state = "its images lie directly in it" if scan.stray else "it holds none"
        raise DataError(
            f"{scan.root} must hold one folder per class, but {state}: "
            "move the images of each class into a folder with the name of the class."
        )
    for split, others in scan.classes.items():
        if different := sorted(set(classes) ^ set(others)):
            raise DataError(
                f"The training and {split} folders must have the same classes, but only one of "
                f"them has {', '.join(different)}."
            )
    if len(classes) == 1:
        raise DataError(
            f"{scan.root} has one class, {classes[0]}, but at least two are needed: add the folder "
            "of another class, or name the folder that holds the class folders."
        )


def _read(
    scan: _Scan, on_progress: Callable[[int, int], None] | None
) -> tuple[list[ImageFile], list[Skipped]]:
    """The candidates that can be decoded, with their hashes, and those that cannot."""
    files: list[ImageFile] = []
    damaged: list[Skipped] = []
    read = on_all_cores(partial(_read_file, scan.root), scan.candidates)
    for done, result in enumerate(read, start=1):
        if isinstance(result, Skipped):
            damaged.append(result)
        else:
            files.append(result)
        if on_progress is not None:
            on_progress(done, len(scan.candidates))
    return files, damaged


def _read_file(root: Path, candidate: ImageFile) -> ImageFile | Skipped:
    try:
        data = read_bytes(root / candidate.path)
        decode(data)
    except DecodeError as error:
        return Skipped(candidate.path, error.reason)
    return replace(candidate, sha256=hashlib.sha256(data).hexdigest())


def _check_readable(scan: _Scan, files: list[ImageFile], damaged: list[Skipped]) -> None:
    if damaged and not files:
        raise DataError(
            f"None of the {len(damaged)} images in {scan.root} can be read; the first, "
            f"{damaged[0].path}: {damaged[0].reason}."
        )
    found = Counter((file.label, file.split) for file in scan.candidates)
    readable = {(file.label, file.split) for file in files}
    for split, classes in scan.classes.items():
        for name in classes:
            if (name, split) not in readable:
                many = found[name, split]
                state = f"none of its {many} can be read" if many else "it has none"
                raise DataError(
                    f"Class {name} needs {split} images, but {state}: add some or remove the class."
                )


def _carve(files: list[ImageFile], shares: dict[str, float], seed: int) -> list[ImageFile]:
    """Splits one class: its different contents, in the order of their hashes, fill split by split.

    What is left is for training, which keeps at least one, as does every split.
    """
    contents = {file.sha256 for file in files}
    ranked = sorted(contents, key=lambda sha: hashlib.sha256(f"{seed}:{sha}".encode()).digest())
    least = 1 + len(shares)
    if len(ranked) < least:
        raise DataError(
            f"Class {files[0].label} has {len(ranked)} different images to split, but needs at "
            f"least {least}, for {', '.join(['train', *shares])}: add some or remove the class."
        )
    split_of: dict[str, str] = {}
    for later, (split, share) in enumerate(shares.items(), start=1):
        wanted = max(1, round(len(ranked) * share))
        end = min(len(split_of) + wanted, len(ranked) - (least - later))
        split_of |= dict.fromkeys(ranked[len(split_of) : end], split)
    return [replace(file, split=split_of.get(file.sha256, "train")) for file in files]


def _class_and_split(file: ImageFile) -> tuple[str, str]:
    return file.label, file.split


def _path(item: ImageFile | Skipped) -> str:
    return item.path


def _write_digits(folder: Path) -> None:
    """Grey values 0 to 16 become 0 to 255, each pixel a square of four by four."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    for number, (pixels, label) in enumerate(zip(grey, labels, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Stored, since the bytes of a compressed file differ between versions of zlib, and the
        # split with them.
        image = Image.fromarray(pixels.repeat(4, axis=0).repeat(4, axis=1))
        image.save(path, compress_level=0)
