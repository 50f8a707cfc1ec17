"""What Keras would make of a `.keras` file, added up before any of it is made.

A few bytes of configuration may ask for more than any memory holds: the weights of two layers are
as many as the product of their units, and they are made before any is read. In a graph of
TensorFlow nothing is computed, and an array is no more than its shape; so the model is built in one
first, and an image goes through it there.
"""

import json
import math
from typing import Any

from tuner.untrusted.array_sizes import MOST_OF_AN_IMAGE
from tuner.untrusted.keras_archive import ArchiveError, KerasFile

# Making a weight takes four numbers, or nine where it is orthogonal to others; an optimizer makes
# two for each of the up to five that it keeps.
_MOST_EXPANSION = 20
_FEW = 1 << 20
_SIDE = 224  # of the image, where a model takes any


def rehearse(file: KerasFile, compiled: bool) -> None:
    """Refuses a file whose model would fill the memory when it is built, or when it sees an image.

    What layers do in loops that TensorFlow runs, such as recurrent ones, is not looked into.

    Args:
        file: what `check_keras_file` found.
        compiled: whether the optimizer is to be loaded too.

    Raises:
        ArchiveError: why not.
        Exception: Keras cannot build the model; whatever it raised first.
    """
    import keras
    import tensorflow as tf

    config = json.loads(file.config)
    if not compiled:
        config["compile_config"] = None
    with tf.Graph().as_default() as graph:
        model = keras.saving.deserialize_keras_object(config)
        building = graph.get_operations()
        _check_building(building, file.numbers)
        if not getattr(model, "inputs", None):
            raise ArchiveError("has no keras.Input, without which its layers are not all built")
        shape = _image_shape(model)
        if shape is not None:
            _run(model, tf.zeros(shape, model.inputs[0].dtype))
        computing = graph.get_operations()[len(building) :]
    largest = max((made for made in map(_made, computing) if made < math.inf), default=0)
    if largest > max(MOST_OF_AN_IMAGE, file.numbers):
        raise ArchiveError(
            f"makes {largest / 10**6:,.0f} million numbers of an image in one layer, as no image "
            "classifier does"
        )


def _check_building(operations: list[Any], numbers: int) -> None:
    """Compares what is made when a model is built with how many numbers its weights are."""
    made = sum(map(_made, operations))
    if made == math.inf or any(
        value.HasField("func") for each in operations for value in each.node_def.attr.values()
    ):
        raise ArchiveError("computes while it is loaded, as no model does")
    if made > _MOST_EXPANSION * numbers + _FEW:
        raise ArchiveError(
            f"asks for layers of {made / 10**6:,.0f} million numbers, but holds weights of "
            f"{numbers / 10**6:,.1f} million"
        )


def _run(model: Any, image: Any) -> None:
    try:
        model(image, training=False)
    except Exception as error:  # Keras raises whatever a layer met first
        _, height, width, _ = image.shape
        raise ArchiveError(f"does not run on an image of {height} x {width} pixels") from error


def _made(operation: Any) -> float:
    """How many numbers an operation makes, infinite where it does not tell."""
    if operation.type == "ReadVariableOp":
        return 0  # it has made nothing new
    if operation.type == "VarHandleOp":
        return math.prod(side.size for side in operation.get_attr("shape").dim)
    sizes = [output.shape.num_elements() for output in operation.outputs]
    return math.inf if None in sizes else sum(sizes)


def _image_shape(model: Any) -> tuple[int, ...] | None:
    """That of one image that a model takes, or None if it takes none."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return None
    batch, height, width, channels = model.inputs[0].shape
    return batch or 1, height or _SIDE, width or _SIDE, channels or 3
