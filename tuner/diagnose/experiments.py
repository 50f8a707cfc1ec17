"""Why is accuracy stuck? All experiments on one dataset, ranked.

A cause counts where its gain is at least a point and significant, after correction for all causes
that were examined (Holm 1979). A fault observed in the user's own model is a cause whatever it
costs here: a short experiment on some of the images gives a lower bound. Without a model of the
user's, common mistakes in a network are only priced.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from search_spaces.recipes import plain_head
from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset, group_of
from tuner.data.pixel_store import pixels_of
from tuner.diagnose.batchnorm_ladder import Ladder
from tuner.diagnose.batchnorm_statistics import (
    check_weights_target,
    recalibration_finding,
    write_weights,
)
from tuner.diagnose.batchnorm_treatments import HISTORY, Treatment
from tuner.diagnose.data_faults import (
    conflict_finding,
    enough_without,
    imbalance_finding,
    leak_finding,
    leaked,
)
from tuner.diagnose.experiment_data import ExperimentData, extract_features
from tuner.diagnose.feature_ceiling import ceiling, features_limit
from tuner.diagnose.finding import LEARNING_RATE, Finding, judge
from tuner.diagnose.head_training import EPOCHS, HeadFit
from tuner.diagnose.image_size import image_size
from tuner.diagnose.label_noise import WrongLabels, find_wrong_labels
from tuner.diagnose.learning_curve import data_finding, learning_curve
from tuner.diagnose.mistake_costs import mistakes, prices, treatments_for, unjudged_rate
from tuner.diagnose.overfitting import overfitting
from tuner.diagnose.result import Diagnosis, Options, rank_causes
from tuner.model_check.check import check_model
from tuner.model_check.findings import ModelFinding
from tuner.model_check.load import check_classes, check_image_size
from tuner.model_check.trainable_layers import trainable_layers
from tuner.storage.cache import Cache
from tuner.training.rows import Rows

SEEDS = (0, 1, 2)
# Most images examined: causes that a few thousand do not show cannot hold accuracy back by much.
_MOST_TRAINING, _MOST_VALIDATION = 4000, 2000
# Treatments of BatchNorm that findings depend on.
_ALWAYS = ("frozen", "legacy", "recalibrated")


@dataclass(frozen=True)
class Prepared:
    """A diagnosis that lacks only its images; see `prepare`.

    Attributes:
        options: of the diagnosis.
        backbone: with the weights that the options name.
        model: the user's own.
        faults: of that model; None without one.
        recalibrated: file to write weights with BatchNorm statistics of the training images to, or
            None.
    """

    options: Options
    backbone: keras.Model
    model: keras.Model | None
    faults: tuple[ModelFinding, ...] | None
    recalibrated: Path | None = None


def prepare(
    options: Options, model: keras.Model | None = None, recalibrated: Path | None = None
) -> Prepared:
    """Load the weights and check the model, in seconds, before many images are read.

    Args:
        options: of the diagnosis.
        model: the user's own.
        recalibrated: new file, ending in .weights.h5, to write the backbone's weights to with
            BatchNorm statistics of the training images.

    Raises:
        InputError: weights or model are not usable, the model takes images of another size, or the
            file cannot be written.
    """
    if model is not None:
        check_image_size(model, options.image_size)
    if recalibrated is not None:
        check_weights_target(recalibrated)
    backbone = ResNet50Space(2, options.image_size, options.weights).build_backbone()
    faults = None if model is None else check_model(model)
    return Prepared(options, backbone, model, faults, recalibrated)


def run_diagnosis(
    dataset: Dataset,
    cache: Cache,
    options: Options | None = None,
    model: keras.Model | None = None,
    on_progress: Progress = silent,
) -> Diagnosis:
    """Prepare and run every experiment.

    Args:
        dataset: with training and validation images; the test images are not opened.
        cache: keeps decoded images and features.
        options: of the diagnosis.
        model: the user's own.
        on_progress: counts the steps of each experiment.

    Raises:
        InputError: weights, images or model are not usable, or do not fit each other.
    """
    return run_prepared(dataset, cache, prepare(options or Options(), model), on_progress)


def run_prepared(
    dataset: Dataset, cache: Cache, prepared: Prepared, on_progress: Progress = silent
) -> Diagnosis:
    """Run every experiment; for the arguments see `run_diagnosis`."""
    if prepared.model is not None:
        check_classes(prepared.model, len(dataset.classes))
    return _Experiments(dataset, cache, prepared, on_progress).run()


class _Experiments:
    """All experiments on one dataset."""

    def __init__(
        self, dataset: Dataset, cache: Cache, prepared: Prepared, on_progress: Progress
    ) -> None:
        self._started = time.monotonic()
        self._cache, self._on_progress = cache, on_progress
        self._prepared, self._options, self._model = prepared, prepared.options, prepared.model
        self._head = Configuration.of(plain_head())
        self._seeds = tuple(self._options.seed + seed for seed in SEEDS)
        self._whole, self._dataset = dataset, sampled(dataset)
        self._files = self._dataset.of("train"), self._dataset.of("validation")

    def run(self) -> Diagnosis:
        fits = self._fit_heads(self._data.pooled_training, "plain heads")
        right = np.stack([fit.right for fit in fits])
        treatments = self._run_ladder()
        suspects, findings = self._examine_data(right, treatments)
        priced = self._prices(treatments)
        own = self._own_mistakes(treatments, priced)
        causes, excluded = rank_causes([*findings, *own])
        own_causes = {finding.cause for finding in own}
        others = [price for price in priced.values() if price.cause not in own_causes]
        return Diagnosis(
            training_images=len(self._data.training.y),
            validation_images=len(self._data.validation.y),
            images_in_all=len(self._whole.of("train")) + len(self._whole.of("validation")),
            accuracy=float(right.mean()),
            train_accuracy=float(np.mean([fit.train_accuracies[-1] for fit in fits])),
            majority_rate=self._dataset.majority_rate(),
            causes=tuple(causes),
            excluded=tuple(excluded),
            prices=tuple(judge(others)),
            model=self._prepared.faults,
            ladder=tuple(treatments.values()),
            suspects=suspects,
            seconds=time.monotonic() - self._started,
            trainable=None if self._model is None else trainable_layers(self._model),
        )

    @cached_property
    def _data(self) -> ExperimentData:
        options, dataset = self._options, self._dataset
        training, validation = (
            Rows(
                pixels_of(dataset, split, options.settings, self._cache, self._on_progress),
                dataset.labels(split),
            )
            for split in ("train", "validation")
        )
        return extract_features(
            ResNet50Space(len(dataset.classes), options.image_size, options.weights),
            training,
            validation,
            self._cache,
            self._on_progress,
            self._prepared.backbone,
        )

    @cached_property
    def _few(self) -> ExperimentData:
        """The images that pass through the network for each treatment of BatchNorm."""
        return self._data.first(*self._options.few_images)

    def _run_ladder(self) -> dict[str, Treatment]:
        full = self._options.full
        ladder = Ladder(
            self._few,
            self._seeds,
            epochs=EPOCHS,
            end_to_end_epochs=4 if full else 2,
            end_to_end_seeds=len(self._seeds) if full else 1,
        )
        treatments = ladder.run(self._treatment_names(), self._on_progress)
        if self._prepared.recalibrated is not None:
            write_weights(ladder.recalibrated_backbone(), self._prepared.recalibrated)
        return {treatment.name: treatment for treatment in treatments}

    def _treatment_names(self) -> list[str]:
        faults = self._prepared.faults or ()
        names = {*self._options.treatments, *_ALWAYS, *treatments_for(faults)}
        return [name for name in HISTORY if name in names]

    def _prices(self, treatments: Mapping[str, Treatment]) -> dict[str, Finding]:
        priced = prices(
            self._data,
            self._few,
            treatments,
            self._model,
            self._head,
            self._options.seed,
            self._on_progress,
        )
        return {price.cause: price for price in priced}

    def _own_mistakes(
        self, treatments: Mapping[str, Treatment], priced: Mapping[str, Finding]
    ) -> list[Finding]:
        """Findings on the user's own model."""
        if self._model is None:
            return []
        own = mistakes(self._prepared.faults or (), treatments, priced)
        if LEARNING_RATE not in {mistake.cause for mistake in own}:
            own.append(unjudged_rate(self._model) or priced[LEARNING_RATE])
        return own

    def _examine_data(
        self, right: np.ndarray, treatments: Mapping[str, Treatment]
    ) -> tuple[tuple[tuple[str, str], ...], list[Finding]]:
        """Suspect labels, and findings on images, labels and features."""
        training, validation = self._data.pooled_training, self._data.pooled_validation
        seed, on_progress = self._options.seed, self._on_progress
        wrong = find_wrong_labels(
            self._data.heads,
            self._head,
            training,
            validation,
            groups=self._groups,
            seed=seed,
            on_progress=on_progress,
        )
        findings = [
            leak_finding(self._dataset, right, self._without_leak(right)),
            conflict_finding(self._whole),
            wrong.finding,
            self._data_finding(),
            imbalance_finding(self._dataset, right),
            *self._head_findings(right),
            recalibration_finding(treatments["frozen"], treatments["recalibrated"]),
            image_size(
                self._data,
                self._files,
                self._dataset.root,
                self._cache,
                self._head,
                crop=self._options.crop,
                seed=seed,
                on_progress=on_progress,
            ),
        ]
        return self._suspects(wrong), findings

    def _data_finding(self) -> Finding:
        curve = learning_curve(
            self._data.pooled_training,
            self._data.pooled_validation,
            groups=self._groups,
            seed=self._options.seed,
            on_progress=self._on_progress,
        )
        return data_finding(curve, len(self._whole.of("train")))

    def _head_findings(self, right: np.ndarray) -> Iterator[Finding]:
        rows = self._data.pooled_training, self._data.pooled_validation
        seed, on_progress = self._options.seed, self._on_progress
        overfitted = overfitting(self._data.heads, *rows, seed=seed, on_progress=on_progress)
        reached = ceiling(*rows, right, seed=seed, on_progress=on_progress)
        yield from (overfitted, reached, features_limit(overfitted, reached, len(rows[1].y)))

    def _without_leak(self, right: np.ndarray) -> np.ndarray | None:
        """As `right`, for heads trained without images that are in validation too.

        None where too few remain to train on.
        """
        kept, rows = ~leaked(self._dataset)[0], self._data.pooled_training
        if kept.all():
            return right
        if not enough_without(kept, rows.y):
            return None
        fits = self._fit_heads(Rows(rows.x[kept], rows.y[kept]), "heads without the leak")
        return np.stack([fit.right for fit in fits])

    def _fit_heads(self, training: Rows, what: str) -> list[HeadFit]:
        """The plain head, with every seed."""
        fits: list[HeadFit] = []
        heads, validation = self._data.heads, self._data.pooled_validation
        self._on_progress(what, 0, len(self._seeds))
        for seed in self._seeds:
            fits.append(heads.fit(self._head, [training], validation, EPOCHS, seed))
            self._on_progress(what, len(fits), len(self._seeds))
        return fits

    @cached_property
    def _groups(self) -> np.ndarray:
        """Number of the group of each image, training images first."""
        names = [group_of(file) for files in self._files for file in files]
        return np.unique(names, return_inverse=True)[1]

    def _suspects(self, wrong: WrongLabels) -> tuple[tuple[str, str], ...]:
        files = [file for files in self._files for file in files]
        return tuple(
            (files[row].path, self._dataset.classes[suggested])
            for row, suggested in zip(wrong.rows, wrong.suggested, strict=True)
        )


def sampled(dataset: Dataset) -> Dataset:
    """Limit a dataset to as many images as a diagnosis needs: the first by content.

    Training images that share a group with a kept validation image stay too, so that leaks do.
    """
    validation = dataset.of("validation")[:_MOST_VALIDATION]
    groups = {group_of(file) for file in validation}
    training = dataset.of("train")
    kept = {file.path for file in (*validation, *training[:_MOST_TRAINING])}
    kept |= {file.path for file in training if group_of(file) in groups}
    files = tuple(file for file in dataset.files if file.path in kept)
    return replace(dataset, files=files)
