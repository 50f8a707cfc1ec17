"""A whole search from settings: begin or resume a run, decode its images, train.

Nothing is written to the runs folder before data, search space and weights were checked.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import can_be_cut
from tuner.counting import Progress
from tuner.data.dataset import Dataset
from tuner.data.imbalance import imbalance
from tuner.data.load import scan
from tuner.data.pixel_store import pixels_of
from tuner.data.views import prepare_views
from tuner.errors import StoppedError
from tuner.hyperband.pinning import declared_space, pin
from tuner.interrupt import StopRequest
from tuner.observer import SearchObserver
from tuner.runs.notes import Notes
from tuner.runs.provenance import (
    check_resumable,
    check_same_images,
    check_same_weights,
    updated_settings,
    weights_digest,
)
from tuner.runs.run import Run, check_new, create_run, existing_run, update_run
from tuner.runs.timings import DECODING, READING, note_seconds, timed
from tuner.search.components import checked_backbone
from tuner.search.tuner import HyperbandTuner
from tuner.settings import SearchFolders, SearchSettings
from tuner.storage.cache import Cache
from tuner.tensorboard.mistakes import write_mistakes
from tuner.training.network_check import check_network
from tuner.training.networks import space_of


@dataclass(frozen=True)
class Plan:
    """A search whose settings and images were checked.

    Attributes:
        settings: of the search.
        dataset: its images.
        open_run: returns the run: a resumed one, or a new one that is created by the call.
        note: for the user; None if there is nothing to say.
        seconds: wall time spent so far, by step.
        complete: whether nothing is left to train.
        backbone: with the weights of a given file; None if it is not built yet.
    """

    settings: SearchSettings
    dataset: Dataset
    open_run: Callable[[], Run]
    note: str | None
    seconds: Mapping[str, float]
    complete: bool = False
    backbone: PretrainedBackbone | None = None


@dataclass(frozen=True)
class Prepared:
    """What a search trains.

    Attributes:
        space: the search space.
        backbone: its pretrained backbone; None for a space that cannot be cut.
        views: training images, uint8, (n, image_size, image_size, 3), once for each view.
        validation: validation images, likewise.
        seconds: wall time spent so far, by step.
    """

    space: keras_tuner.HyperModel
    backbone: PretrainedBackbone | None
    views: Sequence[np.ndarray]
    validation: np.ndarray
    seconds: Mapping[str, float]


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
    stop: StopRequest | None = None,
    begun: float | None = None,
) -> Run:
    """Search for the best network, and keep everything in a run.

    Args:
        settings: of the search.
        name: name of the run.
        folders: where to read and write.
        overwrite: replace a run of that name.
        resume: resume a run of that name; begin it if there is none.
        keep: number of best trials that keep their weights.
        observer: receives the events of the search.
        on_dataset: receives the images before anything is done with them.
        stop: checked while images are read, and after every epoch.
        begun: start of the time budget, in seconds of `time.monotonic`; None for now.

    Raises:
        InputError: settings, data, weights or run cannot be used; see its subclasses.
        StoppedError: the search was stopped; the run can be resumed.

    Example:
        >>> folders = SearchFolders(Path("runs"), Path("cache"))
        >>> run = run_search(SearchSettings(data="photos"), "first", folders, resume=True)
    """
    begun = time.monotonic() if begun is None else begun
    observer, stop = observer or SearchObserver(), stop or StopRequest()
    progress = _stoppable(observer.count, stop)
    plan = begin_or_resume(
        settings, name, folders, overwrite=overwrite, resume=resume, on_progress=progress
    )
    if on_dataset is not None:
        on_dataset(plan.dataset)
    if plan.note is not None:
        observer.note(plan.note)
    if plan.complete:
        return plan.open_run()
    with Cache(folders.cache_dir, folders.cache_limit_bytes) as cache:
        prepared = prepare(plan, cache, progress)
        options = {"keep": keep, "observer": observer, "stop": stop, "begun": begun}
        return train(plan, prepared, cache=cache, **options)


def begin_or_resume(
    settings: SearchSettings,
    name: str,
    folders: SearchFolders,
    *,
    overwrite: bool,
    resume: bool,
    on_progress: Progress,
) -> Plan:
    """Check settings and images; for a resumed run against those that it was begun with.

    Args: see `run_search`.

    Raises:
        InputError: settings, data, weights file or run cannot be used.
    """
    run = existing_run(folders.runs_dir, name) if resume else None
    if run is not None:
        return _resume(run, settings, folders, on_progress)
    return _begin(settings, name, folders, overwrite, on_progress)


def _begin(
    settings: SearchSettings, name: str, folders: SearchFolders, overwrite: bool, progress: Progress
) -> Plan:
    check_new(folders.runs_dir, name, overwrite)
    backbone = checked_backbone(settings)
    dataset, seconds = _scan(settings, folders, progress)

    def create() -> Run:
        run = create_run(folders.runs_dir, name, settings, dataset, overwrite)
        run.journal.set_notes(Notes(weights_digest=weights_digest(settings)))
        return run

    return Plan(settings, dataset, create, imbalance(dataset, settings), seconds, backbone=backbone)


def _resume(run: Run, settings: SearchSettings, folders: SearchFolders, progress: Progress) -> Plan:
    check_resumable(run, settings)
    dataset, seconds = _scan(settings, folders, progress)
    check_same_images(run, dataset)
    check_same_weights(run, settings)
    run = update_run(run, updated_settings(run.settings, settings), dataset)
    note = None
    if run.complete:
        more = f"tune resume {run.name} --iterations {run.settings.iterations + 1}"
        note = f"The search is complete. Add to it with: {more}"
    return Plan(settings, dataset, lambda: run, note, seconds, run.complete)


def _scan(
    settings: SearchSettings, folders: SearchFolders, progress: Progress
) -> tuple[Dataset, dict[str, float]]:
    seconds: dict[str, float] = {}
    with timed(seconds, READING):
        dataset = scan(settings, folders.cache_dir, progress)
    return dataset, seconds


def prepare(plan: Plan, cache: Cache, on_progress: Progress) -> Prepared:
    """Build the search space, load its pretrained weights, and decode the images.

    Raises:
        InputError: space, pinned hyperparameters, weights or an image cannot be used.
    """
    settings, dataset, seconds = plan.settings, plan.dataset, dict(plan.seconds)
    num_classes = len(dataset.classes)
    space = space_of(settings, num_classes)
    declared = declared_space(space)
    declared.values |= pin(declared, settings.fixed)
    backbone = None
    if can_be_cut(space):
        backbone = plan.backbone or PretrainedBackbone(space.build_backbone())
    else:
        size = settings.image_size
        check_network(space, declared, (size, size, 3), num_classes)
    with timed(seconds, DECODING):
        images, validation = (
            pixels_of(dataset, split, settings, cache, on_progress)
            for split in ("train", "validation")
        )
        views = prepare_views(images, settings.augment, settings.views, cache, on_progress)
    return Prepared(space, backbone, views, validation, seconds)


def train(plan: Plan, prepared: Prepared, **options: Any) -> Run:
    """Run the search, or what is left of it, and write the winner's mistakes to TensorBoard.

    Raises:
        StoppedError: the search was stopped; `begun` is True.
        TuneError: see `HyperbandTuner.search`.
    """
    dataset, validation = plan.dataset, prepared.validation
    run = plan.open_run()
    note_seconds(run.journal, prepared.seconds)
    tuner = HyperbandTuner(
        prepared.space,
        plan.settings,
        directory=run.folder.parent,
        project_name=run.name,
        journal=run.journal,
        backbone=prepared.backbone,
        **options,
    )
    try:
        tuner.search(
            prepared.views, dataset.labels("train"), (validation, dataset.labels("validation"))
        )
    except StoppedError as error:
        error.begun = True
        raise

    def write(folder: Path) -> None:
        direction = run.settings.direction
        write_mistakes(folder, run.journal, direction, dataset, lambda numbers: validation[numbers])

    tuner.summaries.show(write)
    return run


def _stoppable(on_progress: Progress, stop: StopRequest) -> Progress:
    def progress(what: str, done: int, count: int) -> None:
        on_progress(what, done, count)
        stop.check()

    return progress
