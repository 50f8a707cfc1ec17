"""The data of all experiments: images, their pooled features, and heads to train on those."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import PretrainedBackbone, preprocess
from search_spaces.resnet50 import ResNet50Space
from tuner.counting import Progress, silent
from tuner.diagnose.head_training import Heads
from tuner.features.pooled import pooled
from tuner.features.shards import BATCH
from tuner.storage.cache import Cache
from tuner.training.rows import Rows

Program = Callable[[np.ndarray], np.ndarray]  # from a batch of uint8 pixels to features


@dataclass(frozen=True)
class ExperimentData:
    """Images of a dataset and their features on the frozen backbone.

    Attributes:
        space: decides image size, weights and the number of classes.
        backbone: the space's.
        training: images, uint8, shape (n, image_size, image_size, 3), with their class numbers.
        validation: the same of the images that accuracy is measured on.
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

    def first(self, training: int, validation: int) -> "ExperimentData":
        """The first images alone, for experiments that take long for each image."""
        return replace(
            self,
            training=_first(self.training, training),
            validation=_first(self.validation, validation),
            pooled_training=_first(self.pooled_training, training),
            pooled_validation=_first(self.pooled_validation, validation),
        )


def extract_features(
    space: ResNet50Space,
    training: Rows,
    validation: Rows,
    cache: Cache,
    on_progress: Progress = silent,
    network: keras.Model | None = None,
) -> ExperimentData:
    """Compute the pooled features that are not in the cache yet.

    Args:
        space: decides image size, weights and the number of classes.
        training: images, uint8, shape (n, image_size, image_size, 3), with their class numbers.
        validation: the same of the images that accuracy is measured on.
        cache: keeps the features.
        on_progress: counts images.
        network: as `space.build_backbone` returns it; None to build it.
    """
    backbone = PretrainedBackbone(space.build_backbone() if network is None else network)
    images = {"training features": training.x, "validation features": validation.x}
    pooled_training, pooled_validation = pooled(backbone, images, cache, on_progress)
    return ExperimentData(
        space,
        backbone,
        training,
        validation,
        pooled_training=Rows(pooled_training, training.y),
        pooled_validation=Rows(pooled_validation, validation.y),
        heads=Heads(space, backbone),
    )


def compiled(
    network: keras.Model, *, training: bool, prepare: Callable[[Any], Any] = preprocess
) -> Program:
    """Compile a network into a function of uint8 pixels.

    Args:
        network: a backbone.
        training: whether it runs in training mode.
        prepare: from float32 RGB images, 0 to 255, to the network's input.
    """
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)

    @tf.function(input_signature=[signature])
    def run(images: tf.Tensor) -> tf.Tensor:
        return network(prepare(tf.cast(images, tf.float32)), training=training)

    return lambda pixels: run(tf.constant(pixels)).numpy()


def features_of(
    program: Program, pixels: np.ndarray, on_images: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """Features of any number of images.

    Args:
        program: as `compiled` returns it.
        pixels: uint8, shape (n, image_size, image_size, 3).
        on_images: called with the number of images done, after each batch.

    Returns:
        float32, shape (n, 2048).
    """
    features = []
    for start in range(0, len(pixels), BATCH):
        features.append(program(pixels[start : start + BATCH]))
        on_images(min(start + BATCH, len(pixels)))
    return np.concatenate(features)


def batch_features(
    program: Program, pixels: np.ndarray, batches: Sequence[np.ndarray]
) -> np.ndarray:
    """Features with the statistics of given batches, as BatchNorm has them in training.

    Args:
        program: `compiled(network, training=True)` of a backbone whose BatchNorm is trainable; its
            moving statistics change unless their momentum is 1.
        pixels: uint8, shape (n, image_size, image_size, 3).
        batches: index arrays that together hold every image once.

    Returns:
        float32, shape (n, 2048).
    """
    features = np.concatenate([program(pixels[batch]) for batch in batches])
    return features[np.argsort(np.concatenate(batches))]


def _first(rows: Rows, count: int) -> Rows:
    return Rows(rows.x[:count], rows.y[:count])
