"""What experiments on stuck accuracy look at: the images, their pooled features, and heads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import PretrainedBackbone, preprocess
from search_spaces.resnet50 import ResNet50Space
from tuner.counting import Progress, telling
from tuner.diagnose.head_training import Heads
from tuner.features.shards import BATCH
from tuner.features.store import FeatureStore
from tuner.storage.cache import Cache
from tuner.training.rows import Rows


@dataclass(frozen=True)
class Evidence:
    """Images of a dataset and what the frozen backbone makes of them.

    Attributes:
        space: decides image size, weights and the number of classes.
        backbone: the space's.
        training: images, uint8, shape (n, image_size, image_size, 3), with their class numbers.
        validation: the same of the images that decide.
        pooled_training: features of the training images, float32, shape (n, 2048), with the class
            numbers.
        pooled_validation: the same of the validation images.
        heads: trains heads on such features.
    """

    space: ResNet50Space
    backbone: PretrainedBackbone
    training: Rows
    validation: Rows
    pooled_training: Rows
    pooled_validation: Rows
    heads: Heads

    def first(self, training: int, validation: int) -> "Evidence":
        """The same of the first images alone, for what takes long for each of them."""
        return replace(
            self,
            training=_first(self.training, training),
            validation=_first(self.validation, validation),
            pooled_training=_first(self.pooled_training, training),
            pooled_validation=_first(self.pooled_validation, validation),
        )


def gather(
    space: ResNet50Space,
    training: Rows,
    validation: Rows,
    cache: Cache,
    on_progress: Progress | None = None,
    network: keras.Model | None = None,
) -> Evidence:
    """Computes the pooled features that are not in the cache yet.

    Args:
        space: decides image size, weights and the number of classes.
        training: images, uint8, shape (n, image_size, image_size, 3), with their class numbers.
        validation: the same of the images that decide.
        cache: keeps the features.
        on_progress: is told (what is done, images done, of how many).
        network: as `space.build_backbone` returns it, where there is one already.
    """
    backbone = PretrainedBackbone(space.build_backbone() if network is None else network)
    store = FeatureStore(backbone.lend(0), cache)
    store.stored = (0,)

    def pooled(rows: Rows, what: str) -> Rows:
        features: np.ndarray = store.open(rows.x, telling(on_progress, what)).rows(0)[:]
        return Rows(features, rows.y)

    return Evidence(
        space, backbone, training, validation,
        pooled(training, "training features"), pooled(validation, "validation features"),
        Heads(space, backbone),
    )  # fmt: skip


def frozen_features(
    network: keras.Model, pixels: np.ndarray, prepare: Callable[[Any], Any] = preprocess
) -> np.ndarray:
    """Pooled features with the moving statistics, computed anew.

    Args:
        network: a backbone.
        pixels: uint8, shape (n, image_size, image_size, 3).
        prepare: from float32 images, 0 to 255, to what the network gets.

    Returns:
        float32, shape (n, 2048).
    """
    return features_of(compiled(network, training=False, prepare=prepare), pixels)


def features_of(
    program: Callable[[np.ndarray], np.ndarray],
    pixels: np.ndarray,
    on_images: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """The same by a program of `compiled`, which serves any number of calls.

    Args:
        program: from a batch of pixels to features.
        pixels: as for `frozen_features`.
        on_images: is told how many images are done, after each batch.
    """
    features = []
    for start in range(0, len(pixels), BATCH):
        features.append(program(pixels[start : start + BATCH]))
        on_images(min(start + BATCH, len(pixels)))
    return np.concatenate(features)


def compiled(
    network: keras.Model, *, training: bool, prepare: Callable[[Any], Any] = preprocess
) -> Callable[[np.ndarray], np.ndarray]:
    """A program from a batch of uint8 pixels to a network's output, in either mode.

    Args:
        network: a backbone.
        training: whether it is called as in training.
        prepare: as for `frozen_features`.
    """
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)

    @tf.function(input_signature=[signature])
    def run(images: tf.Tensor) -> tf.Tensor:
        return network(prepare(tf.cast(images, tf.float32)), training=training)

    return lambda pixels: run(tf.constant(pixels)).numpy()


def _first(rows: Rows, count: int) -> Rows:
    return Rows(rows.x[:count], rows.y[:count])
