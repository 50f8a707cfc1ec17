"""Hostile SavedModel, ONNX and LiteRT files, for tests of vetting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


class Serves(tf.Module):
    """A SavedModel whose one function does what it is given."""

    def __init__(self, function: Callable[[Any], Any], dtype: str = "float32") -> None:
        super().__init__()
        signature = [tf.TensorSpec((None, None, None, 3), dtype, name="rgb")]
        self.serve = tf.function(function, input_signature=signature)

    def save(self, folder: Path) -> Path:
        tf.saved_model.save(self, str(folder), {"serving_default": self.serve})
        return folder


def serve(folder: Path) -> Any:
    """The result of a SavedModel of `Serves`, loaded without vetting."""
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return signature(rgb=tf.zeros((1, 2, 2, 3)))


def writing(canary: Path) -> Callable[[Any], Any]:
    """A function that writes a file."""

    def written(x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(canary), "harm")]):
            return tf.identity(x)

    return written


def with_a_function_named(name: str, folder: Path, canary: Path) -> Path:
    """A SavedModel with a node whose operation is the name of a function that writes a file."""
    written = tf.function(writing(canary), input_signature=[tf.TensorSpec((None, 3))])
    Serves(lambda rgb: {"probabilities": written(tf.reduce_mean(rgb, (1, 2)))}).save(folder)

    def rename(graph: Any) -> None:
        functions = graph.graph_def.library.function
        (function,) = (f for f in functions if f.signature.name.startswith("__inference_written"))
        old, function.signature.name = function.signature.name, name
        output = function.signature.output_arg[0].name
        for caller in functions:
            for node in caller.node_def:
                if any(value.func.name == old for value in node.attr.values()):
                    node.op = name
                    node.attr.clear()
                    for user in caller.node_def:
                        inputs = [
                            i.replace(f"{node.name}:output", f"{node.name}:{output}")
                            for i in user.input
                        ]
                        user.input[:] = inputs

    return changed(folder, rename)


def with_a_constant_of(rows: int, folder: Path) -> Path:
    """A SavedModel with a constant, (rows, 3), of which one number is written."""

    def probabilities(rgb: Any) -> Any:
        mean = tf.reduce_mean(tf.cast(rgb, "float32"), (1, 2))
        return {"probabilities": mean + tf.reduce_mean(tf.ones((2, 3)))}

    Serves(probabilities, "uint8").save(folder)

    def enlarge(graph: Any) -> None:
        nodes = [node for each in graph.graph_def.library.function for node in each.node_def]
        for node in nodes:
            node.attr.pop("_output_shapes")
            if node.name == "ones":
                node.attr["value"].tensor.tensor_shape.dim[0].size = rows

    return changed(folder, enlarge)


def changed(folder: Path, change: Callable[[Any], None]) -> Path:
    """A SavedModel whose graph is another."""
    file = folder / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(message.meta_graphs[0])
    file.write_bytes(message.SerializeToString())
    return folder


def onnx_model(**changes: Any) -> Any:
    """An ONNX model of a product and a branch, in whatever domains are named."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    weight = onnx.numpy_helper.from_array(np.ones(3, "float32"), "w")
    inner = make.make_graph(
        [make.make_node("Neg", ["x"], ["z"], domain=changes.get("inside", ""))],
        "inner",
        [],
        [make.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [3])],
    )
    nodes = [
        make.make_node("Mul", ["x", "w"], ["y"], domain=changes.get("domain", "")),
        make.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner),
    ]
    values = [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3])]
    return make.make_model(make.make_graph(nodes, "graph", values, [], [weight]))


def onnx_with_numbers_elsewhere() -> Any:
    """An ONNX model whose weight is said to lie in another file."""
    onnx = pytest.importorskip("onnx")
    model = onnx_model()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")
    return model


def onnx_with_an_array_of(*shape: int) -> Any:
    """An ONNX model that onnxruntime opens, and that fills an array of that shape."""
    onnx = pytest.importorskip("onnx")
    make, of, types = onnx.helper, onnx.helper.make_tensor_value_info, onnx.TensorProto
    nodes = [
        make.make_node("ConstantOfShape", ["shape"], ["large"]),
        make.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        make.make_node("Cast", ["rgb"], ["image"], to=types.FLOAT),
        make.make_node("Add", ["image", "sum"], ["probabilities"]),
    ]
    inputs = [of("rgb", types.UINT8, [None, None, None, 3])]
    outputs = [of("probabilities", types.FLOAT, None)]
    sizes = [onnx.numpy_helper.from_array(np.array(shape), "shape")]
    graph = make.make_graph(nodes, "graph", inputs, outputs, sizes)
    return make.make_model(graph, ir_version=8, opset_imports=[make.make_opsetid("", 17)])


def litert_with_an_array_of(rows: int) -> bytes:
    """A LiteRT file that the runtime opens, and that makes an array, (rows, 3)."""
    pytest.importorskip("ai_edge_litert")

    def fill(x: Any) -> dict[str, Any]:
        large = tf.broadcast_to(tf.reduce_mean(x), [rows, 3])
        return {"probabilities": tf.reduce_sum(large, 0, keepdims=True)}

    serves = Serves(fill)
    serve = serves.serve.get_concrete_function()
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([serve], serves).convert())


def litert_with_an_operation_of_its_own() -> bytes:
    """A LiteRT file that calls Betainc, which only the program that runs it could have."""
    pytest.importorskip("ai_edge_litert")
    serves = Serves(lambda x: tf.math.betainc(x, x, x)).serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serves])
    converter.allow_custom_ops = True
    return bytes(converter.convert())
