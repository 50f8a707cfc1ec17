"""The BatchNorm ladder: one head over every way in which people have treated the backbone's BN.

Head, images, split, order and seeds are the same; what BatchNormalization does in training and in
validation differs. `tutorial`, `thawed` and `fine_tuned` are trained end to end, so their weights
change too. Where BatchNormalization uses the statistics of a batch, an image's features depend on
its batch: then the images are dealt into batches of 32 several times, from a fixed seed, each deal
is one view, and epoch e trains on view e mod their number. So the features of a treatment are
computed once for all seeds.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import preprocess
from search_spaces.recipes import plain_head
from search_spaces.resnet50 import Configuration
from tuner.counting import Progress, silent
from tuner.diagnose.batchnorm_statistics import batchnorms, recalibrate
from tuner.diagnose.batchnorm_treatments import (
    BUILDERS,
    END_TO_END,
    FINE_TUNED,
    HEAD_FIRST,
    LIKE_FROZEN,
    TREATMENTS,
    Treatment,
)
from tuner.diagnose.experiment_data import (
    ExperimentData,
    Program,
    batch_features,
    compiled,
    features_of,
)
from tuner.diagnose.head_training import EPOCHS, HeadFit
from tuner.environment import release_memory
from tuner.training.rows import Rows

BATCH = 32
# Deals of the training images into batches, to average out what a head can learn of one deal. In
# the original defect every epoch had a new deal.
_VIEWS = 4
# A training epoch in forward passes: the backward pass takes twice as long.
_PASSES_PER_EPOCH = 3
_FINE_TUNING_RATE = 1e-5  # https://keras.io/guides/transfer_learning/
_LOSS = "sparse_categorical_crossentropy"


class Ladder:
    """Trains the same head over each treatment.

    Args:
        data: images and features.
        seeds: of the head's initial weights and of the order of the images.
        epochs: of each head on features.
        end_to_end_epochs: of each network trained end to end.
        end_to_end_seeds: how many of the seeds train end to end, at least 1.
    """

    def __init__(
        self,
        data: ExperimentData,
        seeds: Sequence[int] = (0, 1, 2),
        *,
        epochs: int = EPOCHS,
        end_to_end_epochs: int = 2,
        end_to_end_seeds: int = 1,
    ) -> None:
        self._data = data
        self._seeds = tuple(seeds)
        self._epochs = epochs
        self._end_to_end_epochs = end_to_end_epochs
        self._end_to_end_seeds = self._seeds[:end_to_end_seeds]
        self._configuration = Configuration.of(plain_head())

    def run(
        self, names: Sequence[str] = TREATMENTS, on_progress: Progress = silent
    ) -> list[Treatment]:
        """Train the head over some treatments.

        Args:
            names: keys of HISTORY.
            on_progress: counts passes over the training images, approximately: before each
                treatment, after each end-to-end epoch, and at the end.
        """
        results: list[Treatment] = []
        whole, done = sum(map(self._passes, names)), 0

        def report(further: int = 0) -> None:
            on_progress("BatchNorm treatments", done + further, whole)

        for name in names:
            report()
            results.append(self._run_one(name, report))
            done += self._passes(name)
            release_memory()
        report()
        return results

    def _passes(self, name: str) -> int:
        if name not in END_TO_END:
            return _VIEWS if name == "legacy" else 1
        return _PASSES_PER_EPOCH * self._end_to_end_epochs * len(self._end_to_end_seeds)

    def _run_one(self, name: str, report: Callable[[int], None]) -> Treatment:
        if name in LIKE_FROZEN:
            return self._like_frozen(name)
        if name in END_TO_END:
            return self._trained_end_to_end(name, report)
        return {
            "frozen": lambda: self.frozen,
            "legacy": self._legacy,
            "own_input_batch": self._own_input_batch,
            "recalibrated": self._recalibrated,
        }[name]()

    @cached_property
    def frozen(self) -> Treatment:
        """BatchNorm in inference mode, as this program builds it."""
        data = self._data
        found = self._over("frozen", [data.pooled_training], data.pooled_validation)
        return replace(found, equals_frozen=True)

    def recalibrated_backbone(self) -> keras.Model:
        """A frozen copy of the backbone with moving statistics of the training images."""
        network = self._copy(trainable=False)
        recalibrate(network, self._data.training.x)
        return network

    def _like_frozen(self, name: str) -> Treatment:
        """Check that a treatment computes the same function as `frozen`, then reuse its heads."""
        data, base = self._data, self._copy(trainable=False)
        images = preprocess(tf.cast(data.training.x[:BATCH], tf.float32))
        expected = data.backbone.model(images, training=False)
        found = BUILDERS[name](base, keras.layers.Identity())(images, training=True)
        network = BUILDERS[name](base, self._head(seed=0))
        network.compile("adam", _LOSS)
        before = _statistics(base)
        network.train_on_batch(images, data.training.y[:BATCH])
        moved = _differing(before, _statistics(base))
        if not np.array_equal(expected, found):  # this Keras uses statistics of the batch
            return self._over(name, self._dealt, data.pooled_validation, moved)
        return replace(self.frozen, name=name, moved=moved)

    def _legacy(self) -> Treatment:
        data, training = self._data, self._dealt
        return self._over("legacy", training, data.pooled_validation, self._moved_by_batches())

    def _own_input_batch(self) -> Treatment:
        program, validation = self._batchwise[1], self._data.validation
        fits, others = (
            self._fits(self._dealt, Rows(batch_features(program, validation.x, deal), validation.y))
            for deal in deals(len(validation.y), 2, seed=1)
        )
        changed = [
            (fit.probabilities.argmax(axis=1) != other.probabilities.argmax(axis=1)).mean()
            for fit, other in zip(fits, others, strict=True)
        ]
        found = self._treatment("own_input_batch", fits, self._moved_by_batches())
        return replace(found, batch_dependent=float(np.mean(changed)))

    def _recalibrated(self) -> Treatment:
        data, network = self._data, self.recalibrated_backbone()
        moved = _differing(_statistics(data.backbone.model), _statistics(network))
        program = compiled(network, training=False)
        training, validation = (
            Rows(features_of(program, rows.x), rows.y) for rows in (data.training, data.validation)
        )
        return self._over("recalibrated", [training], validation, moved)

    def _trained_end_to_end(self, name: str, report: Callable[[int], None]) -> Treatment:
        """Train backbone and head together, by Keras's own `fit`."""
        epochs = itertools.count(1)
        fits = [
            self._fit_end_to_end(name, seed, lambda: report(_PASSES_PER_EPOCH * next(epochs)))
            for seed in self._end_to_end_seeds
        ]
        rights, train, moved = zip(*fits, strict=True)
        return Treatment(
            name=name,
            right=np.stack(rights),
            val_accuracies=tuple(float(right.mean()) for right in rights),
            train_accuracies=train,
            moved=max(moved),
            statistics=len(_statistics(self._data.backbone.model)),
            epochs=self._end_to_end_epochs,
        )

    def _fit_end_to_end(
        self, name: str, seed: int, on_epoch: Callable[[], None]
    ) -> tuple[np.ndarray, float, int]:
        """Correct validation images, training accuracy, and moved statistics."""
        training, validation = self._data.training, self._data.validation
        base, head = self._copy(trainable=True), self._head(seed)
        if name in HEAD_FIRST:
            self._fit_head(head, seed)
        for layer in batchnorms(base):
            layer.trainable = name != FINE_TUNED
        pixels = keras.Input(base.input_shape[1:])
        network = keras.Model(pixels, BUILDERS[name](base, head)(preprocess(pixels)))
        rate = _FINE_TUNING_RATE if name in HEAD_FIRST else self._configuration.learning_rate
        network.compile(keras.optimizers.Adam(rate), _LOSS, metrics=["accuracy"])
        before, images = _statistics(base), np.asarray(training.x)
        accuracy = 0.0
        for epoch in range(self._end_to_end_epochs):
            order = np.random.default_rng((seed, epoch)).permutation(len(training.y))
            history = network.fit(images[order], training.y[order], BATCH, shuffle=False, verbose=0)
            accuracy = float(history.history["accuracy"][-1])
            on_epoch()
        probabilities = network.predict(np.asarray(validation.x), BATCH, verbose=0)
        right = probabilities.argmax(axis=1) == validation.y
        return right, accuracy, _differing(before, _statistics(base))

    def _fit_head(self, head: keras.Model, seed: int) -> None:
        """Train the head alone on the frozen base, as the tutorial does first."""
        rows = self._data.pooled_training
        head.compile(keras.optimizers.Adam(self._configuration.learning_rate), _LOSS)
        for epoch in range(self._epochs):
            order = np.random.default_rng((seed, epoch)).permutation(len(rows.y))
            head.fit(rows.x[order], rows.y[order], BATCH, shuffle=False, verbose=0)

    def _over(
        self, name: str, training: Sequence[Rows], validation: Rows, moved: int = 0
    ) -> Treatment:
        """The head of every seed on given features."""
        return self._treatment(name, self._fits(training, validation), moved)

    def _fits(self, training: Sequence[Rows], validation: Rows) -> list[HeadFit]:
        return [
            self._data.heads.fit(self._configuration, training, validation, self._epochs, seed)
            for seed in self._seeds
        ]

    def _treatment(self, name: str, fits: Sequence[HeadFit], moved: int) -> Treatment:
        return Treatment(
            name=name,
            right=np.stack([fit.right for fit in fits]),
            val_accuracies=tuple(fit.val_accuracies[-1] for fit in fits),
            train_accuracies=tuple(fit.train_accuracies[-1] for fit in fits),
            moved=moved,
            statistics=len(_statistics(self._data.backbone.model)),
            epochs=self._epochs,
        )

    @cached_property
    def _dealt(self) -> list[Rows]:
        """The training images' features by batch statistics, once for each deal."""
        program, training = self._batchwise[1], self._data.training
        return [
            Rows(batch_features(program, training.x, deal), training.y)
            for deal in deals(len(training.y), _VIEWS, seed=0)
        ]

    @cached_property
    def _batchwise(self) -> tuple[keras.Model, Program]:
        """A backbone that normalises by the batch, as in the original defect, and its program.

        A momentum of 1 keeps the moving statistics: a frozen layer's updates did not run then.
        """
        network = self._copy(trainable=True)
        for layer in batchnorms(network):
            layer.momentum = 1.0
        return network, compiled(network, training=True)

    def _moved_by_batches(self) -> int:
        network, _ = self._batchwise
        return _differing(_statistics(self._data.backbone.model), _statistics(network))

    def _copy(self, *, trainable: bool) -> keras.Model:
        """A copy of the backbone, with the pretrained weights."""
        original = self._data.backbone.lend(0)
        copy = keras.models.clone_model(original)
        copy.set_weights(original.get_weights())
        for layer in copy.layers:
            layer.trainable = trainable
        return copy

    def _head(self, seed: int) -> keras.Model:
        """Model from pooled features to probabilities."""
        data = self._data
        return data.space.build_suffix(self._configuration, data.backbone.lend(0), seed)


def deals(count: int, times: int, seed: int) -> list[list[np.ndarray]]:
    """Deal images into batches of about 32, several times.

    Returns:
        For each deal, the index arrays of its batches, which together hold every image once.
    """
    random = np.random.default_rng(seed)
    return [
        np.array_split(random.permutation(count), max(1, round(count / BATCH)))
        for _ in range(times)
    ]


def _statistics(network: keras.Model) -> list[np.ndarray]:
    """Copies of the moving means and variances."""
    return [
        variable.numpy().copy()
        for layer in batchnorms(network)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def _differing(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> int:
    return sum(not np.array_equal(one, two) for one, two in zip(before, after, strict=True))
