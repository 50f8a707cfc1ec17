"""Why is accuracy stuck? All experiments on one dataset, and a verdict.

A cause counts where the gain is at least a point and no chance, after correction for all causes
that were examined (Holm 1979). A fault that was seen in the user's own model is a cause whatever it
costs here: a short experiment on some of the images bounds it from below. Without a model of the
user's, what a network can do wrong is only priced: what it would cost here.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from search_spaces.recipes import plain_head
from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.counting import Progress, telling
from tuner.data.dataset import Dataset, group_of
from tuner.data.pixel_store import prepare_images
from tuner.diagnose import feature_ceiling, label_noise, learning_rate, overfitting
from tuner.diagnose.batchnorm_ladder import Ladder
from tuner.diagnose.batchnorm_statistics import check_weights_target, write_weights
from tuner.diagnose.batchnorm_treatments import HISTORY, Treatment
from tuner.diagnose.data_faults import (
    conflict_finding,
    enough_without,
    imbalance_finding,
    leak_finding,
    leaked,
)
from tuner.diagnose.experiment_data import Evidence, gather
from tuner.diagnose.finding import Finding, judged
from tuner.diagnose.head_training import EPOCHS, HeadFit
from tuner.diagnose.image_size import image_size
from tuner.diagnose.learning_curve import data_finding, learning_curve
from tuner.diagnose.mistake_costs import mistakes, prices, treatments_for, unjudged_rate
from tuner.diagnose.result import Diagnosis, Options, verdict
from tuner.metrics.significance import paired_gain
from tuner.model_check import check
from tuner.model_check.load import check_classes, check_image_size
from tuner.model_check.trainable_layers import trainable_layers
from tuner.storage.cache import Cache
from tuner.text import percent
from tuner.training.rows import Rows

SEEDS = (0, 1, 2)
RECALIBRATION = "BatchNorm statistics"
# Most images that are looked at: what a few thousand do not show is no reason to be stuck.
_MOST_TRAINING, _MOST_VALIDATION = 4000, 2000

# Treatments that the verdict rests on.
_ALWAYS = ("frozen", "legacy", "recalibrated")


@dataclass(frozen=True)
class Prepared:
    """What a diagnosis needs beside images, made and checked.

    Attributes:
        options: how.
        backbone: with the weights that the options name.
        model: the user's own.
        checked: what is wrong with it; None where there is none.
        recalibrated: file that weights with the training images' statistics are written to; None
            where none are asked for.
    """

    options: Options
    backbone: keras.Model
    model: keras.Model | None
    checked: tuple[check.ModelFinding, ...] | None
    recalibrated: Path | None = None


def prepare(
    options: Options, model: keras.Model | None = None, recalibrated: Path | None = None
) -> Prepared:
    """Loads the weights and examines the model, in seconds: before many images are read.

    Args:
        options: how.
        model: the user's own, to be examined too.
        recalibrated: new file, ending in .weights.h5, to write the backbone's weights to with
            BatchNorm statistics of the training images.

    Raises:
        InputError: weights or model are not usable, the model takes images of another size, or such
            a file cannot be written.
    """
    if model is not None:
        check_image_size(model, options.image_size)
    if recalibrated is not None:
        check_weights_target(recalibrated)
    backbone = ResNet50Space(2, options.image_size, options.weights).build_backbone()
    checked = None if model is None else check.check_model(model)
    return Prepared(options, backbone, model, checked, recalibrated)


def run_diagnosis(
    dataset: Dataset,
    cache: Cache,
    options: Options | None = None,
    model: keras.Model | None = None,
    on_progress: Progress | None = None,
) -> Diagnosis:
    """Prepares, and runs every experiment.

    Args:
        dataset: with training and validation images; the test images are not looked at.
        cache: keeps decoded images and features.
        options: how.
        model: the user's own, to be examined too.
        on_progress: is told (what is done, done so far, of how many).

    Raises:
        InputError: weights, images or model are not usable, or the model is not one of such images.
    """
    return run_prepared(dataset, cache, prepare(options or Options(), model), on_progress)


def run_prepared(
    dataset: Dataset, cache: Cache, prepared: Prepared, on_progress: Progress | None = None
) -> Diagnosis:
    """Runs every experiment; for the arguments see `run_diagnosis`."""
    if prepared.model is not None:
        check_classes(prepared.model, len(dataset.classes))
    return _Experiments(dataset, cache, prepared, on_progress).run()


class _Experiments:
    def __init__(
        self,
        dataset: Dataset,
        cache: Cache,
        prepared: Prepared,
        on_progress: Progress | None,
    ) -> None:
        self._begun = time.monotonic()
        self._cache = cache
        self._options = prepared.options
        self._model = prepared.model
        self._backbone = prepared.backbone
        self._checked = prepared.checked
        self._recalibrated = prepared.recalibrated
        self._on_progress = on_progress
        self._head = Configuration.of(plain_head())
        self._seeds = tuple(self._options.seed + seed for seed in SEEDS)
        self._whole, self._dataset = dataset, sampled(dataset)
        self._images_in_all = len(dataset.of("train")) + len(dataset.of("validation"))
        self._files = self._dataset.of("train"), self._dataset.of("validation")

    def run(self) -> Diagnosis:
        checked = self._checked
        evidence = self._gather()
        seeds = self._seeds
        fits = self._fits(evidence, evidence.pooled_training, "plain heads")
        right = np.stack([fit.right for fit in fits])
        few = evidence.first(*self._options.few_images)
        ladder = Ladder(
            few, seeds, epochs=EPOCHS,
            end_to_end_epochs=4 if self._options.full else 2,
            end_to_end_seeds=len(seeds) if self._options.full else 1,
        )  # fmt: skip
        treatments = ladder.run(
            self._treatments(checked or ()), self._telling("BatchNorm treatments")
        )
        if self._recalibrated is not None:
            write_weights(ladder.recalibrated_backbone(), self._recalibrated)
        by_name = {treatment.name: treatment for treatment in treatments}
        suspects, findings = self._examine(evidence, right, by_name)
        priced = {
            price.cause: price
            for price in prices(
                evidence, few, by_name, self._model, self._head, self._options.seed,
                self._on_progress,
            )
        }  # fmt: skip
        own = [] if checked is None else mistakes(checked, by_name, priced)
        if self._model is not None and learning_rate.CAUSE not in {
            mistake.cause for mistake in own
        }:
            own.append(unjudged_rate(self._model) or priced[learning_rate.CAUSE])
        causes, excluded = verdict([*findings, *own])
        own_causes = {finding.cause for finding in own}
        others = [price for price in priced.values() if price.cause not in own_causes]
        return Diagnosis(
            len(evidence.training.y), len(evidence.validation.y), self._images_in_all,
            float(right.mean()), float(np.mean([fit.train_accuracies[-1] for fit in fits])),
            self._dataset.majority_rate(),
            tuple(causes), tuple(excluded),
            tuple(price for price, _ in judged(others)), checked,
            tuple(treatments), suspects, time.monotonic() - self._begun,
            None if self._model is None else trainable_layers(self._model),
        )  # fmt: skip

    def _treatments(self, checked: Sequence[check.ModelFinding]) -> list[str]:
        shown = {*self._options.treatments, *_ALWAYS, *treatments_for(checked)}
        return [name for name in HISTORY if name in shown]

    def _gather(self) -> Evidence:
        options, dataset = self._options, self._dataset
        space = ResNet50Space(len(dataset.classes), options.image_size, options.weights)
        training, validation = (
            Rows(
                prepare_images(
                    files, dataset.root, options.image_size, self._cache,
                    self._telling("decoding images"), crop=options.crop,
                ),
                dataset.labels(split),
            )
            for files, split in zip(self._files, ("train", "validation"), strict=True)
        )  # fmt: skip
        return gather(space, training, validation, self._cache, self._on_progress, self._backbone)

    def _examine(
        self, evidence: Evidence, right: np.ndarray, treatments: Mapping[str, Treatment]
    ) -> tuple[tuple[tuple[str, str], ...], list[Finding]]:
        """What can be wrong with images, labels and features."""
        training, validation = evidence.pooled_training, evidence.pooled_validation
        seed, heads = self._options.seed, evidence.heads
        wrong = label_noise.find_wrong_labels(
            heads, self._head, training, validation, groups=self._groups(), seed=seed,
            on_progress=self._telling("wrong labels"),
        )  # fmt: skip
        curve = learning_curve(
            training, validation, groups=self._groups(), seed=seed,
            on_progress=self._telling("learning curve"),
        )  # fmt: skip
        overfitted = overfitting.overfitting(
            heads, training, validation, seed=seed, on_progress=self._telling("overfitting")
        )
        reached = feature_ceiling.ceiling(
            training, validation, right, seed=seed, on_progress=self._telling("ceiling")
        )
        findings = [
            leak_finding(self._dataset, right, self._without_leak(evidence, right)),
            conflict_finding(self._whole),
            wrong.finding,
            data_finding(curve, len(self._whole.of("train"))),
            imbalance_finding(self._dataset, right),
            overfitted,
            reached,
            feature_ceiling.features_limit(overfitted, reached, len(validation.y)),
            _recalibration(treatments["frozen"], treatments["recalibrated"]),
            image_size(
                evidence, self._files, self._dataset.root, self._cache, self._head,
                crop=self._options.crop, seed=seed, on_progress=self._on_progress,
            ),
        ]  # fmt: skip
        return self._named(wrong), findings

    def _without_leak(self, evidence: Evidence, right: np.ndarray) -> np.ndarray | None:
        """What heads name rightly that were trained without images that validation shows too.

        None where too little remains to train on.
        """
        kept, rows = ~leaked(self._dataset)[0], evidence.pooled_training
        if kept.all():
            return right
        if not enough_without(kept, rows.y):
            return None
        fits = self._fits(evidence, Rows(rows.x[kept], rows.y[kept]), "heads without the leak")
        return np.stack([fit.right for fit in fits])

    def _fits(self, evidence: Evidence, training: Rows, what: str) -> list[HeadFit]:
        """The plain head, with every seed."""
        fits, tell = [], self._telling(what)
        tell(0, len(self._seeds))
        for done, seed in enumerate(self._seeds, start=1):
            fits.append(
                evidence.heads.fit(self._head, [training], evidence.pooled_validation, EPOCHS, seed)
            )
            tell(done, len(self._seeds))
        return fits

    def _groups(self) -> np.ndarray:
        """Number of the group of each image, training images first."""
        names = [group_of(file) for files in self._files for file in files]
        return np.unique(names, return_inverse=True)[1]

    def _named(self, wrong: label_noise.WrongLabels) -> tuple[tuple[str, str], ...]:
        files = [file for files in self._files for file in files]
        return tuple(
            (files[row].path, self._dataset.classes[suggested])
            for row, suggested in zip(wrong.rows, wrong.suggested, strict=True)
        )

    def _telling(self, what: str) -> Callable[[int, int], None]:
        return telling(self._on_progress, what)


def _recalibration(frozen: Treatment, recalibrated: Treatment) -> Finding:
    """Whether ImageNet's moving statistics fit these images."""
    gain, p_value = paired_gain(frozen.right, recalibrated.right)
    sentence = (
        f"With BatchNorm statistics of the training images {percent(recalibrated.val_accuracy)} "
        f"are right, with the pretrained ones {percent(frozen.val_accuracy)}."
    )
    remedy = (
        "tune diagnose DATA --save-recalibrated mine.weights.h5 writes such weights, and "
        "tune search DATA --weights mine.weights.h5 takes them."
    )
    numbers = {"recalibrated": recalibrated.val_accuracy, "frozen": frozen.val_accuracy}
    return Finding(RECALIBRATION, sentence, gain, p_value, remedy, numbers)


def sampled(dataset: Dataset) -> Dataset:
    """A dataset with no more images than a diagnosis needs: the first by content stay.

    Training images that the kept validation images show too stay as well, so that a leak does.
    """
    validation = dataset.of("validation")[:_MOST_VALIDATION]
    groups = {group_of(file) for file in validation}
    training = dataset.of("train")
    kept = {file.path for file in (*validation, *training[:_MOST_TRAINING])}
    kept |= {file.path for file in training if group_of(file) in groups}
    files = tuple(file for file in dataset.files if file.path in kept)
    return replace(dataset, files=files)
