"""Files of a small network in every format, made and checked by their own runtimes."""

import functools
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from search_spaces.resize import resizer
from tuner.decoding.decode import read_image
from tuner.errors import TuneError
from tuner.export import files as files_module
from tuner.export.files import (
    Calibration,
    Exported,
    ExportOptions,
    check_files,
    export_model,
    write_files,
)
from tuner.export.loading_examples import ENCODED, LOADING
from tuner.export.parity import Parity, Reference
from tuner.export.predict import probabilities_of
from tuner.untrusted.model_server import LOADERS

ALL = ("keras", "savedmodel", "onnx", "litert")
SIZE = 8
UNCALIBRATED = Calibration(None, 0.0, 0.0)

if any(importlib.util.find_spec(name) is None for name in ("tf2onnx", "onnxruntime", "onnx")):
    pytest.skip("needs the extra export", allow_module_level=True)


@functools.cache
def small_model() -> keras.Model:
    """Its answers depend on every pixel, and are none of them sure."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential([
        keras.Input((SIZE, SIZE, 3)), keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten(),
        keras.layers.Dense(3), keras.layers.Softmax(),
    ])  # fmt: skip
    return export_model(network, SIZE)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """JPEG, PNG and WebP files of several sizes; one transparent, one of 16 bits, one turned."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = []
    for number, size in enumerate([(20, 30), (5, 7), (90, 64)]):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        for suffix in ("png", "jpg", "webp"):
            paths.append(folder / f"{number} \u00e9.{suffix}")
            Image.fromarray(pixels).save(paths[-1])
    paths += [folder / name for name in ("clear.png", "deep.png", "turned.jpg")]
    Image.fromarray(random.integers(0, 256, (9, 12, 4), dtype=np.uint8)).save(paths[-3])
    Image.fromarray(random.integers(0, 65536, (9, 12), dtype=np.uint16)).save(paths[-2])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(paths[-1], exif=exif)
    model = small_model()
    rows = [np.asarray(model(read_image(path)[None]))[0] for path in paths]
    return Reference(paths, np.arange(len(paths)) % 3, 7, np.stack(rows))


def test_how_a_network_was_compiled_is_not_exported(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Flatten()])
    network.compile(keras.optimizers.SGD(name="of our own"), "mse")
    assert b"of our own" in _saved_config(network, tmp_path / "compiled.keras")
    assert b"of our own" not in _saved_config(export_model(network, SIZE), tmp_path / "model.keras")


def _saved_config(model: keras.Model, path: Path) -> bytes:
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_files(small_model(), folder, ExportOptions(ALL))
    return folder


def test_which_images_are_plain_and_which_are_for_the_signature_on_bytes(
    reference: Reference,
) -> None:
    assert reference.plain == [True] * 10 + [False, True]
    assert reference.encoded == [0, 1, 3, 4, 6, 7]


@pytest.mark.slow
def test_every_format_gives_the_networks_answers(files: Path, reference: Reference) -> None:
    exported = check_files(files, reference, ExportOptions(ALL), UNCALIBRATED)
    assert list(exported.parities) == list(ALL)
    right = reference.probabilities.argmax(axis=1) == reference.labels
    for parity in exported.parities.values():
        assert parity.equal
        assert parity.images == 12
        assert parity.largest < 1e-5
        assert parity.validation_accuracy == right[:7].mean()
        assert parity.test_accuracy == right[7:].mean()
    assert exported.encoded is not None
    assert exported.encoded.equal
    assert exported.encoded.images == 6


def test_every_format_in_this_process(files: Path, reference: Reference) -> None:
    images = [read_image(path) for path in reference.paths]
    for name, path in zip(ALL, ("model.keras", "savedmodel", "model.onnx", "model.tflite"),
                          strict=True):  # fmt: skip
        found = probabilities_of(LOADERS[name][1](str(files / path)), images)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, reference.probabilities, atol=1e-5, err_msg=name)


def test_the_onnx_file_names_its_axes(files: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(files / "model.onnx")
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type) == ("rgb", "tensor(uint8)")
    assert taken.shape == ["batch", "height", "width", 3]
    assert (given.name, given.shape) == ("probabilities", ["batch", 3])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALL, "encoded"])
def test_the_cards_lines(files: Path, tmp_path: Path, name: str) -> None:
    """They run where this program cannot be imported, on a partly transparent picture."""
    lines = ENCODED if name == "encoded" else LOADING[name]
    assert len(lines.splitlines()) <= 6
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    channels = 3 if name == "encoded" else 4  # all but the signature on bytes handle transparency
    pixels = np.random.default_rng(1).integers(0, 256, (30, 40, channels), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", "PNG")
    block = "import sys\nsys.modules['tuner'] = sys.modules['search_spaces'] = None\n"
    (tmp_path / "lines.py").write_text(block + lines)
    done = subprocess.run(
        [sys.executable, "-I", "lines.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    printed = "".join(c if c in "0123456789.e+- " else " " for c in done.stdout.split("[")[-1])
    expected = np.asarray(small_model()(read_image(tmp_path / "photo.jpg")[None]))[0]
    np.testing.assert_allclose([float(part) for part in printed.split()[:3]], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["float16", "int8"])
def test_a_quantized_file_is_smaller_and_resizes_in_float(
    tmp_path: Path, reference: Reference, quantize: str
) -> None:
    options = ExportOptions(("litert",), quantize)
    examples = np.concatenate(
        [np.asarray(resizer(SIZE)(read_image(path)[None])) for path in reference.paths]
    )
    write_files(small_model(), tmp_path, options, examples.astype(np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
    exported = check_files(tmp_path, reference, options, UNCALIBRATED)
    assert 1e-7 < exported.parities["litert"].largest < 0.02
    assert exported.quantize == quantize


def test_a_file_of_another_network_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reference: Reference
) -> None:
    (tmp_path / "model.keras").write_bytes(b"1")
    (tmp_path / "model.tflite").write_bytes(b"1")
    far = Parity(12, 1, 0, 0.3, 1.0)
    monkeypatch.setattr(files_module, "check_file", lambda *_: far)
    message = "1 of 12 images get another class, and probabilities differ by up to 0.3; nothing"
    with pytest.raises(TuneError, match=message):
        check_files(tmp_path, reference, ExportOptions(), UNCALIBRATED)
    quantized = ExportOptions(("litert",), "int8")
    assert not check_files(tmp_path, reference, quantized, UNCALIBRATED).parities["litert"].equal


def checked(
    monkeypatch: pytest.MonkeyPatch, folder: Path, reference: Reference, parity: Parity, how: str
) -> Exported:
    """A quantized file that was found so."""
    (folder / "model.tflite").write_bytes(b"1")
    monkeypatch.setattr(files_module, "check_file", lambda *_: parity)
    return check_files(folder, reference, ExportOptions(("litert",), how), UNCALIBRATED)


def test_a_file_in_8_bits_that_names_all_wrongly_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reference: Reference
) -> None:
    ruined = Parity(100, 60, 0, 0.9, 1.0, lost=60, far=60)
    message = "int8 differs too much from the network: 60 of 100 images get .* nothing was wri"
    with pytest.raises(TuneError, match=message):
        checked(monkeypatch, tmp_path, reference, ruined, "int8")


def test_what_8_bits_cost_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reference: Reference
) -> None:
    worse = Parity(100, 9, 0, 0.9, 1.0, lost=8, gained=0, far=9)
    found = checked(monkeypatch, tmp_path, reference, worse, "int8")
    assert found.warning == (
        "The int8 file is less accurate than the network: of 100 images it misclassifies 8 that "
        "the network classifies correctly, and the reverse for 0: 8 fewer correct, a significant "
        "loss."
    )
    chance = Parity(100, 9, 0, 0.9, 1.0, lost=5, gained=4, far=9)
    assert checked(monkeypatch, tmp_path, reference, chance, "int8").warning is None


def test_a_file_in_16_bits_keeps_the_classes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reference: Reference
) -> None:
    near = Parity(100, 2, 0, 0.01, 1.0, far=0)
    assert checked(monkeypatch, tmp_path, reference, near, "float16").warning is None
    far = Parity(100, 2, 0, 0.01, 1.0, far=1)
    message = (
        "float16 does not give the network's predictions: 1 of 100 images .* nothing was written"
    )
    with pytest.raises(TuneError, match=message):
        checked(monkeypatch, tmp_path, reference, far, "float16")
