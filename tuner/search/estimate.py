"""Estimate the schedule, time and disk space of a search without running it."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import UNFREEZE_BLOCKS, Configuration, ResNet50Space, can_be_cut
from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset
from tuner.data.imbalance import imbalance
from tuner.data.load import scan
from tuner.features.shards import rows_on_disk
from tuner.features.store import FeatureStore
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.pinning import declared_space
from tuner.hyperband.schedule import Schedule
from tuner.hyperband.time_budget import TimeBudget
from tuner.hyperband.time_left import TimeEstimator
from tuner.runs.journal import Journal
from tuner.search.components import checked_backbone, make_oracle
from tuner.settings import SearchFolders, SearchSettings
from tuner.storage.cache import Cache
from tuner.training.networks import space_of
from tuner.training.sources import epoch_seconds


@dataclass(frozen=True)
class Estimate:
    """The cost of a search.

    Attributes:
        schedule: what it would train, shortened to the time budget if there is one.
        preparation_seconds: time to compute features, without decoding; None if unknown.
        training_seconds: time after it; None if unknown.
        stored_bytes: size of the stored features.
        imbalance: warning about very unequal classes, or None.
    """

    schedule: Schedule
    preparation_seconds: float | None
    training_seconds: float | None
    stored_bytes: int
    imbalance: str | None = None


def estimate(
    settings: SearchSettings,
    folders: SearchFolders,
    on_dataset: Callable[[Dataset], None] | None = None,
    on_progress: Progress = silent,
) -> Estimate:
    """Estimate a search by timing one pass through the network; creates no run.

    Args:
        settings: of the search.
        folders: where it would read and write.
        on_dataset: receives the images before anything is done with them.
        on_progress: called while images are read.

    Raises:
        InputError: settings, data or weights cannot be used; see its subclasses.
    """
    checked_backbone(settings)
    dataset = scan(settings, folders.cache_dir, on_progress)
    if on_dataset is not None:
        on_dataset(dataset)
    space = space_of(settings, len(dataset.classes))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.create(Path(folder, "journal.db"))
        oracle = make_oracle(settings, space, declared_space(space), journal)
        return _estimate(settings, folders, dataset, space, oracle)


def _estimate(
    settings: SearchSettings,
    folders: SearchFolders,
    dataset: Dataset,
    space: ResNet50Space,
    oracle: JournalOracle,
) -> Estimate:
    note = imbalance(dataset, settings)
    if not can_be_cut(space):
        return Estimate(oracle.schedule, None, None, 0, note)
    with Cache(folders.cache_dir, folders.cache_limit_bytes) as cache:
        store = FeatureStore(PretrainedBackbone(space.build_backbone()).lend(0), cache)
    training, validation = len(dataset.of("train")), len(dataset.of("validation"))
    rows = settings.views * rows_on_disk(training) + rows_on_disk(validation)
    store.measure(settings.image_size)
    store.choose_stored(
        oracle.expected_epochs("unfreeze_blocks", UNFREEZE_BLOCKS), rows, settings.image_size
    )

    def seconds_of_epoch(hyperparameters: Mapping[str, Any]) -> float:
        configuration = Configuration.of(hyperparameters)
        return epoch_seconds(store, configuration, training, validation, settings.batch_size)

    estimator = TimeEstimator(oracle, seconds_of_epoch)

    def seconds_of(schedule: Schedule) -> float:
        return estimator.schedule_seconds(schedule) or 0.0

    schedule, preparation = oracle.schedule, rows * store.preparation_seconds()
    if settings.time_budget_seconds is not None:
        budget = TimeBudget(max(0.0, settings.time_budget_seconds - preparation))
        schedule = budget.planned(schedule, settings.factor, seconds_of)
    stored_bytes = rows * store.bytes_each()
    return Estimate(schedule, preparation, seconds_of(schedule), stored_bytes, note)
