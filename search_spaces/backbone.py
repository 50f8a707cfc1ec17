"""The ResNet50 backbone, its BatchNorm always in inference mode, and its cuts.

Every BatchNormalization of the backbone has `trainable=False`, at every unfreeze depth. Only that
makes Keras run it in inference mode in `fit` as well (keras PR #9965): its moving statistics never
change, and an image's output depends neither on its batch nor on the training flag. Passing
`training=False` in a functional graph is not enough: `fit` of Keras 3 overrides it (keras issue
#20285).
"""

import itertools
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from search_spaces.keras_settings import in_float32
from search_spaces.pretrained_weights import check_weights, load_weights
from tuner.errors import SettingsError

# Residual blocks from input to output (He et al. 2016, arXiv:1512.03385).
BLOCKS = tuple(
    f"conv{stage}_block{block}"
    for stage, count in ((2, 3), (3, 4), (4, 6), (5, 3))
    for block in range(1, count + 1)
)
# Unfreeze depths whose cuts divide the network into segments, from input to output.
CUTS = (16, 9, 6, 3, 2, 1, 0)
SMALLEST_IMAGE_SIZE = 32
# keras.applications.resnet50.preprocess_input: mean of ImageNet's blue, green and red.
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@in_float32()
def build_backbone(image_size: int, weights: str | Path = "imagenet") -> keras.Model:
    """Build ResNet50 without its top, completely frozen.

    Args:
        image_size: height and width of the images in pixels, at least 32.
        weights: "imagenet"; "none" for random weights, the same in every process; or a file:
            `.weights.h5`, or the `.h5` without top that Keras downloads.

    Returns:
        Model from preprocessed images, shape (batch, image_size, image_size, 3), to pooled
        features, shape (batch, 2048). Its layers have the names of keras.applications.

    Raises:
        SettingsError: the image size is too small.
        WeightsError: the weights are missing, damaged, or of another network.
    """
    if image_size < SMALLEST_IMAGE_SIZE:
        raise SettingsError(
            f"image size must be at least {SMALLEST_IMAGE_SIZE} pixels, but is {image_size}."
        )
    check_weights(weights)
    backbone = keras.applications.ResNet50(
        include_top=False, weights=None, pooling="avg", input_shape=(image_size, image_size, 3)
    )
    load_weights(backbone, weights)
    unfreeze(backbone, 0)
    return backbone


class PretrainedBackbone:
    """A backbone shared by many networks, one after the other; each starts from the same weights.

    Args:
        model: from `build_backbone`; after each `lend` it has its pretrained weights.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._pretrained = {
            layer.name: layer.get_weights() for layer in trained_convolutions(model, len(BLOCKS))
        }
        self._lent_blocks = 0

    def lend(self, unfreeze_blocks: int) -> keras.Model:
        """Return the pretrained backbone, of which the borrower trains so many blocks."""
        for layer in trained_convolutions(self.model, self._lent_blocks):
            layer.set_weights(self._pretrained[layer.name])
        self._lent_blocks = unfreeze_blocks
        return self.model


def preprocess(images: Any) -> Any:
    """Convert RGB values 0 to 255 to the input of ResNet50: BGR minus ImageNet's mean.

    Equals `keras.applications.resnet50.preprocess_input`, as operations of the graph: float32,
    shape (batch, height, width, 3).
    """
    return ops.subtract(ops.flip(images, axis=-1), np.array(_IMAGENET_MEAN_BGR, "float32"))


def check_unfreeze_blocks(unfreeze_blocks: int) -> None:
    """Raise SettingsError unless `unfreeze_blocks` is from 0 to 16."""
    if not 0 <= unfreeze_blocks <= len(BLOCKS):
        raise SettingsError(
            f"unfreeze_blocks must be from 0 to {len(BLOCKS)}, but is {unfreeze_blocks}."
        )


def unfreeze(backbone: keras.Model, unfreeze_blocks: int) -> None:
    """Make the convolutions of the top blocks trainable, and nothing else; 16 leaves the stem."""
    trained = trained_convolutions(backbone, unfreeze_blocks)
    for layer in backbone.layers:
        layer.trainable = layer in trained


def trained_convolutions(backbone: keras.Model, unfreeze_blocks: int) -> list[keras.layers.Layer]:
    """The convolution layers of the top `unfreeze_blocks` blocks, from input to output."""
    check_unfreeze_blocks(unfreeze_blocks)
    prefixes = tuple(f"{block}_" for block in BLOCKS[len(BLOCKS) - unfreeze_blocks :])
    return [
        layer
        for layer in backbone.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.name.startswith(prefixes)
    ]


def cut_layer(unfreeze_blocks: int) -> str:
    """Name of the last frozen layer, whose output is the cut: 'conv4_block6_out' for 3 blocks."""
    check_unfreeze_blocks(unfreeze_blocks)
    if unfreeze_blocks == 0:
        return "avg_pool"
    if unfreeze_blocks == len(BLOCKS):
        return "pool1_pool"
    return f"{BLOCKS[-unfreeze_blocks - 1]}_out"


@in_float32()
def segments(backbone: keras.Model) -> list[keras.Model]:
    """The network as models that end at the CUTS, in order.

    Returns:
        One model for each cut, sharing the backbone's layers: the first from RGB values 0 to 255,
        shape (batch, image_size, image_size, 3), each other from the activations at the cut before.
    """
    ends = [backbone.get_layer(cut_layer(cut)).output for cut in CUTS]
    images = keras.Input(backbone.input_shape[1:], name="image")
    stem = keras.Model(backbone.input, ends[0], name="stem")
    first = keras.Model(images, stem(preprocess(images)))
    return [first, *(keras.Model(start, end) for start, end in itertools.pairwise(ends))]


def multiply_accumulates(segment: keras.Model) -> int:
    """Multiply-accumulate operations of a model's convolutions for one image."""
    total = 0
    for layer in segment.layers:
        if isinstance(layer, keras.Model):
            total += multiply_accumulates(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * math.prod(layer.kernel.shape)
    return total
