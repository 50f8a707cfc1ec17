"""Find the files that a table names, also where its spelling is not that of the disk."""

import os
import unicodedata
from collections import defaultdict
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from tuner.decoding.formats import SUFFIXES


class TablePaths:
    """Files named by a table in the folder `root`.

    A file is found in another Unicode form or letter case, without its suffix, with backslashes,
    after `~` or as a file: address, if only one file can be meant.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names = cache(_names)

    def find(self, written: str) -> str:
        """The path with `/`, relative to the root where the table has it so."""
        if written.startswith("file:"):
            written = unquote(urlsplit(written).path)
        if "://" in written:
            return written
        path = os.path.expanduser(written)  # noqa: PTH111 - of no home it makes no error
        if not self.exists(path) and "\\" in path:
            path = path.replace("\\", "/")
        if not self.exists(path) and (spelled := self._spelled(path)) is not None:
            return spelled
        return Path(path).as_posix()

    def meant(self, path: str) -> str | None:
        """The one file below the root whose name ends as that of a missing file, or None."""
        names = PurePosixPath(_key(path.replace("\\", "/"))).parts
        found = self._ends[PurePosixPath(names[-1]).stem if names else ""]
        for length in range(len(names), 0, -1):
            alike = [
                each for each in found if _bare(_key(each))[-length:] == _bare(*names[-length:])
            ]
            if alike:
                return alike[0] if len(alike) == 1 else None
        return None

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(self._root / path)  # noqa: PTH110 - never raises

    def _spelled(self, path: str) -> str | None:
        """The path as the disk spells it."""
        found = Path("/" if path.startswith("/") else "")
        for name in Path(path).parts[found.is_absolute() :]:
            names = self._names(self._root / found)
            real = name if self.exists(str(found / name)) else names.get(_key(name))
            if real is None:
                return None
            found /= real
        return found.as_posix()

    @cached_property
    def _ends(self) -> dict[str, list[str]]:
        """All files below the root by their names without suffix."""
        found: dict[str, list[str]] = defaultdict(list)
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name).relative_to(self._root).as_posix()
                found[PurePosixPath(_key(name)).stem].append(path)
        return found


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _bare(*names: str) -> tuple[str, ...]:
    """The parts of a path, the last without its suffix."""
    return PurePosixPath(*names).with_suffix("").parts


def _names(folder: Path) -> dict[str, str | None]:
    """The names in a folder by how people may write them; None where several can be meant."""
    found: dict[str, str | None] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return found
    for name in names:
        stem, suffix = os.path.splitext(name)  # noqa: PTH122
        for key in {_key(name), *([_key(stem)] if suffix.lower() in SUFFIXES else [])}:
            found[key] = None if key in found else name
    return found
