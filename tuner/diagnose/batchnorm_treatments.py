"""The ways in which people treat a backbone's BatchNorm, as networks."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

# Name of each treatment, and what it did in Keras's history.
HISTORY = {
    "usual": (
        "frozen base, pooling, softmax, as Keras has run it since 2.2.5: BatchNorm in inference "
        "mode, because trainable=False says so"
    ),
    "legacy": (
        "frozen weights, statistics of the batch in training and ImageNet's in validation: Keras "
        "before 2.2.5 and TensorFlow before 2.0"
    ),
    "frozen": (
        "inference mode in training and in validation: K.set_learning_phase(0) around the base in "
        "its day, and what this program builds"
    ),
    "own_input_nested": (
        "an Input of one's own and the base called on it: today the same function as frozen"
    ),
    "own_input_batch": (
        "the same under K.set_learning_phase(1): statistics of the batch in training and in "
        "validation, so that a prediction depends on the images beside it"
    ),
    "tf_keras_layers": (
        "layers=tf.keras.layers, the remedy of 2020: tf.keras's BatchNorm takes trainable=False as "
        "inference mode (keras PR #9965); in a TensorFlow of today tf.keras is Keras 3 itself, so "
        "that this is the same function by construction"
    ),
    "tutorial": (
        "base(x, training=False) and base.trainable = True: since Keras 3 fit overrides the first "
        "(keras issue #20285), and every moving statistic moves"
    ),
    "thawed": "everything trained from the beginning, BatchNorm in training mode",
    "recalibrated": ("moving statistics measured again on the training images, then frozen"),
    "fine_tuned": (
        "as tutorial with each BatchNorm frozen by itself, so that only weights move: what "
        "tutorial was meant to be"
    ),
}
FINE_TUNED = "fine_tuned"
# What is shown of every dataset; fine_tuned is asked for where a model of the user's needs it.
TREATMENTS = tuple(name for name in HISTORY if name != FINE_TUNED)
_LIKE_FROZEN = ("usual", "own_input_nested", "tf_keras_layers")
_END_TO_END = ("tutorial", "thawed", FINE_TUNED)
_HEAD_FIRST = ("tutorial", FINE_TUNED)


@dataclass(frozen=True)
class Treatment:
    """What one treatment of the backbone's BatchNorm gave.

    Attributes:
        name: a key of HISTORY.
        right: whether each validation image is named rightly, bool, shape (seeds, images).
        val_accuracies: of each seed after the last epoch, 0 to 1.
        train_accuracies: of each seed in the last epoch, as its images were met, 0 to 1.
        moved: moving statistics that its training changes, of `statistics`.
        statistics: arrays of moving statistics that the backbone has.
        epochs: how many were trained.
        equals_frozen: whether its features are those of `frozen`, bit for bit.
        batch_dependent: share of the validation images that are named otherwise when they stand in
            other batches; None where no batch has a say.
    """

    name: str
    right: np.ndarray
    val_accuracies: tuple[float, ...]
    train_accuracies: tuple[float, ...]
    moved: int
    statistics: int
    epochs: int
    equals_frozen: bool
    batch_dependent: float | None = None

    @property
    def val_accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.val_accuracies))

    @property
    def train_accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.train_accuracies))


def _flat(base: keras.Model, head: keras.layers.Layer) -> keras.Model:
    return keras.Model(base.input, head(base.output))


def _nested(base: keras.Model, head: keras.layers.Layer) -> keras.Model:
    images = keras.Input(base.input_shape[1:])
    return keras.Model(images, head(base(images)))


def _nested_in_tf_keras(base: keras.Model, head: keras.layers.Layer) -> keras.Model:
    images = tf.keras.Input(base.input_shape[1:])
    return tf.keras.Model(images, head(base(images)))


def _nested_with_flag(base: keras.Model, head: keras.layers.Layer) -> keras.Model:
    images = keras.Input(base.input_shape[1:])
    return keras.Model(images, head(base(images, training=False)))


# From base and head to a network for preprocessed images, as each treatment's users wrote it.
_BUILDERS: dict[str, Callable[[keras.Model, keras.layers.Layer], keras.Model]] = {
    "usual": _flat,
    "own_input_nested": _nested,
    "tf_keras_layers": _nested_in_tf_keras,
    "tutorial": _nested_with_flag,
    "thawed": _nested,
    FINE_TUNED: _nested_with_flag,
}
