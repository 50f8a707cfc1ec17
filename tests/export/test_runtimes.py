"""Files that no runtime can load."""

from pathlib import Path

import pytest

from tuner.errors import ExportError
from tuner.export.predict import load_runtime


@pytest.mark.parametrize("name", ["keras", "savedmodel", "onnx", "litert"])
def test_what_is_no_model(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model"
    path.write_text("no model")
    with pytest.raises(ExportError, match=f"{path} is not a file that .* can load"):
        load_runtime(name, path)
