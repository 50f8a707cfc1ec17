"""A run: one search and everything that it wrote, in a folder of its own below the runs folder."""

import contextlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tuner.command_lines import search_command
from tuner.data.dataset import Dataset
from tuner.data.splits import SPLITS
from tuner.errors import DataError, RunError
from tuner.runs.journal import Journal, is_unused
from tuner.runs.journal_file import check_path, is_journal, salvage
from tuner.runs.lock import check_free, lock_file, sole_writer, writing_to
from tuner.runs.ranking import rank
from tuner.runs.records import FAILED, TrialRecord
from tuner.settings import SearchSettings
from tuner.storage import locks
from tuner.storage.atomic import read_text, sync, write_text
from tuner.storage.disk import nearest_existing

# 60 characters of up to 4 bytes, a prefix and a process id fit into a file name of 255 bytes.
_NAME = re.compile(r"\w[\w.-]{0,59}")


@dataclass(frozen=True)
class Run:
    """An existing run: its folder, and the settings of its search.

    Example:
        >>> run = open_run(Path("runs"))  # the newest
        >>> winner_of(run).score
    """

    folder: Path
    settings: SearchSettings

    @property
    def name(self) -> str:
        """Name of the run and of its folder."""
        return self.folder.name

    @cached_property
    def journal(self) -> Journal:
        """The run's journal; read-only if the folder cannot be written."""
        return Journal.open(self.folder / "journal.db", read_only=not is_writable(self.folder))

    @property
    def complete(self) -> bool:
        """Whether the search has finished all Hyperband iterations."""
        return self.journal.notes().finished_iterations == self.settings.iterations

    def salvaged(self) -> list[TrialRecord]:
        """Trials that can still be read from a damaged journal."""
        return salvage(self.folder / "journal.db")

    @property
    def busy(self) -> bool:
        """Whether a process is searching in this run."""
        return locks.is_taken(lock_file(self.folder))

    @contextlib.contextmanager
    def reading_images(self) -> Iterator[None]:
        """Name the remedy in a DataError of the `with` block if the images have moved."""
        try:
            yield
        except DataError as error:
            if self.settings.data is None or Path(self.settings.data).exists():
                raise
            command = search_command(replace(self.settings, data="NEW"), self.name)
            runs_dir = str(self.folder.parent)
            place = [] if runs_dir == "runs" else ["--runs-dir", runs_dir]
            raise DataError(
                f"the images of the run {self.name} are no longer in {self.settings.data}. If they "
                f"moved to NEW, run: {command} {shlex.join(['--resume', *place])}"
            ) from error

    def dataset(self, root: Path | None = None) -> Dataset:
        """The images and their split as in the search, read from `root` if it is given."""
        path = self.folder / "dataset.json"
        try:
            dataset = Dataset.from_json(root, json.loads(read_text(path)))
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path} is damaged: {error}.") from error
        labels = {file.label for file in dataset.files}
        splits = [name for name in SPLITS if name != "test" or self.settings.test_fraction]
        if not all(map(dataset.of, splits)) or labels != set(dataset.classes):
            raise RunError(f"{path} is damaged: a split or a class has no images.")
        return dataset


def check_new(runs_dir: Path, name: str, overwrite: bool) -> None:
    """Raise RunError unless a run with this name can be created."""
    if not _NAME.fullmatch(name):
        raise RunError(
            f"a run cannot be named {name!r}. Use up to 60 letters, digits, '_', '-' and '.', and "
            "begin with one of the first three."
        )
    folder = runs_dir / name
    check_path(runs_dir / f".{name}.1234567.new" / ".journal.db.1234567")  # while it is made
    if _is_run(folder) and not overwrite:
        raise RunError(
            f"the run {name} exists in {runs_dir}. Go on with it by --resume, replace it by "
            "--overwrite, or choose another --run."
        )
    check_free(folder)
    if os.path.lexists(folder) and not _is_run(folder):
        raise RunError(f"{folder} exists and is not a run. Choose another --run.")
    if not is_writable(runs_dir):
        raise RunError(f"the runs folder {runs_dir} cannot be written. Choose another --runs-dir.")


def is_writable(folder: Path) -> bool:
    """Whether files can be written to a folder, which exists or can be made."""
    path = nearest_existing(folder)
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def create_run(
    runs_dir: Path, name: str, settings: SearchSettings, dataset: Dataset, overwrite: bool
) -> Run:
    """Create a run's folder with settings, dataset and an empty journal, atomically."""
    check_new(runs_dir, name, overwrite)
    folder = runs_dir / name
    new = runs_dir / f".{name}.{os.getpid()}.new"
    try:
        with writing_to(folder):
            _remove_leftovers(runs_dir, name)
            new.mkdir(parents=True)
            write_text(new / "settings.json", settings.to_json())
            # ASCII, since a file name may hold bytes that are not valid UTF-8.
            write_text(new / "dataset.json", json.dumps(dataset.to_json()))
            Journal.create(new / "journal.db").close()
            _put(new, folder)
            sync(runs_dir)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Run(folder, settings)


def update_run(run: Run, settings: SearchSettings, dataset: Dataset) -> Run:
    """Save changed settings and the images' new folder; return the updated run."""
    with writing_to(run.folder):
        if settings.data != run.settings.data:
            write_text(run.folder / "dataset.json", json.dumps(dataset.to_json()))
        if settings != run.settings:
            write_text(run.folder / "settings.json", settings.to_json())
    return Run(run.folder, settings)


def _put(new: Path, folder: Path) -> None:
    """Rename a new folder into place; a folder that it replaces is removed last."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_suffix(".old")
    with sole_writer(folder):
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_leftovers(runs_dir: Path, name: str) -> None:
    """Remove what killed processes left of creating or removing a run with this name."""
    for path in runs_dir.glob(f".{name}.*"):
        made_by = re.fullmatch(rf"\.{re.escape(name)}\.(\d+)\.(new|old)", path.name)
        if made_by and not _is_another_process(int(made_by[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_another_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid != os.getpid()


def open_run(runs_dir: Path, name: str | None = None) -> Run:
    """Open the run of this name, or the newest; RunError if there is none, or it is damaged."""
    names = run_names(runs_dir)
    if not names:
        raise RunError(f"there are no runs in {runs_dir}. Begin one with: tune search DATA")
    if name is not None and name not in names:
        newest = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise RunError(f"there is no run {name} in {runs_dir}. Choose {newest}.")
    folder = runs_dir / (name or names[0])
    return Run(folder, SearchSettings.load(folder / "settings.json"))


def delete_run(folder: Path) -> None:
    """Remove a run's folder; it is renamed first, so that no half of it keeps the name."""
    grave = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        with sole_writer(folder):
            folder.rename(grave)
        shutil.rmtree(grave)
    except OSError as error:
        raise RunError(f"{folder} cannot be removed: {error.strerror}.") from error


def run_names(runs_dir: Path) -> list[str]:
    """Names of the runs, newest first."""
    if not runs_dir.is_dir():
        return []
    folders = [folder for folder in runs_dir.iterdir() if _is_run(folder)]
    newest = sorted(folders, key=lambda folder: (folder / "settings.json").stat().st_mtime)
    return [folder.name for folder in reversed(newest)]


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run, perhaps a damaged one: other programs have a settings.json too."""
    settings, others = folder / "settings.json", (folder / "journal.db", folder / "dataset.json")
    if folder.name.startswith(".") or not settings.is_file():
        return False
    ours = SearchSettings.wrote(settings) and any(path.is_file() for path in others)
    return ours or is_journal(folder / "journal.db")


def winner_of(run: Run) -> TrialRecord:
    """The best trial so far; RunError if none has finished."""
    trials = run.journal.trials()
    ranked = rank(trials, run.settings.direction)
    if ranked:
        return ranked[0]
    failed = [trial for trial in trials if trial.status == FAILED]
    if failed and len(failed) == len(trials):
        reason = (failed[-1].message or "unknown")[:300].rstrip(".")
        raise RunError(f"every trial of run {run.name} failed, the last one with: {reason}.")
    raise RunError(
        f"no trial of run {run.name} has finished yet. Wait for it, or go on with: "
        f"tune resume {run.name}"
    )


def open_journal(folder: Path, overwrite: bool, resume: bool) -> Journal:
    """Open a journal to resume, or create an empty one in a new folder."""
    path = folder / "journal.db"
    if resume and path.exists():
        return Journal.open(path)
    if folder.exists() and not (folder.is_dir() and is_unused(folder)):
        if not is_journal(path):
            raise RunError(f"{folder} exists and is not a run. Choose another project_name.")
        if not overwrite:
            raise RunError(
                f"the run {folder} exists. Pass resume=True to go on with it, overwrite=True to "
                "replace it, or choose another project_name."
            )
        delete_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return Journal.create(path)


def existing_run(runs_dir: Path, name: str) -> Run | None:
    """Open the run with this name, or return None if there is none."""
    return open_run(runs_dir, name) if name in run_names(runs_dir) else None
