"""What another process says when it cannot convert."""

import errno
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.repository import ROOT
from tuner.errors import TuneError
from tuner.export.convert import _settle, convert, elsewhere, last_line


def test_keras_alone_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    convert(tmp_path / "model.keras", tmp_path, ["keras"])


def finishes(monkeypatch: pytest.MonkeyPatch, code: int, errors: str) -> None:
    def run(*_: Any, **__: Any) -> Any:
        return subprocess.CompletedProcess([], code, "", errors)

    monkeypatch.setattr(subprocess, "run", run)


def test_its_last_line_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finishes(monkeypatch, 1, "Traceback\n  at line 1\nValueError: no such operation\n")
    with pytest.raises(TuneError, match=r"could not be converted: ValueError: no such operation$"):
        convert(tmp_path / "model.keras", tmp_path, ["onnx"])
    finishes(monkeypatch, -11, "")
    with pytest.raises(TuneError, match="no message"):
        convert(tmp_path / "model.keras", tmp_path, ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finishes(monkeypatch, 1, "OSError: [Errno 28] No space left on device: 'x'")
    with pytest.raises(OSError) as raised:
        convert(tmp_path / "model.keras", tmp_path, ["onnx"])
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.slow
def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("no model")
    with pytest.raises(TuneError, match="could not be converted: "):
        convert(tmp_path / "model.keras", tmp_path, ["savedmodel"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_last_lines() -> None:
    assert last_line("a\n b \n\n") == "b"
    assert last_line("") == "no message"
    assert elsewhere()["PYTHONPATH"].startswith(str(ROOT))


def test_an_onnx_file_does_not_show_what_its_converter_named() -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper

    def graph(prefix: str, turned: bool) -> Any:
        constants = [
            numpy_helper.from_array(np.full(2, number, np.float32), f"{prefix}{number}")
            for number in (3, 5)
        ]
        branches = [
            helper.make_node("Add", ["x", f"{prefix}3"], [f"{prefix}sum"], name=f"{prefix}a"),
            helper.make_node("Neg", ["x"], [f"{prefix}negative"]),
        ]
        nodes = [
            *(branches[::-1] if turned else branches),
            helper.make_node("Sub", [f"{prefix}sum", f"{prefix}negative"], [f"{prefix}both"]),
            helper.make_node("Mul", [f"{prefix}both", f"{prefix}5"], ["Identity:0"]),
        ]
        kind = onnx.TensorProto.FLOAT
        made = helper.make_graph(
            nodes, "graph", [helper.make_tensor_value_info("x", kind, [2])],
            [helper.make_tensor_value_info("Identity:0", kind, [2])],
            constants[::-1] if turned else constants,
        )  # fmt: skip
        made.doc_string = prefix
        _settle(made)
        return made

    one, other = graph("const__7_", False), graph("another", True)
    assert one.SerializeToString() == other.SerializeToString()
    assert one.output[0].name == "probabilities"
    assert one.input[0].name == "rgb"
    onnx.checker.check_model(helper.make_model(one))
    from onnx.reference import ReferenceEvaluator

    (found,) = ReferenceEvaluator(helper.make_model(one)).run(None, {"rgb": np.ones(2, np.float32)})
    np.testing.assert_array_equal(found, [25, 25])
