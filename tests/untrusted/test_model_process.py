"""A model file in a limited process: what it answers, and how it may fail."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tuner.errors import TuneError
from tuner.untrusted import model_process, model_server
from tuner.untrusted.keras_archive import ArchiveError
from tuner.untrusted.model_process import ModelProcess, last_line, path_request, rehearse


def saved(path: Path, *steps: layers.Layer) -> Path:
    x = rgb = keras.Input((None, None, 3))
    for step in steps:
        x = step(x)
    keras.Model(rgb, layers.Softmax()(layers.GlobalAveragePooling2D()(x))).save(path)
    return path


def test_a_model_answers_requests(tmp_path: Path) -> None:
    from PIL import Image

    path = saved(tmp_path / "model.keras")
    Image.new("RGB", (5, 4), (0, 255, 0)).save(tmp_path / "green \u00e9.png")
    with ModelProcess("keras", path) as model:
        model.load()
        found, seconds = model.predict(np.zeros((2, 3, 4, 3), np.uint8))
        np.testing.assert_allclose(found, np.full((2, 3), 1 / 3), rtol=1e-6)
        assert found.dtype == np.float32
        assert seconds > 0
        found, _ = model.predict(path_request(tmp_path / "green \u00e9.png"))
        assert found.argmax() == 1
        folder = Path(model._folder.name)
    assert not folder.exists()
    assert model._process.returncode is not None


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_process, "memory_limit", lambda: 3 << 30)
    path = saved(tmp_path / "model.keras", layers.ZeroPadding2D(30_000))
    with pytest.raises(ArchiveError, match="needs more memory than 3 GB"):
        rehearse(path)


def test_too_much_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is a copy with a shorter limit; a pipe is read for ever."""
    source = Path(model_server.__file__).read_text()
    (tmp_path / "server.py").write_text(source.replace("SECONDS = 300", "SECONDS = 1"))
    monkeypatch.setattr(model_server, "__file__", str(tmp_path / "server.py"))
    os.mkfifo(tmp_path / "model.keras")
    with (
        ModelProcess("keras", tmp_path / "model.keras") as model,
        pytest.raises(ArchiveError, match="takes more than 300 seconds"),
    ):
        model.load()


def test_a_file_that_its_runtime_cannot_load(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("no model")
    with pytest.raises(TuneError, match=r"model\.keras"):
        rehearse(tmp_path / "model.keras")


def test_a_model_that_runs_on_no_image(tmp_path: Path) -> None:
    x = rgb = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling1D()(layers.Reshape((36, 3))(x))
    keras.Model(rgb, x).save(tmp_path / "model.keras")
    with pytest.raises(ArchiveError, match="does not run on an image of 224 x 224 pixels"):
        rehearse(tmp_path / "model.keras")


def test_last_lines() -> None:
    assert last_line("a\n b \n\n") == "b"
    assert last_line("") == "no message"
