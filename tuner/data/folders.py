"""List a folder of class folders, or of split folders that hold class folders.

DATA/CLASS/**/*                      folders below a class belong to it
DATA/{train,val,test}/CLASS/**/*     the same, with given splits; test/ may be missing
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tuner.data.listing import (
    USUAL,
    Candidate,
    Layout,
    Manifest,
    Skipped,
    class_name,
    may_be_image,
    readable,
    some,
)
from tuner.data.split_names import split_names
from tuner.decoding.formats import unread_kind
from tuner.errors import DataError

# Trash, thumbnails and snapshots of desktops, memory cards and network drives.
_SYSTEM = {
    *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000"),
    *("lost+found", "lost.dir", "__macosx", "network trash folder", "temporary items"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "~snapshot"),
    *("__pycache__", "node_modules"),
}
# Files that mark a folder as a run, an export or a cache.
_OWN = ({"settings.json", "dataset.json"}, {"export.json", "labels.json"}, {"CACHEDIR.TAG"})


def folder_manifest(root: Path, layout: Layout = USUAL) -> Manifest:
    """List the images of a folder.

    Links are followed, each folder once for each class, so that loops end.

    Raises:
        DataError: the folder is missing or unreadable, or lacks images in at least two classes.
    """
    with readable(root):
        is_folder = root.is_dir()
    if not is_folder:
        state = "is a file" if root.exists() else "does not exist"
        raise DataError(
            f"{root} {state}: name a folder that holds one folder per class, or a CSV file."
        )
    walk = _Walk(Manifest(root), layout.class_level)
    folders, images = walk.children(root)
    if splits := split_names(folder.name for folder in folders):
        walk.add_splits(splits, folders, images)
        meant = None
    else:
        part = walk.part(None, root, folders, images)
        if layout.class_level is None:
            _check_levels(root, part)
        walk.add(part)
        meant = _deeper(part)
    walk.add_notes()
    hint = f" Perhaps {meant} is the folder to name." if meant else ""
    walk.manifest.check_classes(walk.empty_note() + hint)
    return walk.manifest


def passed_over(folder: Path) -> str | None:
    """Why a folder is not searched for images: who made it; None if it is searched."""
    if folder.name.startswith(".") or folder.name.lower() in _SYSTEM:
        return "the system"
    return "this program" if _is_own(folder) or _holds_runs(folder) else None


def _holds_runs(folder: Path) -> bool:
    """Whether everything visible in a folder is a run."""
    found = False
    with suppress(OSError), os.scandir(folder) as entries:  # an error is reported by the walk
        for entry in entries:
            if not entry.name.startswith("."):
                found = entry.is_dir() and _is_own(Path(entry.path))
                if not found:
                    break
    return found


def _is_own(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in mark) for mark in _OWN)


@dataclass
class _Part:
    """The images of one split, or of all if no splits are given."""

    split: str | None
    folder: Path
    classes: dict[str, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    stray: list[Skipped] = field(default_factory=list)
    # Folders that hold images, as names below `folder`.
    places: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def count(self) -> int:
        return sum(map(len, self.classes.values())) + len(self.stray)


class _Walk:
    """Lists folders into a manifest, and notes what is passed over."""

    def __init__(self, manifest: Manifest, class_level: str | None) -> None:
        self.manifest = manifest
        self._level = class_level
        self._passed: dict[str, Counter[str]] = defaultdict(Counter)
        self._empty: list[str] = []
        self._places: set[tuple[str, ...]] = set()

    def children(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The folders and the images in a folder, sorted; counts the rest."""
        manifest = self.manifest
        with readable(folder):
            paths = sorted(folder.iterdir())
            folders = []
            for path in filter(Path.is_dir, paths):
                if (maker := passed_over(path)) is None:
                    folders.append(path)
                elif not path.name.startswith("."):
                    self._passed[maker][path.name] += 1
            visible = [path for path in paths if not path.name.startswith(".")]
            images = [path for path in visible if may_be_image(path)]
        manifest.ignored += len(paths) - len(folders) - len(images)
        for path in visible:
            if (kind := unread_kind(path.name)) and path.is_file():
                manifest.unread[kind] += 1
        return folders, images

    def part(
        self, split: str | None, folder: Path, folders: list[Path], images: list[Path]
    ) -> _Part:
        """List the class folders of a split."""
        part = _Part(split, folder)
        self._put(part, images)
        for top in folders:
            before, unread = part.count, self.manifest.unread.total()
            # Otherwise a link to a parent folder would give all its images to one class.
            seen = {_identity(path) for path in (self.manifest.root, folder, top)}
            self._put(part, self._below(top, seen))
            if part.count == before and self.manifest.unread.total() > unread:
                raise DataError(
                    f"Class {class_name(top.name)} has no images that can be read: "
                    f"{self.manifest.unread_note()}"
                )
            if part.count == before:
                self._empty.append(self._relative(top))
        return part

    def _put(self, part: _Part, paths: Iterable[Path]) -> None:
        for path in paths:
            names = path.parent.relative_to(part.folder).parts
            level = len(names) if self._level == "leaf" else int(self._level or 1)
            if len(names) >= max(level, 1):
                label = class_name("/".join(names[:level]))
                part.classes[label].append(Candidate(self._relative(path), label, part.split))
                part.places.add(names)
            else:
                reason = "it lies outside the class folders"
                part.stray.append(Skipped(self._relative(path), reason))

    def _below(self, folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
        """All images below a folder, entering each folder once."""
        waiting = [folder]
        while waiting:
            folders, images = self.children(waiting.pop())
            yield from images
            for child in folders:
                if _identity(child) not in seen:
                    seen.add(_identity(child))
                    waiting.append(child)

    def add(self, part: _Part) -> None:
        """Take the images of a part."""
        manifest = self.manifest
        manifest.stray += part.stray
        manifest.classes[part.split] = tuple(sorted(part.classes))
        for label in manifest.classes[part.split]:
            manifest.candidates += part.classes[label]
        self._places |= part.places

    def add_splits(
        self, splits: list[tuple[str, str]], folders: list[Path], images: list[Path]
    ) -> None:
        """Take the images of split folders that hold class folders."""
        manifest, names = self.manifest, dict(splits)
        if len(names) < len(splits):
            same = ", ".join(name for _, name in splits)
            raise DataError(f"Two of the folders {same} mean the same split: keep one of them.")
        manifest.stray += [
            Skipped(self._relative(path), "it lies outside the class folders") for path in images
        ]
        for split in sorted(names, key=["train", "validation", "test"].index):
            folder = manifest.root / names[split]
            part = self.part(split, folder, *self.children(folder))
            known = set(manifest.classes.get("train", ()))
            unlabelled = not part.classes or (
                len(part.classes) == 1 and not known & {*part.classes}
            )
            if split != "train" and unlabelled:
                manifest.notes.append(_unlabelled(part, names["train"]))
            else:
                self.add(part)
        for folder in folders:
            if folder.name not in names.values():
                count = sum(1 for _ in _Walk(Manifest(manifest.root), None)._below(folder, set()))
                manifest.ignored += 1
                manifest.notes.append(
                    f"The folder {folder.name} beside the splits is not read ({count:,} images)."
                )

    def add_notes(self) -> None:
        """Add notes on what was passed over."""
        notes = self.manifest.notes
        for maker, names in self._passed.items():
            shown = some(name if n == 1 else f"{name} ({n} times)" for name, n in names.items())
            notes.append(f"Folders made by {maker} are passed over: {shown}.")
        if note := self.empty_note():
            notes.append(note.strip())
        if self._level is None:
            notes += _levels_note(self._places)

    def empty_note(self) -> str:
        """A sentence on folders without images, if there are any."""
        if not self._empty:
            return ""
        return f" Folders without images are no classes: {some(self._empty)}."

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.manifest.root).as_posix()


def _unlabelled(part: _Part, train: str) -> str:
    name = part.folder.name
    state = f"holds {part.count:,} images, but not in class folders" if part.count else "is empty"
    if part.classes:
        (only,) = part.classes
        state = f"holds {part.count:,} images in one folder, {only}, which is no class of {train}"
    return (
        f"The folder {name} {state}, so that it cannot be used for {part.split}; those images are "
        f"drawn from {train} instead. Sort its images into the class folders to use them."
    )


def _levels_note(places: set[tuple[str, ...]]) -> list[str]:
    """A note on folders below classes that may be classes themselves."""
    found = [names for names in places if len(names) > 1]
    if max(Counter(names[0] for names in found).values(), default=0) < 2:
        return []
    depth = max(map(len, found))
    return [
        f"Each folder of the first level is a class; {len(found):,} folders below them hold images "
        f"too, down to level {depth}: to make those the classes, give --class-level "
        f"{'2' if depth == 2 else f'2 to {depth}'} or leaf."
    ]


def _check_levels(root: Path, part: _Part) -> None:
    """Refuse folders that are probably splits, or that hold them."""
    below: dict[str, set[str]] = defaultdict(set)
    for names in part.places:
        below[names[0]] |= {*names[1:2]}
    direct = {names[0] for names in part.places if len(names) == 1}
    tops = sorted(below.keys() - direct)
    holders = [top for top in tops if len(dict(split_names(below[top]))) > 1]
    if holders and len(holders) < max(2, len(below)):
        shown = some(sorted(below[holders[0]]))
        raise DataError(f"{root} is one folder too high: name {root / holders[0]} ({shown}).")
    same = set.intersection(*(below[top] for top in tops)) if tops else set()
    if direct or len(tops) < 2 or len(same) < max(2, 0.5 * len(set().union(*below.values()))):
        return
    raise DataError(
        f"{root} holds the folders {some(tops)}, and these hold folders of the same names "
        f"({some(sorted(same))}), so that it is not clear which are classes: name splits train, "
        "val and test, above the classes; name the one folder that is meant; or give "
        "--class-level 1, 2 or leaf."
    )


def _deeper(part: _Part) -> Path | None:
    """The folder below a single class that holds class folders or splits."""
    tops = {names[:1] for names in part.places}
    if len(tops) != 1:
        return None
    for depth in range(1, 5):
        if any(len(names) <= depth for names in part.places):
            return None
        if len({names[: depth + 1] for names in part.places}) > 1:
            return part.folder.joinpath(*next(iter(part.places))[:depth])
    return None


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
