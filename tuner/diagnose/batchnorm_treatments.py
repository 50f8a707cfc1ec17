"""The ways in which people treat a backbone's BatchNorm, and the networks that do."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

# Each treatment by name, and its place in Keras's history.
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
    "own_input_nested": "a separate Input and the base called on it: today the same as frozen",
    "own_input_batch": (
        "the same under K.set_learning_phase(1): statistics of the batch in training and in "
        "validation, so that a prediction depends on the rest of the batch"
    ),
    "tf_keras_layers": (
        "layers=tf.keras.layers, the remedy of 2020: tf.keras's BatchNorm takes trainable=False as "
        "inference mode (keras PR #9965); in a current TensorFlow tf.keras is Keras 3 itself, so "
        "this is the same function by construction"
    ),
    "tutorial": (
        "base(x, training=False) and base.trainable = True: since Keras 3 fit overrides the first "
        "(keras issue #20285), and every moving statistic moves"
    ),
    "thawed": "everything trained from the beginning, BatchNorm in training mode",
    "recalibrated": "moving statistics measured again on the training images, then frozen",
    "fine_tuned": (
        "as tutorial with each BatchNorm frozen by itself, so that only weights change: what "
        "tutorial was meant to be"
    ),
}
FINE_TUNED = "fine_tuned"
# Shown for every dataset; fine_tuned only where the user's model needs it.
TREATMENTS = tuple(name for name in HISTORY if name != FINE_TUNED)
LIKE_FROZEN = ("usual", "own_input_nested", "tf_keras_layers")
END_TO_END = ("tutorial", "thawed", FINE_TUNED)
HEAD_FIRST = ("tutorial", FINE_TUNED)


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """The result of one treatment of the backbone's BatchNorm.

    Attributes:
        name: a key of HISTORY.
        right: whether each validation image is classified correctly, bool, shape (seeds, images).
        val_accuracies: of each seed after the last epoch, 0 to 1.
        train_accuracies: of each seed in the last epoch, accumulated while training, 0 to 1.
        moved: moving statistics that its training changes, of `statistics`.
        statistics: arrays of moving statistics that the backbone has.
        epochs: of training.
        equals_frozen: whether its features are those of `frozen`, bit for bit.
        batch_dependent: share of the validation images that change class in other batches; None
            where predictions do not depend on the batch.
    """

    name: str
    right: np.ndarray
    val_accuracies: tuple[float, ...]
    train_accuracies: tuple[float, ...]
    moved: int
    statistics: int
    epochs: int
    equals_frozen: bool = False
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


# From base and head to a network for preprocessed images, as users of each treatment wrote it.
BUILDERS: dict[str, Callable[[keras.Model, keras.layers.Layer], keras.Model]] = {
    "usual": _flat,
    "own_input_nested": _nested,
    "tf_keras_layers": _nested_in_tf_keras,
    "tutorial": _nested_with_flag,
    "thawed": _nested,
    FINE_TUNED: _nested_with_flag,
}
