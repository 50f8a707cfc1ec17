"""Vet a SavedModel, an ONNX or a LiteRT file before its runtime opens it; nothing is run here.

A SavedModel's operations may read and write any file and call Python; an ONNX file may keep its
weights in other files; a LiteRT file may call custom operations.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuner.storage.atomic import open_file
from tuner.untrusted.keras_archive import ArchiveError

_SAVED_MODEL = "saved_model.pb"
_MOST_GRAPH_BYTES = 500_000_000
_DESCRIPTION_OBJECTS = {"variable", "user_object", "bare_concrete_function", "function", "constant"}

# TensorFlow operations that only compute a result from their inputs: those of our exports, and of
# other stock layers.
# https://www.tensorflow.org/api_docs/python/tf/raw_ops
_OPERATIONS = """
    Abs Add AddN AddV2 All Any ArgMax ArgMin Assert AvgPool BatchMatMul BatchMatMulV2
    BatchMatMulV3 BatchToSpaceND BiasAdd BroadcastArgs BroadcastTo Cast Ceil ClipByValue Concat
    ConcatV2 Const Conv2D Conv2DBackpropInput Cos Cosh CropAndResize Cumprod Cumsum DecodeImage
    DecodeJpeg DecodePng DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu EnsureShape
    Equal Erf Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual Identity IdentityN If
    InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less LessEqual Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool MaxPoolV2 Maximum Mean Merge
    Min Minimum MirrorPad Mod Mul MulNoNan Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2
    PartitionedCall Placeholder PlaceholderWithDefault Pow Prod Range Rank ReadVariableOp
    RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse
    ReverseV2 Rint Round Rsqrt ScaleAndTranslate Select SelectV2 Selu Shape ShapeN Sigmoid Sign
    Sin Sinh Size Slice Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt
    Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessWhile
    StopGradient StridedSlice Sub Sum Tan Tanh TensorListElementShape TensorListFromTensor
    TensorListGetItem TensorListLength TensorListReserve TensorListSetItem TensorListStack Tile
    TopKV2 Transpose TruncateDiv Unpack Unstack Where While ZerosLike
"""
_COMPUTES = frozenset(_OPERATIONS.split())
# Variables are created and assigned outside the functions.
_VARIABLES = {"AssignVariableOp", "DisableCopyOnRead", "VarHandleOp", "VarIsInitializedOp"}
_ONNX_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
_LITERT_CUSTOM = 32  # BuiltinOperator.CUSTOM of the LiteRT schema
_LITERT_DELEGATE = 51


def check_savedmodel(folder: Path) -> None:
    """Refuse a SavedModel that does more than compute, or is damaged, with an ArchiveError."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2  # the format of the file

    message, content = saved_model_pb2.SavedModel(), _read(folder / _SAVED_MODEL)
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise ArchiveError(f"is damaged: {_SAVED_MODEL} is no SavedModel") from error
    if len(message.meta_graphs) != 1 or not message.meta_graphs[0].object_graph_def.nodes:
        raise ArchiveError("is not a SavedModel as Keras writes it")
    graph = message.meta_graphs[0]
    _check_objects(graph)
    _check_functions(graph.graph_def.library)
    for name in sorted(_operations(graph)):
        if name not in _COMPUTES:
            raise ArchiveError(_does(name))
    for node in graph.graph_def.node:
        if node.op not in _COMPUTES | _VARIABLES:
            raise ArchiveError(_does(node.op))


def _check_objects(graph: Any) -> None:
    """Refuse objects that run, or read a file, when a SavedModel is loaded."""
    kinds = {node.WhichOneof("kind") for node in graph.object_graph_def.nodes}
    saved_otherwise = any(node.saveable_objects for node in graph.object_graph_def.nodes)
    if not kinds <= _DESCRIPTION_OBJECTS or graph.asset_file_def or saved_otherwise:
        raise ArchiveError("holds files or resources of its own, which no image classifier needs")


def _check_functions(library: Any) -> None:
    """Refuse functions named as an operation: TensorFlow would call the function instead."""
    import tensorflow as tf

    names = [function.signature.name for function in library.function]
    if len(names) != len(set(names)):
        raise ArchiveError("holds two functions of one name")
    for name in names:
        if name in _COMPUTES or hasattr(tf.raw_ops, name):
            raise ArchiveError(f"holds a function that is named as the operation {name}")


def _operations(graph: Any) -> set[str]:
    """The operations of every function except those that save and restore variables.

    No loader of SavedModels with objects runs these; if anything else calls them, their operations
    are included.
    """
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    waiting, seen = [*_roots(graph)], set[str]()
    operations: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        if name not in functions:
            raise ArchiveError("is damaged: it calls a function that it does not hold")
        seen.add(name)
        for node in functions[name].node_def:
            waiting += _called(node)
            if node.op in functions:
                waiting.append(node.op)
            else:
                operations.add(node.op)
    return operations


def _roots(graph: Any) -> Iterator[str]:
    """Names of the functions that may be called; saving only if an object uses it."""
    library, objects = graph.graph_def.library, graph.object_graph_def
    functions = {function.signature.name for function in library.function}
    saver = {graph.saver_def.save_tensor_name.split(":")[0], graph.saver_def.restore_op_name}
    saving = {name for node in graph.graph_def.node if node.name in saver for name in _called(node)}
    yield from functions - saving
    for node in graph.graph_def.node:
        if node.name not in saver:
            yield from _called(node)
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        if node.WhichOneof("kind") == "bare_concrete_function":
            yield node.bare_concrete_function.concrete_function_name
    for gradient in (*library.gradient, *library.registered_gradients):
        yield gradient.gradient_func


def _called(node: Any) -> Iterator[str]:
    """The functions that a node's attributes name, and those that are given to these."""
    for message in _messages(node):
        kind = message.DESCRIPTOR.name
        if kind == "NameAttrList":
            yield message.name
        if kind == "AttrValue" and message.HasField("placeholder"):
            raise ArchiveError("holds an operation that is to be chosen only when it is called")


def _messages(message: Any) -> Iterator[Any]:
    """A protocol buffer and all those in it."""
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


def check_onnx(path: Path) -> None:
    """Refuse an ONNX file of custom operations, or with weights in other files, or damaged."""
    import onnx
    from google.protobuf.message import DecodeError

    content = _read(path)
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ArchiveError("is damaged: it is not an ONNX file") from error
    if not model.graph.node:
        raise ArchiveError("is not an ONNX file")
    for message in _messages(model):
        kind = message.DESCRIPTOR.name
        if kind == "NodeProto" and message.domain not in _ONNX_DOMAINS:
            raise ArchiveError(_does(f"{message.domain}.{message.op_type}"))
        if kind == "TensorProto" and (message.data_location or message.external_data):
            raise ArchiveError("keeps numbers in another file")


def check_litert(path: Path) -> None:
    """Refuse a LiteRT file of custom operations, or with weights in other files, or damaged."""
    from ai_edge_litert import schema_py_generated as schema  # the format of the file

    content = _read(path)
    if content[4:8] != b"TFL3":
        raise ArchiveError("is not a LiteRT file")
    try:
        model = schema.Model.GetRootAsModel(content)
        codes = [model.OperatorCodes(number) for number in range(model.OperatorCodesLength())]
        found = [(code.CustomCode(), _builtin(code)) for code in codes]
        external = model.ExternalBufferGroupsLength() or model.ExternalBuffersLength()
    except Exception as error:  # reading past the end raises any of several types
        raise ArchiveError("is damaged or cut short") from error
    for custom, builtin in found:
        if custom is not None or builtin in (_LITERT_CUSTOM, _LITERT_DELEGATE):
            raise ArchiveError(_does((custom or b"a delegate").decode("utf-8", "replace")))
    if external:
        raise ArchiveError("keeps numbers in another file")


def _builtin(code: Any) -> int:
    """The operation's number; older files have only a field of seven bits."""
    return max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))


def _does(operation: str) -> str:
    return f"holds the operation {operation[:80]}, which does more than compute"


def _read(path: Path) -> bytes:
    if path.stat().st_size > _MOST_GRAPH_BYTES:
        raise ArchiveError(f"has more than {_MOST_GRAPH_BYTES // 10**6} MB of graph")
    with open_file(path) as file:
        return file.read()
