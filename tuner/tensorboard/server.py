"""TensorBoard on runs: their folders rebuilt from the journals, and served on localhost."""

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
def log_folder(runs: Sequence[Run], cache: Cache, on_note: Callable[[str], None]) -> Iterator[Path]:
    """The folder that TensorBoard reads, valid inside the block.

    A run's folder is rebuilt from its journal, unless the run is searching: then the search keeps
    it up to date.

    Raises:
        RunError: nothing to show: no run has begun to train, or no journal can be read.
    """
    with tempfile.TemporaryDirectory(prefix="tune-board-") as scratch:
        folders: dict[str, tuple[Run, Path]] = {}
        for run in runs:
            try:
                found = _folder_of(run, Path(scratch, "own", run.name), cache, on_note)
                folders[run.name] = run, found
            except RunError as error:
                if not folders and run is runs[-1]:
                    raise
                on_note(f"{run.name} is skipped: {error}")
        yield next(iter(folders.values()))[1] if len(runs) == 1 else _together(scratch, folders)


def _together(scratch: str, folders: Mapping[str, tuple[Run, Path]]) -> Path:
    """A folder with links to several runs."""
    together = Path(scratch, "together")
    together.mkdir()
    write_merged_experiment(together, [run.journal for run, _ in folders.values()])
    for name, (_, folder) in folders.items():
        (together / name).symlink_to(folder)
    return together


def serve(folder: Path, port: int | None = None) -> str:
    """Serve a folder on localhost, in a thread that ends with the process.

    Args:
        folder: of `log_folder`.
        port: None for 6006 or the next free one.

    Returns:
        The URL.

    Raises:
        SettingsError: the port is taken, or not allowed.
    """
    from tensorboard import program

    board = program.TensorBoard()
    board.configure(
        logdir=str(folder),
        host=_LOOPBACK,
        port=port,
        load_fast="false",  # the fast reader would keep replaced files
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
