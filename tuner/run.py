"""A run: one search and everything that it wrote, in one folder under the runs folder."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tuner.atomic import sync, write_text
from tuner.dataset import SPLITS, Dataset
from tuner.errors import RunError, SettingsError
from tuner.journal import Journal
from tuner.settings import SearchSettings

# 60 letters of up to four bytes, a prefix and a process id fit into a file name of 255 bytes.
_NAME = re.compile(r"\w[\w.-]{0,59}")


@dataclass(frozen=True)
class Run:
    """An existing run.

    Attributes:
        folder: the run's folder.
        settings: what the search was asked to do.
    """

    folder: Path
    settings: SearchSettings

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.folder.name

    @cached_property
    def journal(self) -> Journal:
        """The run's journal, open for reading and writing."""
        return Journal.open(self.folder / "journal.db")

    def dataset(self, root: Path | None = None) -> Dataset:
        """The images and their split, as the search saw them.

        Args:
            root: folder that the images lie in; None for where they were.

        Raises:
            RunError: the description is missing or damaged.
            DataError: it is not complete, or was written by a newer version.
        """
        path = self.folder / "dataset.json"
        try:
            dataset = Dataset.from_json(root, json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}.") from error
        labels = {file.label for file in dataset.files}
        if not all(map(dataset.of, SPLITS)) or labels != set(dataset.classes):
            raise RunError(f"{path} is damaged: a split or a class has no images.")
        return dataset


def check_new(runs_dir: Path, name: str, overwrite: bool) -> None:
    """Checks that a run of that name can be begun.

    Raises:
        RunError: the name is no name for a folder, it is taken, or nothing can be written there.
    """
    if not _NAME.fullmatch(name):
        raise RunError(
            f"a run cannot be named {name!r}. Use up to 60 letters, digits, '_', '-' and '.', and "
            "begin with a letter or a digit."
        )
    folder = runs_dir / name
    if _is_run(folder) and not overwrite:
        raise RunError(
            f"the run {name} exists in {runs_dir}. Choose another --run, or pass --overwrite to "
            "replace it."
        )
    if os.path.lexists(folder) and not _is_run(folder):
        raise RunError(f"{folder} exists and is not a run. Choose another --run.")
    if not is_writable(runs_dir):
        raise RunError(f"the runs folder {runs_dir} cannot be written. Choose another --runs-dir.")


def is_writable(folder: Path) -> bool:
    """Whether a folder is there, or can be made, and files can be written to it."""
    path = nearest_existing(folder)
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists, absolute."""
    path = path.absolute()
    while not os.path.lexists(path):
        path = path.parent
    return path


def create_run(
    runs_dir: Path, name: str, settings: SearchSettings, dataset: Dataset, overwrite: bool
) -> Run:
    """Makes the run's folder with settings, dataset and an empty journal, all at once.

    Raises:
        RunError: as `check_new` raises it, or the folder cannot be written.
    """
    check_new(runs_dir, name, overwrite)
    folder = runs_dir / name
    new = runs_dir / f".{name}.{os.getpid()}"
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        write_text(new / "settings.json", settings.to_json())
        # As ASCII: a file's name may hold bytes that are no text.
        write_text(new / "dataset.json", json.dumps(dataset.to_json()))
        Journal.create(new / "journal.db").close()
        _put(new, folder)
        sync(runs_dir)
    except OSError as error:
        raise RunError(
            f"the run folder {folder} cannot be written: {error.strerror or error}."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Run(folder, settings)


def _put(new: Path, folder: Path) -> None:
    """Gives a folder its name; what had that name goes only once that has succeeded."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name(f"{new.name}.old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def open_run(runs_dir: Path, name: str | None = None) -> Run:
    """Opens a run.

    Args:
        runs_dir: folder of the runs.
        name: the run's name; None for the newest.

    Raises:
        RunError: there is no such run, none at all, or its settings cannot be read.
    """
    names = run_names(runs_dir)
    if not names:
        raise RunError(f"there are no runs in {runs_dir}. Begin one with: tune search DATA")
    if name is not None and name not in names:
        newest = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise RunError(f"there is no run {name} in {runs_dir}. Choose {newest}.")
    folder = runs_dir / (name or names[0])
    path = folder / "settings.json"
    try:
        return Run(folder, SearchSettings.load(path))
    except SettingsError as error:  # a value out of its range
        raise RunError(f"{path} is damaged: {str(error).rstrip('.')}.") from error


def run_names(runs_dir: Path) -> list[str]:
    """Names of the runs, the newest first."""
    if not runs_dir.is_dir():
        return []
    folders = [folder for folder in runs_dir.iterdir() if _is_run(folder)]
    newest = sorted(folders, key=lambda folder: (folder / "settings.json").stat().st_mtime)
    return [folder.name for folder in reversed(newest)]


def _is_run(folder: Path) -> bool:
    return not folder.name.startswith(".") and (folder / "settings.json").is_file()
