"""Images of any sizes, in the order given."""

from pathlib import Path

import numpy as np
import pytest

from tuner.errors import ExportError
from tuner.runtimes import load_runtime, probabilities_of


def test_neighbours_of_one_size_go_together_and_keep_their_order() -> None:
    shapes, batches = [(4, 5)] * 40 + [(3, 3), (4, 5), (3, 3), (3, 3)], []

    def predict(images: np.ndarray) -> np.ndarray:
        batches.append(len(images))
        return images.mean(axis=(1, 2))[:, :2].astype(np.float32)

    images = [np.full((*shape, 3), number, np.uint8) for number, shape in enumerate(shapes)]
    found = probabilities_of(predict, images)
    np.testing.assert_array_equal(found[:, 0], np.arange(44))
    assert batches == [32, 8, 1, 1, 2]


def test_large_images_go_alone() -> None:
    batches = []

    def predict(images: np.ndarray) -> np.ndarray:
        batches.append(len(images))
        return np.zeros((len(images), 2), np.float32)

    probabilities_of(predict, [np.zeros((4000, 5000, 3), np.uint8)] * 2)
    assert batches == [1, 1]


@pytest.mark.parametrize("name", ["keras", "savedmodel", "onnx", "litert"])
def test_what_is_no_model(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model"
    path.write_text("no model")
    with pytest.raises(ExportError, match=f"{path} is not a file that .* can load"):
        load_runtime(name, path)
    with pytest.raises(ExportError, match="but is tflite"):
        load_runtime("tflite", path)
