"""The one resize: antialiased, triangle kernel, made of stock Keras operations.

Images reach the network through this function alone: when they are decoded for training, and
inside every exported model. `keras.layers.Resizing(antialias=True)` computes the same numbers but
cannot be converted to ONNX or LiteRT; two matrix products can.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

# Half-way values are common (scales are ratios of small numbers) and runtimes differ in the last
# bits. Rounding a little below the half sends all of them up, in every runtime.
_TIE_MARGIN = 1 / 128


def resize(images: Any, image_size: int, crop: bool = False) -> Any:
    """Resizes to a square and rounds to whole numbers, as pixels are.

    Equals `tf.image.resize(images, (image_size, image_size), antialias=True)` within 1e-4 before
    rounding. The aspect ratio is not kept; with `crop` the centre square alone is taken, which
    begins at floor((height - side) / 2) and floor((width - side) / 2).

    Args:
        images: RGB values 0 to 255, any dtype, shape (batch, height, width, 3). Height and width
            may be unknown when the graph is built.
        image_size: height and width of the result, in pixels.
        crop: whether what lies outside the centre square is left out.

    Returns:
        float32 tensor of whole numbers 0 to 255, shape (batch, image_size, image_size, 3).
    """
    planes = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))
    column, row = planes[0, 0, :, 0], planes[0, 0, 0, :]
    side = ops.minimum(_length(column), _length(row)) if crop else None
    by_row = _triangle_weights(column, image_size, side)
    by_column = _triangle_weights(row, image_size, side)
    planes = ops.matmul(ops.matmul(by_row, planes), ops.transpose(by_column))
    pixels = ops.transpose(planes, (0, 2, 3, 1))
    # A subtraction, as networks have none: what quantizes their additions leaves this one alone.
    return ops.clip(ops.floor(ops.subtract(pixels, -(0.5 + _TIE_MARGIN))), 0.0, 255.0)


def resizer(image_size: int, crop: bool = False) -> keras.Model:
    """The same resize as a stock Keras model: (batch, any, any, 3) to (batch, size, size, 3)."""
    inputs = keras.Input((None, None, 3), name="rgb")
    return keras.Model(inputs, resize(inputs, image_size, crop), name="resize")


def _triangle_weights(line: Any, image_size: int, side: Any = None) -> Any:
    """Weight of each source pixel in each target pixel, shape (image_size, length of `line`).

    With `side`, only so many pixels in the middle have any: a slice whose length is not known when
    the graph is built is no stock operation.

    A target pixel's centre is mapped to the source; the kernel is as wide as one target pixel when
    shrinking and as one source pixel when enlarging, and each row adds up to one. The length is
    taken from the tensor itself, since the graph is built before it is known.
    """
    source = ops.cumsum(ops.ones_like(line)) - 0.5
    length = _length(line)
    if side is not None:
        source -= ops.floor((length - side) / 2)
        length = side
    scale = length / image_size
    # Of NumPy: a tensor made here would become another input of an ONNX file.
    target = ops.multiply(np.arange(image_size, dtype="float32") + np.float32(0.5), scale)
    distance = ops.abs(ops.expand_dims(source, 0) - ops.expand_dims(target, 1))
    weights = ops.maximum(0.0, 1.0 - distance / ops.maximum(scale, 1.0))
    if side is not None:
        inside = ops.logical_and(source > 0, source < side)
        weights *= ops.cast(inside, weights.dtype)
    return weights / ops.sum(weights, axis=1, keepdims=True)


def _length(line: Any) -> Any:
    return ops.sum(ops.ones_like(line))
