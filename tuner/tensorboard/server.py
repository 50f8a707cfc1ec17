"""TensorBoard on runs: their folders made good from the journals, and served on this machine."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.pixel_store import prepare_images
from tuner.errors import RunError, SettingsError, TuneError
from tuner.runs.run import Run, is_writable
from tuner.storage.cache import Cache
from tuner.tensorboard.mistakes import write_mistakes
from tuner.tensorboard.writer import FOLDER, write_merged_experiment, write_summaries

if TYPE_CHECKING:  # these need TensorFlow
    import numpy as np

_LOOPBACK = "127.0.0.1"
_RELOAD_SECONDS = 2.0


@contextlib.contextmanager
def log_folder(
    runs: Sequence[Run], cache: Cache, on_note: Callable[[str], None] | None = None
) -> Iterator[Path]:
    """The folder that TensorBoard reads, up to date while the block runs.

    What a run's folder lacks, also one of an older version, is written from its journal. One that
    is being searched is left to the search, which keeps it up to date.

    Args:
        runs: one, or several to compare.
        cache: may hold the images of mistakes; those are decoded else.
        on_note: is told which images could not be read, and which of several runs are left out.

    Raises:
        RunError: there is nothing to show of any of the runs: a run has not begun to train, or its
            journal cannot be read.
    """
    on_note = on_note or _ignore
    with tempfile.TemporaryDirectory(prefix="tune-board-") as scratch:
        folders: dict[str, tuple[Run, Path]] = {}
        for run in runs:
            try:
                found = _folder_of(run, Path(scratch, "own", run.name), cache, on_note)
                folders[run.name] = run, found
            except RunError as error:
                if not folders and run is runs[-1]:
                    raise
                on_note(f"{run.name} is left out: {error}")
        yield next(iter(folders.values()))[1] if len(runs) == 1 else _together(scratch, folders)


def _together(scratch: str, folders: Mapping[str, tuple[Run, Path]]) -> Path:
    """A folder of several runs, by their names."""
    together = Path(scratch, "together")
    together.mkdir()
    write_merged_experiment(together, [run.journal for run, _ in folders.values()])
    for name, (_, folder) in folders.items():
        (together / name).symlink_to(folder)
    return together


def serve(folder: Path, port: int | None = None) -> str:
    """Serves a folder in a thread, to this machine alone, until the process ends.

    Args:
        folder: as `log_folder` gives it.
        port: to listen on; None for 6006, or the next that is free.

    Returns:
        The address.

    Raises:
        SettingsError: the port is taken, or not allowed.
    """
    from tensorboard import program

    board = program.TensorBoard()
    board.configure(
        logdir=str(folder),
        host=_LOOPBACK,
        port=port,
        load_fast="false",  # the other reader is a process of its own, and keeps what was replaced
        reload_interval=_RELOAD_SECONDS,
    )
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise SettingsError(f"{error.msg}. Choose another --port.") from error


def _folder_of(run: Run, scratch: Path, cache: Cache, on_note: Callable[[str], None]) -> Path:
    folder = (run.folder / FOLDER).absolute()
    if run.busy and folder.is_dir():
        return folder
    target = folder if is_writable(run.folder) and not run.busy else scratch
    try:
        write_summaries(target, run.journal, (run.folder / "journal.db").stat().st_mtime)
        _write_mistakes(run, target, cache, on_note)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror}.") from error
    return target


def _write_mistakes(run: Run, folder: Path, cache: Cache, on_note: Callable[[str], None]) -> None:
    settings = run.settings

    def pixels(numbers: Sequence[int]) -> "np.ndarray":
        files = dataset.of("validation")
        chosen = [files[number] for number in numbers]
        return prepare_images(chosen, dataset.root, settings.image_size, cache, crop=settings.crop)

    try:
        dataset = run.dataset()
        write_mistakes(folder, run.journal, settings.direction, dataset, pixels)
    except TuneError as error:
        on_note(f"The mistakes of {run.name} cannot be shown: {error}")


def _ignore(note: str) -> None:
    pass
