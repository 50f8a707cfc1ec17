"""Vetting of SavedModel, ONNX and LiteRT files: graphs that only compute pass."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.support.hostile_graphs import (
    Serves,
    changed,
    litert_with_an_operation_of_its_own,
    onnx_model,
    onnx_with_numbers_elsewhere,
    serve,
    with_a_function_named,
    writing,
)
from tuner.untrusted.graphs import check_litert, check_onnx, check_savedmodel
from tuner.untrusted.keras_archive import ArchiveError


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


def test_keras_exports_pass(savedmodel: Path) -> None:
    check_savedmodel(savedmodel)


written = writing(Path("canary"))


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Neg", "holds a function that is named as the operation Neg"),
        ("EmptyTensorList", "holds a function that is named as the operation EmptyTensorList"),
        ("Harmless", "holds the operation WriteFile"),
    ],
)
def test_a_function_called_by_its_name_alone(tmp_path: Path, name: str, expected: str) -> None:
    """TensorFlow takes a node's operation for a function's where one has that name."""
    canary = tmp_path / "canary"
    folder = with_a_function_named(name, tmp_path / "savedmodel", canary)
    assert expected in refusal(check_savedmodel, folder)
    assert not canary.exists()
    serve(folder)
    assert canary.exists()


def test_what_saves_variables_must_not_be_anything_else(tmp_path: Path) -> None:
    """It may do more than compute, so that no other node, object or gradient may name it."""
    folder = Serves(lambda x: x + 1).save(tmp_path / "savedmodel")
    check_savedmodel(folder)
    data = (folder / "saved_model.pb").read_bytes()

    def call_in_the_graph(graph: Any, saving: str) -> None:
        graph.graph_def.node.add(name="more", op="PartitionedCall").attr["f"].func.name = saving

    def call_for_another(graph: Any, saving: str) -> None:
        function = function_of(graph, "signature_wrapper")
        given = function.node_def[0].attr["f"].func
        given.name, given.attr["g"].func.name = function.signature.name, saving

    def make_an_object(graph: Any, saving: str) -> None:
        node = graph.object_graph_def.nodes.add()
        node.bare_concrete_function.concrete_function_name = saving

    def make_a_function(graph: Any, saving: str) -> None:
        graph.object_graph_def.nodes.add().function.concrete_functions.append(saving)

    def make_a_gradient(graph: Any, saving: str) -> None:
        gradients = graph.graph_def.library.registered_gradients
        gradients.add(gradient_func=saving, registered_op_type="x")

    def call_otherwise(graph: Any, saving: str) -> None:
        graph.saver_def.save_tensor_name = "none:0"

    for change in (
        call_in_the_graph, call_for_another, make_an_object, make_a_function, make_a_gradient,
        call_otherwise,
    ):  # fmt: skip
        (folder / "saved_model.pb").write_bytes(data)
        with pytest.raises(ArchiveError, match="does more than compute"):
            check_savedmodel(changed(folder, functools.partial(naming_the_saver, change)))
            pytest.fail(change.__name__)


def naming_the_saver(change: Callable[[Any, str], None], graph: Any) -> None:
    change(graph, function_of(graph, "traced_save").signature.name)


def function_of(graph: Any, name: str) -> Any:
    functions = graph.graph_def.library.function
    (found,) = (function for function in functions if name in function.signature.name)
    return found


def test_ambiguous_functions(tmp_path: Path) -> None:
    folder = Serves(lambda x: x + 1).save(tmp_path / "savedmodel")
    data = (folder / "saved_model.pb").read_bytes()

    def choose_later(graph: Any) -> None:
        function_of(graph, "signature_wrapper").node_def[0].attr["f"].placeholder = "F"

    def name_two_alike(graph: Any) -> None:
        functions = graph.graph_def.library.function
        functions.add().CopyFrom(functions[0])

    def call_none(graph: Any) -> None:
        function_of(graph, "signature_wrapper").node_def[0].attr["f"].func.name = "none"

    for change, expected in {
        choose_later: "to be chosen only when it is called",
        name_two_alike: "holds two functions of one name",
        call_none: "calls a function that it does not hold",
    }.items():
        (folder / "saved_model.pb").write_bytes(data)
        assert expected in refusal(check_savedmodel, changed(folder, change))


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
    (tmp_path / "model.onnx").write_bytes(onnx_with_numbers_elsewhere().SerializeToString())
    assert refusal(check_onnx, tmp_path / "model.onnx") == "keeps numbers in another file"


def test_litert(tmp_path: Path, savedmodel: Path) -> None:
    path = tmp_path / "model.tflite"
    pytest.importorskip("ai_edge_litert")
    data = bytes(tf.lite.TFLiteConverter.from_saved_model(str(savedmodel)).convert())
    path.write_bytes(data)
    check_litert(path)
    for damaged in (b"", b"text" * 9, data[:20], data[:4] + b"TFL3" + b"\xff" * 30):
        path.write_bytes(damaged)
        assert "LiteRT" in (message := refusal(check_litert, path)) or "damaged" in message


def test_litert_with_an_operation_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(litert_with_an_operation_of_its_own())
    assert "holds the operation Betainc" in refusal(check_litert, tmp_path / "model.tflite")
