"""Graphs of other formats are let through if all they do is compute."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tuner.archives import ArchiveError
from tuner.graphs import check_litert, check_onnx, check_savedmodel


def refusal(check: Callable[[Path], None], path: Path) -> str:
    with pytest.raises(ArchiveError) as caught:
        check(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def harmless() -> keras.Model:
    rgb = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, activation="relu")(rgb)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    return keras.Model(rgb, keras.layers.Softmax()(keras.layers.Dropout(0.5)(x)))


@pytest.fixture(scope="module")
def savedmodel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs") / "savedmodel"
    harmless().export(folder, verbose=False)
    return folder


class Serves(tf.Module):
    """A SavedModel whose one function does what it is given."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        signature = [tf.TensorSpec((None, None, None, 3))]
        self.serve = tf.function(function, input_signature=signature)

    def save(self, folder: Path) -> Path:
        tf.saved_model.save(self, str(folder), {"serving_default": self.serve})
        return folder


def test_what_keras_exports_is_let_through(savedmodel: Path) -> None:
    check_savedmodel(savedmodel)


def written(x: Any) -> Any:
    with tf.control_dependencies([tf.io.write_file("canary", "harm")]):
        return tf.identity(x)


def saved(x: Any) -> Any:
    """What saves variables is there in every SavedModel, but must not be called."""
    with tf.control_dependencies([tf.raw_ops.SaveV2(
        prefix="canary", tensor_names=["x"], shape_and_slices=[""], tensors=[x])]):  # fmt: skip
        return tf.identity(x)


def in_a_loop(x: Any) -> Any:
    return tf.while_loop(lambda x: tf.reduce_sum(x) < 0, lambda x: (written(x),), [x])[0]


def read(x: Any) -> Any:
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), "float32")


def called(x: Any) -> Any:
    return tf.numpy_function(lambda x: x, [x], tf.float32)


def printed(x: Any) -> Any:
    tf.print(x, output_stream="file://canary")
    return x


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (written, "WriteFile"),
        (saved, "SaveV2"),
        (in_a_loop, "WriteFile"),
        (read, "ReadFile"),
        (called, "PyFunc"),
        (printed, "PrintV2"),
    ],
)
def test_what_a_savedmodel_must_not_do(
    tmp_path: Path, function: Callable[[Any], Any], operation: str
) -> None:
    folder = Serves(function).save(tmp_path / "savedmodel")
    message = refusal(check_savedmodel, folder)
    assert "which does more than compute" in message
    assert operation in message or "StringFormat" in message


def test_a_savedmodel_with_a_table_of_words(tmp_path: Path) -> None:
    """A resource is filled by its own function as soon as it is loaded."""

    class Table(Serves):
        def __init__(self) -> None:
            super().__init__(lambda x: x)
            words = tf.lookup.KeyValueTensorInitializer(["a"], [1])
            self.table = tf.lookup.StaticHashTable(words, -1)

    message = refusal(check_savedmodel, Table().save(tmp_path / "savedmodel"))
    assert "files or resources of its own" in message


def test_a_savedmodel_of_tensorflow_1(tmp_path: Path) -> None:
    """Without objects its whole graph would be run when it is loaded."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 3))
        with tf.compat.v1.Session(graph=graph) as session:
            tf.compat.v1.saved_model.simple_save(
                session, str(tmp_path / "old"), {"x": x}, {"y": x + 1}
            )
    assert "is not a SavedModel as Keras writes it" in refusal(check_savedmodel, tmp_path / "old")


def test_a_damaged_savedmodel(tmp_path: Path, savedmodel: Path) -> None:
    data = (savedmodel / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(data[: len(data) // 2])
    assert "is damaged" in refusal(check_savedmodel, tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert "is not a SavedModel" in refusal(check_savedmodel, tmp_path)


def onnx_model(**changes: Any) -> Any:
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    weight = onnx.numpy_helper.from_array(np.ones(3, "float32"), "w")
    inner = make.make_graph(
        [make.make_node("Neg", ["x"], ["z"], domain=changes.get("inside", ""))],
        "inner", [], [make.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [3])],
    )  # fmt: skip
    nodes = [
        make.make_node("Mul", ["x", "w"], ["y"], domain=changes.get("domain", "")),
        make.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner),
    ]
    values = [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3])]
    return make.make_model(make.make_graph(nodes, "graph", values, [], [weight]))


def test_onnx(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model().SerializeToString())
    check_onnx(path)
    for changes in ({"domain": "evil"}, {"inside": "evil"}):
        path.write_bytes(onnx_model(**changes).SerializeToString())
        assert "holds the operation evil." in refusal(check_onnx, path)
    for data in (b"", b"text", onnx_model().SerializeToString()[:-20]):
        path.write_bytes(data)
        assert "ONNX file" in refusal(check_onnx, path)


def test_onnx_with_numbers_elsewhere(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx_model()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert refusal(check_onnx, tmp_path / "model.onnx") == "keeps numbers in another file"


def litert(converter: Any) -> bytes:
    pytest.importorskip("ai_edge_litert")
    return bytes(converter.convert())


def test_litert(tmp_path: Path, savedmodel: Path) -> None:
    path = tmp_path / "model.tflite"
    data = litert(tf.lite.TFLiteConverter.from_saved_model(str(savedmodel)))
    path.write_bytes(data)
    check_litert(path)
    for damaged in (b"", b"text" * 9, data[:20], data[:4] + b"TFL3" + b"\xff" * 30):
        path.write_bytes(damaged)
        assert "LiteRT" in (message := refusal(check_litert, path)) or "damaged" in message


def test_litert_with_an_operation_of_its_own(tmp_path: Path) -> None:
    serves = Serves(lambda x: tf.math.betainc(x, x, x)).serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serves])
    converter.allow_custom_ops = True
    (tmp_path / "model.tflite").write_bytes(litert(converter))
    assert "holds the operation Betainc" in refusal(check_litert, tmp_path / "model.tflite")
