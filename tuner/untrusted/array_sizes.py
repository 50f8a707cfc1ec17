"""How many numbers a SavedModel, an ONNX or a LiteRT file would make of the few that it holds.

Their runtimes fill an array as soon as they know its shape, which takes a few bytes to write.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuner.untrusted.keras_archive import ArchiveError

# What a step of a network makes of one image: 1024 x 1024 pixels of 64 channels, as in the largest.
MOST_OF_AN_IMAGE = 1 << 26
# The shortest numbers have two bits; a few arrays whose numbers are all equal are written as one.
_NUMBERS_IN_A_BYTE = 4
_FEW = 1 << 20
_SIDE = 224  # of an image, where a graph takes any
_LONGEST_SHAPE_BYTES = 1000


def check_claims(message: Any, file_bytes: int) -> None:
    """Refuses constants that claim far more numbers than the file has room for.

    Args:
        message: protocol buffers of a SavedModel or an ONNX file.
        file_bytes: its size.

    Raises:
        ArchiveError: they do.
    """
    numbers = 0
    for each in messages(message):
        if each.DESCRIPTOR.name in ("TensorProto", "SparseTensorProto"):
            of_tensorflow = hasattr(each, "tensor_shape")
            shape = [dim.size for dim in each.tensor_shape.dim] if of_tensorflow else each.dims
            numbers += abs(math.prod(shape))
    if numbers > _NUMBERS_IN_A_BYTE * file_bytes + _FEW:
        raise ArchiveError(
            f"claims arrays of {numbers // 10**6} million numbers, but has "
            f"{file_bytes / 10**6:.1f} MB"
        )


def check_largest(numbers: int) -> None:
    """Refuses a graph whose largest array has more numbers than any classifier's.

    Raises:
        ArchiveError: it has.
    """
    if numbers > MOST_OF_AN_IMAGE:
        raise ArchiveError(
            f"makes an array of {numbers // 10**6} million numbers, as no image classifier does"
        )


def largest_of_onnx(model: Any) -> int:
    """How many numbers a model's largest array has for one image, as far as ONNX tells.

    Args:
        model: is changed: its inputs are of that image, and of its numbers only those that may be
            shapes are left.

    Raises:
        ArchiveError: its shapes contradict each other.
    """
    import onnx

    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > _LONGEST_SHAPE_BYTES:
            tensor.ClearField("raw_data")
    for value in model.graph.input:
        for number, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_value = dim.dim_value or (_SIDE if number else 1)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # several types, not all of them of onnx
        raise ArchiveError("is damaged: the shapes of its arrays cannot be told") from error
    dims = [value.type.tensor_type.shape.dim for value in inferred.graph.value_info]
    return _largest([dim.dim_value or 1 for dim in shape] for shape in dims)


def largest_of_litert(model: Any) -> int:
    """How many numbers a model's largest array has for one image, as the file says."""
    graphs = map(model.Subgraphs, range(model.SubgraphsLength()))
    tensors = [graph.Tensors(number) for graph in graphs for number in range(graph.TensorsLength())]
    return _largest(map(tensor.Shape, range(tensor.ShapeLength())) for tensor in tensors)


def _largest(shapes: Iterable[Iterable[int]]) -> int:
    return max(map(math.prod, shapes), default=0)


def messages(message: Any) -> Iterator[Any]:
    """A message of protocol buffers and all messages in it."""
    from google.protobuf.message import Message

    waiting = [message]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            values = value.values() if isinstance(value, Mapping) else value
            found = [value] if isinstance(value, Message) else values
            waiting += [each for each in found if isinstance(each, Message)]  # or texts by name
