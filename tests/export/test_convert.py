"""What another process says when it cannot convert."""

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import ROOT
from tuner.errors import TuneError
from tuner.export.convert import _environment, convert


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


def test_the_process_finds_this_package() -> None:
    assert _environment()["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
