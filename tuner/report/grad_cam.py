"""Where the network looked: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391).

The heat of a place is the sum of the last convolution's channels there, each weighted by the mean
gradient of the predicted class's logit; negative sums are cut off.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import preprocess
from tuner.counting import Progress, silent

_LAYER = "conv5_block3_out"
_LOGITS = "head_logits"
_BATCH = 8


def heat_maps(
    model: keras.Model, pixels: np.ndarray, classes: np.ndarray, on_progress: Progress = silent
) -> np.ndarray:
    """Grad-CAM of each image for one class.

    Args:
        model: a whole network of `ResNet50Space`, as `trained_model` returns it.
        pixels: uint8, shape (images, image_size, image_size, 3).
        classes: the class that each map is for, shape (images,).
        on_progress: counts images.

    Returns:
        float32, 0 to 1 within each image, shape (images, image_size / 32, image_size / 32).
    """
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    layer = backbone.get_layer(_LAYER)
    below = keras.Model(backbone.input, layer.output)
    above = keras.Model(layer.output, backbone.output)
    head = model.layers[model.layers.index(backbone) + 1 :]
    maps = []
    for start in range(0, len(pixels), _BATCH):
        batch = tf.cast(pixels[start : start + _BATCH], tf.float32)
        maps.append(_maps(below, above, head, batch, classes[start : start + _BATCH]))
        on_progress("heat maps", min(start + _BATCH, len(pixels)), len(pixels))
    return np.concatenate(maps)


def _maps(below: Any, above: Any, head: Any, images: Any, classes: np.ndarray) -> np.ndarray:
    activations = below(preprocess(images), training=False)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        scores = above(activations, training=False)
        for layer in head:
            scores = layer(scores, training=False)
            if layer.name == _LOGITS:
                break
        logits = tf.gather(scores, classes.astype(np.int32), batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(logits, activations), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1)).numpy()
    coldest = heat.min(axis=(1, 2), keepdims=True)
    room = heat.max(axis=(1, 2), keepdims=True) - coldest
    return (heat - coldest) / np.where(room > 0, room, 1)
