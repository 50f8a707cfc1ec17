"""A graph that would make far more numbers than it holds is refused before its runtime sees it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_graphs import (
    changed,
    litert_with_an_array_of,
    onnx_model,
    onnx_that_makes,
    onnx_with_an_initializer_of,
    serve,
    with_a_constant_of,
)
from tuner.untrusted.graphs import check_litert, check_onnx, check_savedmodel
from tuner.untrusted.keras_archive import ArchiveError


def refusal(check: Callable[[Path], None], path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArchiveError) as caught:
        check(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_constant_of_which_one_number_is_written(tmp_path: Path) -> None:
    """TensorFlow writes it that way where all are equal, and fills it up when it is loaded."""
    few = with_a_constant_of(1000, tmp_path / "few")
    check_savedmodel(few)
    assert serve(few)["probabilities"].numpy().tolist() == [[1, 1, 1]]
    many = with_a_constant_of(300_000_000, tmp_path / "many")
    assert "claims arrays of 900 million numbers, but has 0.0 MB" in refusal(check_savedmodel, many)


def test_constants_are_added_up(tmp_path: Path) -> None:
    folder = with_a_constant_of(300_000, tmp_path / "savedmodel")
    check_savedmodel(folder)

    def again(graph: Any) -> None:
        for function in graph.graph_def.library.function:
            for node in [node for node in function.node_def if node.name == "ones"]:
                function.node_def.add().CopyFrom(node)
                function.node_def[-1].name = "more"

    assert "claims arrays of 1 million numbers" in refusal(check_savedmodel, changed(folder, again))


def test_a_shape_below_zero_takes_nothing_away(tmp_path: Path) -> None:
    folder = with_a_constant_of(-300_000_000, tmp_path / "savedmodel")
    assert "claims arrays of 900 million numbers" in refusal(check_savedmodel, folder)


def test_weights_of_onnx(tmp_path: Path) -> None:
    path, model = tmp_path / "model.onnx", onnx_with_an_initializer_of(300_000_000, 3)
    expected = "claims arrays of 900 million numbers, but has 0.0 MB"
    assert expected in refusal(check_onnx, path, model.SerializeToString())
    model = onnx_model()
    model.graph.sparse_initializer.add(dims=[300_000_000, 3])
    assert expected in refusal(check_onnx, path, model.SerializeToString())


def test_what_onnx_makes_of_a_shape(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_that_makes(1000, 3).SerializeToString())
    check_onnx(path)
    message = refusal(check_onnx, path, onnx_that_makes(300_000_000, 3).SerializeToString())
    assert message == "makes an array of 900 million numbers, as no image classifier does"


def test_onnx_whose_shapes_cannot_be_told(tmp_path: Path) -> None:
    model = onnx_model()
    del model.opset_import[:]
    message = refusal(check_onnx, tmp_path / "model.onnx", model.SerializeToString())
    assert "the shapes of its arrays cannot be told" in message


def test_arrays_of_litert(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(litert_with_an_array_of(10))
    check_litert(path)
    message = refusal(check_litert, path, litert_with_an_array_of(300_000_000))
    assert message == "makes an array of 900 million numbers, as no image classifier does"
