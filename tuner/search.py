"""A whole search from settings: scan the images, make the run, decode, search; or go on with it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search_spaces import load_space
from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import can_be_cut
from tuner.augment import prepare_views
from tuner.balance import imbalance_note
from tuner.budget import TimeBudget
from tuner.cache import Cache
from tuner.dataset import Dataset, SplitOptions, digits_dataset, load_dataset
from tuner.errors import DataError, RunError, StoppedError
from tuner.hyperband import HyperbandTuner
from tuner.images import prepare_images
from tuner.mistakes import write_mistakes
from tuner.observer import SearchObserver
from tuner.oracle import declared_space, pin
from tuner.preparation import DECODING, READING, note_seconds, timed
from tuner.run import (
    Run,
    check_free,
    check_new,
    create_run,
    open_run,
    run_names,
    update_run,
)
from tuner.settings import SearchSettings
from tuner.stopping import StopRequest
from tuner.summaries import SummaryWriter

Progress = Callable[[str, int, int], None]
_WEIGHTS_FILE = "weights_file"  # note of the journal: its SHA-256


@dataclass(frozen=True)
class SearchFolders:
    """Where a search reads and writes.

    Attributes:
        runs_dir: folder of the runs.
        cache_dir: folder of decoded images and features.
        cache_limit_bytes: most that it may hold; None for what the disk has.
    """

    runs_dir: Path
    cache_dir: Path
    cache_limit_bytes: int | None = None


@dataclass(frozen=True)
class SearchControl:
    """How a search may be ended.

    Attributes:
        stop: is looked at while images are read, and after every epoch.
        begun: when the time budget begins to run, in the seconds of `time.monotonic`; None for when
            the search begins.
    """

    stop: StopRequest
    begun: float | None = None


def search(
    settings: SearchSettings,
    name: str,
    folders: SearchFolders,
    *,
    overwrite: bool = False,
    resume: bool = False,
    keep: int = 1,
    observer: SearchObserver | None = None,
    on_dataset: Callable[[Dataset], None] | None = None,
    on_progress: Progress | None = None,
    control: SearchControl | None = None,
) -> Run:
    """Searches for the best network, and keeps everything in a run.

    Nothing is written to the runs folder before data, space and weights have been found good.

    Args:
        settings: what to do.
        name: name of the run.
        folders: where to read and write.
        overwrite: whether a run of that name is replaced.
        resume: whether a run of that name is gone on with; without one it begins.
        keep: how many of the best trials keep their weights.
        observer: is told what the search does.
        on_dataset: is given the images that were found, before anything is done with them.
        on_progress: is told (what is done, done so far, of how many) while images are read.
        control: how it may be ended.

    Raises:
        InputError: settings, data, weights or run are not usable; see its subclasses.
        StoppedError: it was asked to stop; the run can be gone on with.
    """
    control = control or SearchControl(StopRequest())
    budget = TimeBudget(settings.time_budget_seconds, control.begun)
    on_progress = _stopping(on_progress, control.stop)
    run = existing_run(folders.runs_dir, name) if resume else None
    if run is None:
        check_new(folders.runs_dir, name, overwrite)
    else:
        _check_same_settings(run, settings)
    seconds: dict[str, float] = {}
    with timed(seconds, READING):
        dataset = scan(settings, folders.cache_dir, on_progress)
    if run is not None:
        _check_same_images(run, dataset)
        check_same_weights(run, settings)
        run = update_run(run, _updated(run.settings, settings), dataset)
    if on_dataset is not None:
        on_dataset(dataset)
    if run is not None and run.complete:
        if observer is not None:
            observer.note(f"The search is complete. Add to it with: {_more(run)}")
        return run
    note = imbalance(dataset, settings) if run is None else None
    if note is not None and observer is not None:
        observer.note(note)
    space = load_space(settings.space, len(dataset.classes), settings.image_size, settings.weights)
    pin(declared_space(space), settings.fixed)
    backbone = None
    if can_be_cut(space):
        backbone = PretrainedBackbone(space.build_backbone())
    with Cache(folders.cache_dir, folders.cache_limit_bytes) as cache:
        with timed(seconds, DECODING):
            views, validation = _decoded(dataset, settings, cache, on_progress)
        if run is None:
            run = create_run(folders.runs_dir, name, settings, dataset, overwrite)
            run.journal.set_notes({_WEIGHTS_FILE: _weights_digest(settings)})
        note_seconds(run.journal, seconds)
        tuner = HyperbandTuner(
            space,
            objective=settings.objective,
            max_epochs=settings.max_epochs,
            factor=settings.factor,
            hyperband_iterations=settings.iterations,
            seed=settings.seed,
            batch_size=settings.batch_size,
            fixed=settings.fixed,
            directory=folders.runs_dir,
            project_name=name,
            keep=keep,
            cache=cache,
            journal=run.journal,
            observer=observer,
            backbone=backbone,
            stop=control.stop,
            budget=budget,
            class_weights=settings.class_weights,
        )
        try:
            tuner.search(views, dataset.labels("train"), (validation, dataset.labels("validation")))
        except StoppedError as error:
            error.begun = True
            raise
        _show_mistakes(tuner.summaries, run, dataset, validation)
    return run


def _decoded(
    dataset: Dataset, settings: SearchSettings, cache: Cache, on_progress: Progress | None
) -> tuple[Sequence[np.ndarray], np.ndarray]:
    """The views of the training images, and the validation images."""
    images, validation = (
        prepare_images(
            dataset.of(split), dataset.root, settings.image_size, cache,
            _named(on_progress, f"decoding {split} images"), crop=settings.crop,
        )
        for split in ("train", "validation")
    )  # fmt: skip
    drawing = _named(on_progress, "drawing views")
    return prepare_views(images, settings.augment, settings.views, cache, drawing), validation


def _show_mistakes(
    summaries: SummaryWriter, run: Run, dataset: Dataset, validation: np.ndarray
) -> None:
    """Shows in TensorBoard what the winner takes for something else."""

    def write(folder: Path) -> None:
        direction = run.settings.direction
        write_mistakes(folder, run.journal, direction, dataset, lambda numbers: validation[numbers])

    summaries.show(write)


def existing_run(runs_dir: Path, name: str) -> Run | None:
    """The run of that name, if there is one."""
    return open_run(runs_dir, name) if name in run_names(runs_dir) else None


def imbalance(dataset: Dataset, settings: SearchSettings) -> str | None:
    """The line that tells of very unequal classes before a search, or None; see `balance`."""
    return imbalance_note(dataset.training_counts(), settings.objective, settings.class_weights)


def _check_same_settings(run: Run, settings: SearchSettings) -> None:
    """Raises RunError unless a run can be gone on with under these settings."""
    check_free(run.folder)
    asked = settings
    if settings.iterations > run.settings.iterations:
        asked = replace(settings, iterations=run.settings.iterations)  # more are added to it
    differences = run.settings.differences(asked)
    if differences:
        raise RunError(
            f"the run {run.name} was begun with other settings: {'; '.join(differences)}. Go on "
            "with the same, choose another --run, or begin again with --overwrite."
        )


def _check_same_images(run: Run, dataset: Dataset) -> None:
    """Raises DataError unless the images are those that the run was begun with."""
    before = {file.path: file for file in run.dataset(dataset.root).files}
    now = {file.path: file for file in dataset.files}
    changes = {
        "added": sorted(now.keys() - before.keys()),
        "gone": sorted(before.keys() - now.keys()),
        "altered": sorted(
            path
            for path in now.keys() & before.keys()
            if replace(now[path], group="") != replace(before[path], group="")
        ),
    }
    found = [f"{len(paths)} {what}, such as {paths[0]}" for what, paths in changes.items() if paths]
    if found:
        raise DataError(
            f"the images have changed since the run {run.name} was begun: {'; '.join(found)}. Put "
            "them back, or begin again with --overwrite."
        )


def _more(run: Run) -> str:
    return f"tune resume {run.name} --iterations {run.settings.iterations + 1}"


def check_same_weights(run: Run, settings: SearchSettings) -> None:
    """Raises RunError if a weights file is not the one that the run was begun with."""
    noted, found = run.journal.note(_WEIGHTS_FILE), _weights_digest(settings)
    if noted is not None and found is not None and noted != found:
        raise RunError(
            f"{settings.weights} does not hold the weights that the run {run.name} was begun with. "
            "Put the file back, or begin again with --overwrite."
        )


def _weights_digest(settings: SearchSettings) -> str | None:
    """Of the weights file; None where there is none, or where the space will say what is wrong."""
    path = Path(settings.weights)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _updated(noted: SearchSettings, asked: SearchSettings) -> SearchSettings:
    """A run's settings with what may have changed: where files lie, iterations, time budget."""
    # What is not there was not compared: it is refused where it is needed.
    weights = asked.weights if Path(asked.weights).is_file() else noted.weights
    return replace(asked, weights=weights)


def scan(settings: SearchSettings, cache_dir: Path, on_progress: Progress | None = None) -> Dataset:
    """Finds, checks and splits the images that the settings name.

    Raises:
        DataError: the images, or their folder, cannot be used.
    """
    progress = _named(on_progress, "reading images")
    options = SplitOptions(
        settings.val_fraction,
        settings.test_fraction,
        settings.split_seed,
        settings.drop_leaks,
        settings.keep_conflicts,
    )
    if settings.data is None:
        return digits_dataset(cache_dir, options, on_progress=progress)
    with Cache(cache_dir) as cache:
        return load_dataset(Path(settings.data), options, cache=cache, on_progress=progress)


def _stopping(on_progress: Progress | None, stop: StopRequest) -> Progress:
    def progress(what: str, done: int, count: int) -> None:
        if on_progress is not None:
            on_progress(what, done, count)
        stop.check()

    return progress


def _named(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, count: on_progress(what, done, count)
