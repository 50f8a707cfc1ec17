"""The stream of images, and the decoding that somebody else would do."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.decoding.decode import read_image
from tuner.untrusted import model_server


def test_items_come_back() -> None:
    random = np.random.default_rng(0)
    items = [
        random.integers(0, 256, shape, dtype=np.uint8) for shape in ((3, 4, 3), (7,), (1, 1, 3))
    ]
    stream = BytesIO()
    for item in items:
        model_server.write_array(stream, item)
    stream.seek(0)
    for found, item in zip(model_server.read_arrays(stream), items, strict=True):
        np.testing.assert_array_equal(found, item)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decoding_as_we_do(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for kind in (image, image.convert("RGB"), image.convert("L"), image.convert("LA")):
        kind.save(tmp_path / "image.png", exif=exif)
        found = model_server.decode(tmp_path / "image.png")
        np.testing.assert_array_equal(found, read_image(tmp_path / "image.png"))
        assert found.shape == ((9, 12, 3) if orientation < 5 else (12, 9, 3))


@pytest.mark.parametrize("name", ["keras", "savedmodel", "encoded"])
def test_a_gpu_computes_float32_as_float32(tmp_path: Path, name: str) -> None:
    import keras
    import tensorflow as tf

    rgb = keras.Input((None, None, 3))
    model = keras.Model(rgb, keras.layers.GlobalAveragePooling2D()(rgb))
    path = tmp_path / "model.keras"
    model.save(path) if name == "keras" else model.export(path, verbose=False)
    tf.config.experimental.enable_tensor_float_32_execution(True)
    model_server.LOADERS[name][1](str(path))
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_it_imports_nothing_of_this_program(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; before = set(sys.modules);"
        f"runpy.run_path({model_server.__file__!r});"
        "print(sorted({n.split('.')[0] for n in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    for name in ("tuner", "search_spaces", "keras", "tensorflow", "PIL"):
        assert f"'{name}'" not in done.stdout
