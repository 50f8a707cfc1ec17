"""A search's winner in every format, from `tune best` to `tune predict`: nothing stands in."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.small_search import COLOURS, small_search, tune
from tuner.export import parity
from tuner.export.formats import FORMATS
from tuner.runs.run import open_run

pytestmark = pytest.mark.slow

if any(importlib.util.find_spec(name) is None for name in ("tf2onnx", "onnxruntime", "onnx")):
    pytest.skip("needs the extra export", allow_module_level=True)


def exported(folder: Path, *options: object) -> dict[str, Any]:
    """What `tune best` says of an export of the small search's winner."""
    search = small_search()
    result = tune(
        "best",
        "--runs-dir",
        search.runs,
        "--cache-dir",
        search.cache,
        "--export",
        folder,
        *options,
        "--json",
    )
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole") / "model"
    formats = [option for name in FORMATS for option in ("--format", name)]
    return folder, exported(folder, *formats, "--calibrate")


def checked_images() -> list[Path]:
    dataset = open_run(small_search().runs).dataset()
    files = [*dataset.of("validation"), *dataset.of("test")]
    return [dataset.root / file.path for file in files]


def predicted(folder: Path, name: str) -> tuple[list[str], np.ndarray]:
    """The classes that `tune predict` names, and the probability of each class in their order."""
    result = tune("predict", folder, *checked_images(), "--format", name, "--json", "--top", 3)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    probabilities = [
        [found[1] for found in sorted((each["label"], each["probability"]) for each in row["top"])]
        for row in rows
    ]
    return [row["label"] for row in rows], np.array(probabilities)


def test_every_format_gives_the_same_answers(everything: tuple[Path, dict[str, Any]]) -> None:
    folder, said = everything
    assert list(said["formats"]) == list(FORMATS)
    assert said["temperature"] > 0
    classes, probabilities = predicted(folder, "keras")
    assert probabilities.shape == (18, len(COLOURS))
    right = [path.parent.name for path in checked_images()[9:]]
    assert np.mean(np.array(classes[9:]) == right) == pytest.approx(said["test_accuracy"])
    for name in list(FORMATS)[1:]:
        others, other_probabilities = predicted(folder, name)
        np.testing.assert_allclose(other_probabilities, probabilities, atol=1e-3, err_msg=name)
        best = np.sort(probabilities, axis=1)
        sure = best[:, -1] - best[:, -2] > 2e-3
        assert np.array(others)[sure].tolist() == np.array(classes)[sure].tolist()


def test_in_8_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of random weights 8 bits leave little, which is refused: here the file is kept."""
    monkeypatch.setattr(parity, "MOST_FAR", 1.0)
    said = exported(tmp_path / "model", "--format", "litert", "--quantize", "int8")
    found = said["formats"]["litert"]
    assert found["numbers"] == "int8"
    assert found["bytes"] < 40e6  # in float32 it has 94
    classes, _ = predicted(tmp_path / "model", "litert")
    right = [path.parent.name for path in checked_images()]
    accuracies = [
        np.mean([one == other for one, other in zip(classes[part], right[part], strict=True)])
        for part in (slice(9), slice(9, None))
    ]
    assert accuracies == pytest.approx([found["validation_accuracy"], found["test_accuracy"]])
