"""A whole search from settings: scan the images, make the run, decode, search."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search_spaces import load_space
from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import can_be_cut
from tuner.augment import prepare_views
from tuner.cache import Cache
from tuner.dataset import Dataset, digits_dataset, load_dataset
from tuner.hyperband import HyperbandTuner, SearchObserver
from tuner.images import prepare_images
from tuner.oracle import declared_space, pin
from tuner.run import Run, check_new, create_run
from tuner.settings import SearchSettings

Progress = Callable[[str, int, int], None]


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


def search(
    settings: SearchSettings,
    name: str,
    folders: SearchFolders,
    *,
    overwrite: bool = False,
    keep: int = 1,
    observer: SearchObserver | None = None,
    on_dataset: Callable[[Dataset], None] | None = None,
    on_progress: Progress | None = None,
) -> Run:
    """Searches for the best network, and keeps everything in a new run.

    Nothing is written to the runs folder before data, space and weights have been found good.

    Args:
        settings: what to do.
        name: name of the run.
        folders: where to read and write.
        overwrite: whether a run of that name is replaced.
        keep: how many of the best trials keep their weights.
        observer: is told what the search does.
        on_dataset: is given the images that were found, before anything is done with them.
        on_progress: is told (what is done, done so far, of how many) while images are read.

    Raises:
        InputError: settings, data, weights or run are not usable; see its subclasses.
    """
    check_new(folders.runs_dir, name, overwrite)
    dataset = scan(settings, folders.cache_dir, on_progress)
    if on_dataset is not None:
        on_dataset(dataset)
    space = load_space(settings.space, len(dataset.classes), settings.image_size, settings.weights)
    pin(declared_space(space), settings.fixed)
    backbone = None
    if can_be_cut(space):
        backbone = PretrainedBackbone(space.build_backbone())
    with Cache(folders.cache_dir, folders.cache_limit_bytes) as cache:
        images, validation = (
            prepare_images(
                dataset.of(split), dataset.root, settings.image_size, cache,
                _named(on_progress, f"decoding {split} images"),
            )
            for split in ("train", "validation")
        )  # fmt: skip
        views = prepare_views(
            images, settings.augment, settings.views, cache, _named(on_progress, "drawing views")
        )
        run = create_run(folders.runs_dir, name, settings, dataset, overwrite)
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
        )
        tuner.search(views, dataset.labels("train"), (validation, dataset.labels("validation")))
    return run


def scan(settings: SearchSettings, cache_dir: Path, on_progress: Progress | None = None) -> Dataset:
    """Finds, checks and splits the images that the settings name.

    Raises:
        DataError: the images, or their folder, cannot be used.
    """
    progress = _named(on_progress, "reading images")
    if settings.data is None:
        load = functools.partial(digits_dataset, cache_dir)
    else:
        load = functools.partial(load_dataset, Path(settings.data))
    return load(
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
        split_seed=settings.split_seed,
        on_progress=progress,
    )


def _named(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, count: on_progress(what, done, count)
