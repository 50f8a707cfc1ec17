"""The example of use from Python does what it says, and what it uses is exported."""

import zipfile
from pathlib import Path

import keras
import pytest

import tuner
from tests.support.repository import script
from tests.support.small_search import COLOURS, write_photos


def test_every_exported_name_is_there() -> None:
    for name in tuner.__all__:
        assert getattr(tuner, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'depth'"):
        tuner.depth  # noqa: B018


def test_the_example_is_short() -> None:
    assert len(Path(script("examples/from_python.py").__file__).read_text().splitlines()) < 60


@pytest.mark.slow
def test_the_example_saves_a_model_that_plain_keras_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    script("examples/from_python.py").main(["photos", "--max-epochs", "1"])
    said = capsys.readouterr().out
    assert "The winner: {'unfreeze_blocks': 0" in said
    assert "Faults: none" in said
    assert "It names 9 of 9 test images rightly." in said
    with zipfile.ZipFile("winner.keras") as archive:
        assert b"TransferAdam" not in archive.read("config.json")
    model = keras.models.load_model("winner.keras")
    assert model.output_shape == (None, len(COLOURS))
