"""Which exports can be asked for."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import pytest

from tuner.errors import ExportError
from tuner.export.formats import FORMATS, check_formats, check_runtime


def test_formats_that_exist() -> None:
    check_formats(list(FORMATS))
    check_formats(["litert"], "int8")


@pytest.mark.parametrize(
    ("formats", "quantize", "message"),
    [
        (["tflite"], None, "keras, savedmodel, onnx, litert, but is tflite"),
        ([], None, "but is none"),
        (["litert"], "int4", "float16, int8, but is int4"),
        (["onnx"], "int8", "Add --format litert"),
    ],
)
def test_what_cannot_be_asked_for(
    formats: Sequence[str], quantize: str | None, message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        check_formats(formats, quantize)


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, *rest: Any) -> Any:
        return None if name in missing else object()

    missing = ["onnxruntime", "ai_edge_litert"]

    monkeypatch.setattr(importlib.util, "find_spec", find)
    check_formats(["keras", "savedmodel"])
    for name, package in (("onnx", "onnxruntime"), ("litert", "ai_edge_litert")):
        with pytest.raises(ExportError, match=rf"^{package} is not installed.*\[export\]'$"):
            check_formats([name])
        with pytest.raises(ExportError, match=rf"^{package} is not installed"):
            check_runtime(name)
    missing = ["tf2onnx"]
    check_runtime("onnx")  # it is run without what writes it
    with pytest.raises(ExportError, match=r"^tf2onnx is not installed"):
        check_formats(["onnx"])
