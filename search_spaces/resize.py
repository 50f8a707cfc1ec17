"""The only resize: antialiased with a triangle kernel, in stock Keras operations.

All images pass through it: when they are decoded for training, and inside every exported model.
`keras.layers.Resizing(antialias=True)` computes the same values but cannot be converted to ONNX or
LiteRT; two matrix products can.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from search_spaces.keras_settings import in_float32

# Values half-way between integers are common (scales are ratios of small numbers), and runtimes
# differ in the last bits. Rounding up from a little below the half agrees in every runtime.
_TIE_MARGIN = 1 / 128


def resize(images: Any, image_size: int, crop: bool = False) -> Any:
    """Resize images to a square and round to whole numbers.

    Before rounding equal to `tf.image.resize(images, (image_size, image_size), antialias=True)`
    within 1e-4. The aspect ratio is not kept, unless `crop` takes the centre square, whose corner
    is at floor((height - side) / 2) and floor((width - side) / 2).

    Args:
        images: RGB values 0 to 255, any dtype, shape (batch, height, width, 3). Height and width
            may be unknown when the graph is built.
        image_size: height and width of the result, in pixels.
        crop: whether to take the centre square alone.

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
    # A subtraction, not an addition: quantizers round the additions of a network.
    return ops.clip(ops.floor(ops.subtract(pixels, -(0.5 + _TIE_MARGIN))), 0.0, 255.0)


@in_float32()
def resizer(image_size: int, crop: bool = False) -> keras.Model:
    """`resize` as a Keras model, from shape (batch, any, any, 3) to (batch, size, size, 3)."""
    inputs = keras.Input((None, None, 3), name="rgb")
    return keras.Model(inputs, resize(inputs, image_size, crop), name="resize")


def _triangle_weights(line: Any, image_size: int, side: Any = None) -> Any:
    """Weight of each source pixel in each target pixel, shape (image_size, length of `line`).

    The kernel is centred on the target pixel, mapped to the source. It is as wide as one target
    pixel when shrinking and as one source pixel when enlarging; each row sums to one. The length
    comes from the tensor, since it may be unknown when the graph is built. With `side`, only so
    many pixels in the middle have weight: slicing them out needs a length that is known.
    """
    source = ops.cumsum(ops.ones_like(line)) - 0.5
    length = _length(line)
    if side is not None:
        source -= ops.floor((length - side) / 2)
        length = side
    scale = length / image_size
    # NumPy, since a tensor created here would become another input of an ONNX file.
    target = ops.multiply(np.arange(image_size, dtype="float32") + np.float32(0.5), scale)
    distance = ops.abs(ops.expand_dims(source, 0) - ops.expand_dims(target, 1))
    weights = ops.maximum(0.0, 1.0 - distance / ops.maximum(scale, 1.0))
    if side is not None:
        inside = ops.logical_and(source > 0, source < side)
        weights *= ops.cast(inside, weights.dtype)
    return weights / ops.sum(weights, axis=1, keepdims=True)


def _length(line: Any) -> Any:
    return ops.sum(ops.ones_like(line))
