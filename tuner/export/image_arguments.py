"""Expand arguments (files, folders, globs, stdin) into image paths."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tuner.data.folders import passed_over
from tuner.data.listing import may_be_image
from tuner.decoding.formats import unread_kind

LISTED = "-"
_PATTERN = frozenset("*?[")


def chosen_images(
    arguments: Iterable[str], listed: bytes = b"", separator: bytes = b"\n"
) -> list[Path]:
    """Expand arguments into image paths, in the order given, duplicates included.

    Example:
        chosen_images(["photos", "more/**/*.jpg"])

    Args:
        arguments: each a file; a folder, searched recursively and sorted, hidden files skipped; a
            glob; or `-` for `listed`. A path that does not exist, or a folder without images, is
            kept, to be reported as unreadable.
        listed: names of files, folders or globs, as read from standard input.
        separator: the byte after each of them.
    """
    found: list[Path] = []
    for argument in arguments:
        if argument == LISTED:
            for name in _names(listed, separator):
                found += _meant(name)
        else:
            found += _meant(argument)
    return found


def _names(listed: bytes, separator: bytes) -> Iterator[str]:
    for name in listed.split(separator):
        if separator == b"\n":
            name = name.removesuffix(b"\r")
        if name:
            yield os.fsdecode(name)


def _meant(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        return _images_below(path) or [path]
    if not os.path.lexists(path) and _PATTERN & set(name):
        return _matches(name) or [path]
    return [path]


def _matches(pattern: str) -> list[Path]:
    """The matches of a glob; a folder stands for its images, unless `**` matches these too.

    Folders that exist as they are written are no patterns, such as "photos [2024]".
    """
    known, rest = "", pattern
    while "/" in rest and os.path.isdir(known + rest[: rest.index("/") + 1]):  # noqa: PTH112
        name, rest = rest[: rest.index("/") + 1], rest[rest.index("/") + 1 :]
        known += name
    found: list[Path] = []
    matches = glob.glob(glob.escape(known) + rest, recursive=True)  # noqa: PTH207 - any path
    for match in map(Path, sorted(matches)):
        if not match.is_dir():
            found.append(match)
        elif "**" not in pattern:
            found += _images_below(match)
    return found


def _images_below(folder: Path) -> list[Path]:
    """All images below a folder; links are followed, each folder once."""
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if _is_new(Path(parent, name), seen))
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if may_be_image(path) or unread_kind(path.name)]
    return sorted(found)


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder is to be searched, and was not before."""
    try:
        status = folder.stat()
    except OSError:
        return False
    identity = (status.st_dev, status.st_ino)
    if passed_over(folder) or identity in seen:
        return False
    seen.add(identity)
    return True
