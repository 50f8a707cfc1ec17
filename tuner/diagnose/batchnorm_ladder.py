"""The BatchNorm ladder: one head over every way in which people have treated the backbone's BN.

Head, images, split, order and seeds are the same, and what BatchNormalization does in training and
in validation differs; `tutorial` and `thawed` are trained end to end, and their weights move too.
Where BatchNormalization uses the statistics of a batch, an image's features depend on the batch
that it stands in: then the images are dealt into batches of 32 a few times, from a fixed seed, each
deal is one view, and epoch e trains on view e mod their number. So a treatment is computed once for
all seeds; what is trained end to end alone is computed anew.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import preprocess
from search_spaces.recipes import plain_head
from search_spaces.resnet50 import Configuration
from tuner.diagnose.batchnorm_statistics import batchnorms, recalibrate
from tuner.diagnose.batchnorm_treatments import (
    _BUILDERS,
    _END_TO_END,
    _HEAD_FIRST,
    _LIKE_FROZEN,
    FINE_TUNED,
    TREATMENTS,
    Treatment,
)
from tuner.diagnose.experiment_data import Evidence, compiled, features_of
from tuner.diagnose.head_training import EPOCHS, HeadFit
from tuner.environment import release_memory
from tuner.training.rows import Rows

BATCH = 32
# Deals of the training images into batches. An epoch of legacy training met a new deal each time;
# over four, what a head can learn of one deal's statistics is averaged out.
_VIEWS = 4
# Backwards takes twice as long as forwards.
_PASSES_OF_AN_EPOCH = 3
_FINE_TUNING_RATE = 1e-5  # https://keras.io/guides/transfer_learning/


class Ladder:
    """Trains the same head over each treatment.

    Args:
        evidence: images and features.
        seeds: of the head's initial weights and of the order of the images.
        epochs: of each head on features.
        end_to_end_epochs: of what is trained end to end.
        end_to_end_seeds: how many of the seeds that gets, at least 1.
    """

    def __init__(
        self,
        evidence: Evidence,
        seeds: Sequence[int] = (0, 1, 2),
        *,
        epochs: int = EPOCHS,
        end_to_end_epochs: int = 2,
        end_to_end_seeds: int = 1,
    ) -> None:
        self._evidence = evidence
        self._seeds = tuple(seeds)
        self._epochs = epochs
        self._end_to_end_epochs = end_to_end_epochs
        self._end_to_end_seeds = self._seeds[:end_to_end_seeds]
        self._configuration = Configuration.of(plain_head())
        self._frozen: Treatment | None = None
        self._dealt: list[Rows] = []
        self._batchwise: tuple[keras.Model, Callable[[np.ndarray], np.ndarray]] | None = None

    def run(
        self,
        names: Sequence[str] = TREATMENTS,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Treatment]:
        """Trains the head over some treatments.

        Args:
            names: keys of HISTORY.
            on_progress: is told (passes over the training images done, of about how many): before
                each treatment, after each epoch that is trained end to end, and in the end.
        """
        results: list[Treatment] = []
        whole, done = sum(map(self._passes, names)), 0

        def tell(further: int = 0) -> None:
            if on_progress is not None:
                on_progress(done + further, whole)

        for name in names:
            tell()
            results.append(self._run_one(name, tell))
            done += self._passes(name)
            release_memory()
        tell()
        return results

    def _passes(self, name: str) -> int:
        """About how long a treatment takes, in passes over the training images."""
        if name not in _END_TO_END:
            return _VIEWS if name == "legacy" else 1
        return _PASSES_OF_AN_EPOCH * self._end_to_end_epochs * len(self._end_to_end_seeds)

    def _run_one(self, name: str, tell: Callable[[int], None]) -> Treatment:
        if name in _LIKE_FROZEN:
            return self._like_frozen(name)
        if name in _END_TO_END:
            return self._trained_whole(name, tell)
        if name == "frozen":
            return self.frozen()
        return {
            "legacy": self._legacy,
            "own_input_batch": self._own_input_batch,
            "recalibrated": self._recalibrated,
        }[name]()

    def frozen(self) -> Treatment:
        """What this program builds; trained once."""
        if self._frozen is None:
            evidence = self._evidence
            self._frozen = self._over(
                "frozen", [evidence.pooled_training], evidence.pooled_validation, equals_frozen=True
            )
        return self._frozen

    def recalibrated_backbone(self) -> keras.Model:
        """A backbone of its own with moving statistics of the training images, frozen."""
        network = self._copy(trainable=False)
        recalibrate(network, self._evidence.training.x)
        return network

    def _like_frozen(self, name: str) -> Treatment:
        """Shown to be the same function; then its head is the same too."""
        evidence, frozen, base = self._evidence, self.frozen(), self._copy(trainable=False)
        images = preprocess(tf.cast(evidence.training.x[:BATCH], tf.float32))
        expected = evidence.backbone.model(images, training=False)
        found = _BUILDERS[name](base, keras.layers.Identity())(images, training=True)
        network = _BUILDERS[name](base, self._head(seed=0))
        network.compile("adam", _LOSS)
        before = _statistics(base)
        network.train_on_batch(images, evidence.training.y[:BATCH])
        moved = _differing(before, _statistics(base))
        if not np.array_equal(expected, found):  # this Keras uses statistics of the batch
            return self._over(name, self._dealt_training(), evidence.pooled_validation, moved)
        return replace(frozen, name=name, moved=moved)

    def _legacy(self) -> Treatment:
        training, validation = self._dealt_training(), self._evidence.pooled_validation
        return self._over("legacy", training, validation, self._moved_by_batches())

    def _own_input_batch(self) -> Treatment:
        program, validation = self._in_training()[1], self._evidence.validation
        one, other = (
            Rows(batch_features(program, validation.x, deal), validation.y)
            for deal in deals(len(validation.y), 2, seed=1)
        )
        fits, beside = (self._fits(self._dealt_training(), rows) for rows in (one, other))
        changed = [
            (here.probabilities.argmax(axis=1) != there.probabilities.argmax(axis=1)).mean()
            for here, there in zip(fits, beside, strict=True)
        ]
        found = self._treatment("own_input_batch", fits)
        moved = self._moved_by_batches()
        return replace(found, moved=moved, batch_dependent=float(np.mean(changed)))

    def _recalibrated(self) -> Treatment:
        evidence, network = self._evidence, self.recalibrated_backbone()
        moved = _differing(_statistics(evidence.backbone.model), _statistics(network))
        program = compiled(network, training=False)
        training, validation = (
            Rows(features_of(program, rows.x), rows.y)
            for rows in (evidence.training, evidence.validation)
        )
        return self._over("recalibrated", [training], validation, moved)

    def _trained_whole(self, name: str, tell: Callable[[int], None]) -> Treatment:
        """Trains backbone and head together, by Keras's own `fit`."""
        epochs = itertools.count(1)

        def told() -> None:
            tell(_PASSES_OF_AN_EPOCH * next(epochs))

        fits = [self._fit_whole(name, seed, told) for seed in self._end_to_end_seeds]
        rights, train, moved = zip(*fits, strict=True)
        return Treatment(
            name, np.stack(rights), tuple(float(right.mean()) for right in rights), train,
            max(moved), len(_statistics(self._evidence.backbone.model)), self._end_to_end_epochs,
            equals_frozen=False,
        )  # fmt: skip

    def _fit_whole(
        self, name: str, seed: int, on_epoch: Callable[[], None]
    ) -> tuple[np.ndarray, float, int]:
        training, validation = self._evidence.training, self._evidence.validation
        base, head = self._copy(trainable=True), self._head(seed)
        if name in _HEAD_FIRST:
            self._fit_head(head, seed)
        for layer in batchnorms(base):
            layer.trainable = name != FINE_TUNED
        pixels = keras.Input(base.input_shape[1:])
        network = keras.Model(pixels, _BUILDERS[name](base, head)(preprocess(pixels)))
        rate = _FINE_TUNING_RATE if name in _HEAD_FIRST else self._configuration.learning_rate
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
        """The tutorial's first half: the head alone, on the frozen base."""
        rows = self._evidence.pooled_training
        head.compile(keras.optimizers.Adam(self._configuration.learning_rate), _LOSS)
        for epoch in range(self._epochs):
            order = np.random.default_rng((seed, epoch)).permutation(len(rows.y))
            head.fit(rows.x[order], rows.y[order], BATCH, shuffle=False, verbose=0)

    def _over(
        self,
        name: str,
        training: Sequence[Rows],
        validation: Rows,
        moved: int = 0,
        equals_frozen: bool = False,
    ) -> Treatment:
        """The head of every seed on given features."""
        found = self._treatment(name, self._fits(training, validation))
        return replace(found, moved=moved, equals_frozen=equals_frozen)

    def _fits(self, training: Sequence[Rows], validation: Rows) -> list[HeadFit]:
        return [
            self._evidence.heads.fit(self._configuration, training, validation, self._epochs, seed)
            for seed in self._seeds
        ]

    def _treatment(self, name: str, fits: Sequence[HeadFit]) -> Treatment:
        return Treatment(
            name,
            np.stack([fit.right for fit in fits]),
            tuple(fit.val_accuracies[-1] for fit in fits),
            tuple(fit.train_accuracies[-1] for fit in fits),
            0,
            len(_statistics(self._evidence.backbone.model)),
            self._epochs,
            equals_frozen=False,
        )

    def _dealt_training(self) -> list[Rows]:
        """The training images by batch statistics, once for each deal; computed once."""
        if not self._dealt:
            program, training = self._in_training()[1], self._evidence.training
            self._dealt = [
                Rows(batch_features(program, training.x, deal), training.y)
                for deal in deals(len(training.y), _VIEWS, seed=0)
            ]
        return self._dealt

    def _in_training(self) -> tuple[keras.Model, Callable[[np.ndarray], np.ndarray]]:
        """A backbone that normalises by the batch, as history had it, and its program; made once.

        A frozen layer's updates were not run then (its `updates` were empty): a momentum of 1 keeps
        the moving statistics where they are.
        """
        if self._batchwise is None:
            network = self._copy(trainable=True)
            for layer in batchnorms(network):
                layer.momentum = 1.0
            self._batchwise = network, compiled(network, training=True)
        return self._batchwise

    def _moved_by_batches(self) -> int:
        network, _ = self._in_training()
        return _differing(_statistics(self._evidence.backbone.model), _statistics(network))

    def _copy(self, *, trainable: bool) -> keras.Model:
        """A backbone of its own, with the pretrained weights."""
        original = self._evidence.backbone.lend(0)
        copy = keras.models.clone_model(original)
        copy.set_weights(original.get_weights())
        for layer in copy.layers:
            layer.trainable = trainable
        return copy

    def _head(self, seed: int) -> keras.Model:
        """Model from pooled features to probabilities."""
        evidence = self._evidence
        return evidence.space.build_suffix(self._configuration, evidence.backbone.lend(0), seed)


_LOSS = "sparse_categorical_crossentropy"


def deals(count: int, times: int, seed: int) -> list[list[np.ndarray]]:
    """Index arrays of batches of about 32 that hold every image once, drawn anew each time."""
    random = np.random.default_rng(seed)
    return [
        np.array_split(random.permutation(count), max(1, round(count / BATCH)))
        for _ in range(times)
    ]


def batch_features(
    program: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, batches: Sequence[np.ndarray]
) -> np.ndarray:
    """Pooled features with the statistics of the batches, as BatchNorm has them in training.

    Args:
        program: `compiled(network, training=True)` of a backbone whose BatchNorm is trainable; its
            moving statistics change, but for a momentum of 1. One serves all batches: to trace a
            network takes seconds.
        pixels: uint8, shape (n, image_size, image_size, 3).
        batches: index arrays that hold every image once.

    Returns:
        float32, shape (n, 2048).
    """
    features = np.concatenate([program(pixels[batch]) for batch in batches])
    return features[np.argsort(np.concatenate(batches))]


def _statistics(network: keras.Model) -> list[np.ndarray]:
    """Moving means and variances, as arrays of their own."""
    return [
        variable.numpy().copy()
        for layer in batchnorms(network)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def _differing(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> int:
    return sum(not np.array_equal(one, two) for one, two in zip(before, after, strict=True))
