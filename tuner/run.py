"""A run: one search and everything that it wrote, in one folder under the runs folder."""

import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tuner.atomic import sync_folder, write_text
from tuner.dataset import Dataset
from tuner.errors import RunError
from tuner.journal import Journal
from tuner.settings import SearchSettings


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

    def dataset(self, root: Path) -> Dataset:
        """The images and their split, as the search saw them.

        Args:
            root: folder that the images lie in.

        Raises:
            RunError: the description is missing or damaged.
        """
        path = self.folder / "dataset.json"
        try:
            return Dataset.from_json(root, json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"the dataset of run {self.name} cannot be read: {error}.") from error


def check_new(runs_dir: Path, name: str, overwrite: bool) -> None:
    """Checks that a run of that name can be begun.

    Raises:
        RunError: the name is no name for a folder, or it is taken.
    """
    if name in ("", ".", "..") or name.startswith(".") or set(name) & set("/\\:\0\n"):
        raise RunError(
            f"a run cannot be named {name!r}. Use letters, digits, '-', '_' and '.', and begin "
            "with none of the signs."
        )
    if _is_run(runs_dir / name) and not overwrite:
        raise RunError(
            f"the run {name} exists in {runs_dir}. Choose another --run, or pass --overwrite to "
            "replace it."
        )
    if (runs_dir / name).exists() and not _is_run(runs_dir / name):
        raise RunError(f"{runs_dir / name} exists and is not a run. Choose another --run.")


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
        write_text(new / "dataset.json", json.dumps(dataset.to_json(), ensure_ascii=False))
        Journal.create(new / "journal.db").close()
        if folder.exists():
            old = runs_dir / f".{name}.old.{os.getpid()}"
            folder.rename(old)
            new.rename(folder)
            shutil.rmtree(old)
        else:
            new.rename(folder)
        sync_folder(runs_dir)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise RunError(f"the run folder {folder} cannot be written: {error.strerror}.") from error
    return Run(folder, settings)


def open_run(runs_dir: Path, name: str | None = None) -> Run:
    """Opens a run.

    Args:
        runs_dir: folder of the runs.
        name: the run's name; None for the newest.

    Raises:
        RunError: there is no such run, or none at all.
    """
    names = run_names(runs_dir)
    if not names:
        raise RunError(f"there are no runs in {runs_dir}. Begin one with: tune search DATA")
    if name is not None and name not in names:
        raise RunError(f"there is no run {name} in {runs_dir}. Choose {', '.join(names)}.")
    folder = runs_dir / (name or names[0])
    return Run(folder, SearchSettings.load(folder / "settings.json"))


def run_names(runs_dir: Path) -> list[str]:
    """Names of the runs, the newest first."""
    if not runs_dir.is_dir():
        return []
    folders = [folder for folder in runs_dir.iterdir() if _is_run(folder)]
    newest = sorted(folders, key=lambda folder: (folder / "settings.json").stat().st_mtime)
    return [folder.name for folder in reversed(newest)]


def _is_run(folder: Path) -> bool:
    return not folder.name.startswith(".") and (folder / "settings.json").is_file()
