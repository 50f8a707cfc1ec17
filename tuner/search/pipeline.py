"""A whole search from settings: scan the images, make the run, decode, search; or go on with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import can_be_cut
from tuner.counting import Progress, named
from tuner.data.dataset import Dataset
from tuner.data.imbalance import imbalance
from tuner.data.load import scan
from tuner.data.pixel_store import prepare_images
from tuner.data.views import prepare_views
from tuner.errors import StoppedError
from tuner.hyperband.pinning import declared_space, pin
from tuner.hyperband.time_budget import TimeBudget
from tuner.interrupt import StopRequest
from tuner.observer import SearchObserver
from tuner.runs.provenance import (
    _WEIGHTS_FILE,
    _check_same_images,
    _check_same_settings,
    _more,
    _updated,
    _weights_digest,
    check_same_weights,
)
from tuner.runs.run import Run, check_new, create_run, existing_run, update_run
from tuner.runs.timings import DECODING, READING, note_seconds, timed
from tuner.search.tuner import HyperbandTuner
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache
from tuner.tensorboard.mistakes import write_mistakes
from tuner.tensorboard.writer import SummaryWriter
from tuner.training.networks import space_of


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


def run_search(
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
    space = space_of(settings, len(dataset.classes))
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
            named(on_progress, f"decoding {split} images"), crop=settings.crop,
        )
        for split in ("train", "validation")
    )  # fmt: skip
    drawing = named(on_progress, "drawing views")
    return prepare_views(images, settings.augment, settings.views, cache, drawing), validation


def _show_mistakes(
    summaries: SummaryWriter, run: Run, dataset: Dataset, validation: np.ndarray
) -> None:
    """Shows in TensorBoard what the winner takes for something else."""

    def write(folder: Path) -> None:
        direction = run.settings.direction
        write_mistakes(folder, run.journal, direction, dataset, lambda numbers: validation[numbers])

    summaries.show(write)


def _stopping(on_progress: Progress | None, stop: StopRequest) -> Progress:
    def progress(what: str, done: int, count: int) -> None:
        if on_progress is not None:
            on_progress(what, done, count)
        stop.check()

    return progress
