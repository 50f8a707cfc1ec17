"""Refit: train the winner's configuration again, on all images but the test images.

After the search, validation images may train too, and a folder may have grown. The refitted network
has no validation accuracy; its test images stay held out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, can_be_cut
from tuner.counting import Progress
from tuner.data.dataset import Dataset, ImageFile, group_of
from tuner.data.load import scan
from tuner.data.pixel_store import pixels_of
from tuner.data.views import prepare_views
from tuner.errors import DataError, TuneError
from tuner.evaluate.access_log import access_now, log_access
from tuner.evaluate.leaked_images import Leaked, leaked
from tuner.features.shards import BATCH
from tuner.hyperband.pinning import declared_space
from tuner.metrics.scores import balanced_accuracy
from tuner.runs.provenance import check_same_weights
from tuner.runs.records import TrialRecord, trial_name
from tuner.runs.run import Run
from tuner.storage.cache import Cache
from tuner.text import counted
from tuner.training.class_weights import balanced_weights
from tuner.training.networks import network_with, space_of
from tuner.training.rows import Rows
from tuner.training.sources import FromFeatures, FromImages, Images, Source


@dataclass(frozen=True)
class Refit:
    """A network trained on everything but the test images.

    Attributes:
        network: from RGB values 0 to 255, (batch, image_size, image_size, 3), to probabilities;
            uncompiled.
        dataset: its training and test images; no validation images.
        trial: the winner.
        added: the number of images added since the search.
        test_accuracy: 0 to 1.
        test_balanced_accuracy: mean recall of the classes, 0 to 1.
        leaked: test images with copies among the training images.
    """

    network: keras.Model
    dataset: Dataset
    trial: TrialRecord
    added: int
    test_accuracy: float
    test_balanced_accuracy: float
    leaked: Leaked

    @property
    def sentence(self) -> str:
        """How it was trained, and what its accuracy is measured on."""
        trained, tested = (len(self.dataset.of(split)) for split in ("train", "test"))
        more = f", {self.added} of them added since the search" if self.added else ""
        epochs = counted(self.trial.epochs, "epoch")
        tests = f"{tested} held-out test images."
        if self.leaked.sentence is not None:
            tests = f"{tested} test images. {self.leaked.sentence}"
        return (
            f"Refitted for {epochs} on {trained} images, validation images included{more}; its "
            f"accuracy is measured on {tests}"
        )


def grown_dataset(run: Run, data: Path, cache_dir: Path, on_progress: Progress) -> Dataset:
    """The images of a folder that has grown, or moved, since the search.

    It is split with the search's own seed; but old test images stay test images, and old training
    and validation images never become test images. A new image follows its group: to the test if
    old test images are in it.

    Args:
        run: the run.
        data: a folder or a table, as for `tune search`.
        cache_dir: folder of cached facts about images.
        on_progress: shows scanning.

    Raises:
        DataError: it cannot be read, has other classes than the run, or has none of its images.
    """
    old = run.dataset()
    new = scan(replace(run.settings, data=str(data.absolute())), cache_dir, on_progress)
    if new.classes != old.classes:
        differing = sorted({*new.classes} ^ {*old.classes})
        raise DataError(
            f"{data} has other classes than the run {run.name}, such as {differing[0]}. Train on "
            "the same classes, or begin a new search."
        )
    before: dict[str, set[str]] = {}
    for file in old.files:
        before.setdefault(file.sha256, set()).add(file.split)
    known = set[str]().union(*(before.get(file.sha256, ()) for file in new.files))
    if not known:
        raise DataError(
            f"{data} holds none of the images of the run {run.name}. Begin a new search with it."
        )
    if "test" not in known:
        raise DataError(
            f"{data} holds none of the test images of the run {run.name}. Put them back, as "
            "nothing else can measure how good the network is."
        )
    return replace(new, files=_as_before(new.files, before))


def merged(dataset: Dataset) -> Dataset:
    """The dataset with its validation images moved to training."""
    files = [
        file if file.split == "test" else replace(file, split="train") for file in dataset.files
    ]
    return replace(dataset, files=tuple(files))


def refit(
    run: Run, trial: TrialRecord, dataset: Dataset, cache: Cache, on_progress: Progress
) -> Refit:
    """Train a trial's configuration again, for as many epochs, and test it once.

    Seeds, views, class weights and batches are those of the search.

    Args:
        run: the run.
        trial: its winner.
        dataset: the run's, or that of `grown_dataset`.
        cache: keeps images and features.
        on_progress: shows scanning.

    Raises:
        DataError: an image has changed since it was read.
        RunError: the pretrained weights are not those of the search.
        TuneError: the loss became infinite.
    """
    check_same_weights(run, run.settings)
    known = {file.sha256 for file in run.dataset().files}
    whole = merged(dataset)
    state = _train(run, trial, whole, cache, on_progress)
    network = network_with(run, trial, len(whole.classes), state)
    probabilities = network.predict(
        _pixels(run, whole, "test", cache, on_progress),
        batch_size=run.settings.batch_size,
        verbose=0,
    )
    log_access(run, trial.id, access_now(run, trial.id, whole), {})
    labels = whole.labels("test")
    right = probabilities.argmax(axis=1) == labels
    wrong = {file.path for file, hit in zip(whole.of("test"), right, strict=True) if not hit}
    return Refit(
        network,
        whole,
        trial,
        sum(file.sha256 not in known for file in whole.of("train")),
        float(right.mean()),
        balanced_accuracy(probabilities, labels),
        leaked(whole, wrong),
    )


def refit_row(refitted: Refit) -> dict[str, Any]:
    """A refit as `tune best --json` prints it and export.json keeps it."""
    return {
        "epochs": refitted.trial.epochs,
        "training_images": len(refitted.dataset.of("train")),
        "added_images": refitted.added,
        "validation_accuracy": None,
        "test_accuracy": refitted.test_accuracy,
        "test_balanced_accuracy": refitted.test_balanced_accuracy,
        "test_images": len(refitted.dataset.of("test")),
        "leaked_test_images": refitted.leaked.to_json(),
        "sentence": refitted.sentence,
    }


def _as_before(
    files: tuple[ImageFile, ...], before: Mapping[str, set[str]]
) -> tuple[ImageFile, ...]:
    """The files, each in its old split, and new ones in that of their group."""
    beside: dict[str, set[str]] = {}
    for file in files:
        beside.setdefault(group_of(file), set()).update(before.get(file.sha256, ()))
    return tuple(
        replace(file, split=_side(before.get(file.sha256), beside[group_of(file)], file.split))
        for file in files
    )


def _side(were: set[str] | None, beside: set[str], now: str) -> str:
    """The split of an image: `were` its old splits, `beside` those of its group, `now` the new one.

    In a user's own split the same bytes may be in two, and stay there.
    """
    if were is not None and now in were:
        return now
    known = beside if were is None else were
    if "test" in known:
        return "test"
    return "train" if known else now


def _train(
    run: Run, trial: TrialRecord, dataset: Dataset, cache: Cache, on_progress: Progress
) -> dict[str, np.ndarray]:
    """The trained state: see `Trainer.state`."""
    source = _source(run, trial, dataset, cache, on_progress)
    rows = source.rows(trial.hyperparameters)
    trainer = source.trainer(trial.hyperparameters, trial.id, trial.batch_size)
    for epoch in range(trial.epochs):
        metrics = trainer.run_epoch(rows.training(epoch), rows.validation)
        if not metrics.finite():
            raise TuneError(
                f"the loss became NaN or infinite in epoch {trainer.epoch} of training trial "
                f"{trial_name(trial.id)} again. Export it without --refit."
            )
        on_progress("refitting, epochs", epoch + 1, trial.epochs)
    return trainer.state(final=True)


def _source(
    run: Run, trial: TrialRecord, dataset: Dataset, cache: Cache, on_progress: Progress
) -> Source:
    settings = run.settings
    space = space_of(settings, len(dataset.classes))
    pixels, labels = _pixels(run, dataset, "train", cache, on_progress), dataset.labels("train")
    views = prepare_views(pixels, settings.augment, settings.views, cache, on_progress)
    weights = balanced_weights(labels) if settings.class_weights == "balanced" else None
    # A trainer scores rows after each epoch. Nothing validates here: a few training rows stand in,
    # and the score is not used.
    unread = Rows(pixels[:BATCH], labels[:BATCH])
    images = Images(views, labels, unread, weights)
    if not can_be_cut(space):
        return FromImages(
            space, declared_space(space), images,
            batch_size=settings.batch_size, seed=settings.seed,
        )  # fmt: skip
    unfrozen = Configuration.of(trial.hyperparameters).unfreeze_blocks
    return FromFeatures(
        space,
        PretrainedBackbone(space.build_backbone()),
        images,
        cache,
        {unfrozen: float(trial.epochs)},
        batch_size=settings.batch_size,
        seed=settings.seed,
        on_progress=on_progress,
    )


def _pixels(
    run: Run, dataset: Dataset, split: str, cache: Cache, on_progress: Progress
) -> np.ndarray:
    return pixels_of(dataset, split, run.settings, cache, on_progress)
