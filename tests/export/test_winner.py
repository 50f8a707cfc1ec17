"""The exported model without this package, and exports that differ from the network."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from tests.support.small_search import (
    COLOURS,
    IMAGES_PER_CLASS,
    SEARCH,
    contents,
    small_export,
    small_search,
    tune,
)
from tuner.data.dataset import Dataset
from tuner.data.pixel_store import prepare_images
from tuner.errors import DataError, ExportError, TuneError
from tuner.evaluate.evaluation import Winner, evaluate_winner
from tuner.export import files as files_module
from tuner.export import parity
from tuner.export import winner as winner_module
from tuner.export.files import Calibration, Exported, export_model
from tuner.export.parity import Parity, Reference
from tuner.export.predict import Export
from tuner.export.winner import check_target, export_winner
from tuner.runs.run import Run, open_run, winner_of
from tuner.storage.cache import Cache
from tuner.training.networks import trained_model
from tuner.untrusted import model_server

ELSEWHERE = """
import json, sys
sys.modules["tuner"] = sys.modules["search_spaces"] = None  # importing them raises
import keras, numpy as np
model = keras.models.load_model(sys.argv[1], safe_mode=True)
assert not model.compiled
images = np.load(sys.argv[2])
results = {
    "uint8": model.predict(images, verbose=0),
    "float": model.predict(images.astype("float64"), verbose=0),
    # called, not predicted: that would trace a graph for each size
    "other size": np.asarray(model(images.repeat(3, axis=1)[:, :, :17])),
    "one pixel": np.asarray(model(images[:, :1, :1])),
}
json.dump({name: p.tolist() for name, p in results.items()}, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def run() -> Run:
    return open_run(small_search().runs)


@pytest.fixture(scope="module")
def dataset(run: Run) -> Dataset:
    return run.dataset(small_search().photos)


@pytest.fixture(scope="module")
def winner(run: Run, dataset: Dataset) -> Winner:
    with Cache(small_search().cache) as opened:
        return evaluate_winner(run, dataset, opened)


@pytest.fixture
def cache() -> Iterator[Cache]:
    with Cache(small_search().cache) as opened:
        yield opened


@pytest.fixture
def no_check(monkeypatch: pytest.MonkeyPatch, dataset: Dataset) -> None:
    """Spares the network and the other process, where a test is about the files around them."""
    small = keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])
    files = [*dataset.of("validation"), *dataset.of("test")]
    reference = Reference(
        [dataset.root / file.path for file in files], np.zeros(18, int), 9, np.full((18, 3), 1 / 3)
    )
    exported = Exported(
        {"keras": Parity(18, 0, 0, 0.0, 1.0, 0.5, 0.5)},
        reference,
        Calibration(None, 0.1, 0.1),
        {"keras": 1000},
    )
    monkeypatch.setattr(winner_module, "trained_model", lambda *_: small)
    monkeypatch.setattr(winner_module, "export_model", lambda network, *_: network)
    monkeypatch.setattr(winner_module, "_predict", lambda *_: reference)
    monkeypatch.setattr(winner_module, "_check_recorded", lambda *_: None)
    monkeypatch.setattr(winner_module, "check_files", lambda *_: exported)


@pytest.fixture
def checked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares another process, as `small_export` has one, where a test has another aim."""

    def predict(
        name: str, path: Path, requests: Iterator[np.ndarray], *_: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        predictor = model_server.LOADERS[name][1](str(path))
        answers = (model_server._answer(name, predictor, request) for request in requests)
        rows, seconds = zip(*answers, strict=True)
        return np.concatenate(rows), np.array(seconds)

    monkeypatch.setattr(parity, "_predict", predict)


def test_loads_and_predicts_without_this_program(tmp_path: Path) -> None:
    folder, _ = small_export()
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 50, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    command = [
        sys.executable,
        "-I",
        tmp_path / "elsewhere.py",
        folder / "model.keras",
        tmp_path / "images.npy",
        tmp_path / "out.json",
    ]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    results = {
        name: np.array(rows)
        for name, rows in json.loads((tmp_path / "out.json").read_text()).items()
    }
    for probabilities in results.values():
        assert probabilities.shape == (4, len(COLOURS))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(results["float"], results["uint8"], atol=1e-6)
    here = keras.models.load_model(folder / "model.keras")(images)
    np.testing.assert_allclose(results["uint8"], here, atol=1e-6)


def test_holds_stock_layers_only() -> None:
    folder, _ = small_export()
    with zipfile.ZipFile(folder / "model.keras") as file:
        config = json.loads(file.read("config.json"))
    classes = list(serialized(config))
    assert len(classes) > 150
    for item in classes:
        assert item["registered_name"] in (None, item["class_name"], "Functional")
        assert item["module"] is None or item["module"].split(".")[0] in ("keras", "builtins")
        assert item["class_name"] != "Lambda"


def serialized(value: Any) -> Any:
    if isinstance(value, dict):
        if {"module", "class_name", "registered_name"} <= value.keys():
            yield value
        for child in value.values():
            yield from serialized(child)
    elif isinstance(value, list):
        for child in value:
            yield from serialized(child)


def test_the_files_and_what_describes_them(winner: Winner) -> None:
    folder, _ = small_export()
    assert {path.name for path in folder.iterdir()} == {
        "MODEL_CARD.md",
        "export.json",
        "labels.json",
        "model.keras",
    }
    assert folder.stat().st_mode & 0o777 == 0o755
    assert json.loads((folder / "labels.json").read_text()) == sorted(COLOURS)
    description = json.loads((folder / "export.json").read_text())
    assert description["schema"] == 1
    assert description["hyperparameters"] == winner.trial.hyperparameters
    assert description["validation_accuracy"] == winner.validation_accuracy
    row = json.loads(tune("best", "--runs-dir", small_search().runs, "--json").stdout)
    assert description["test_accuracy"] == row["test_accuracy"]
    assert description["trial"] == row["trial"]
    for name in ("validation_balanced_accuracy", "test_balanced_accuracy"):
        assert 0 < description[name] == row[name] < 1
    for name in ("luck", "looks", "opponents", "verdict", "leaked_test_images", "per_class"):
        assert description[name] == row[name]
    assert description["test_scores"] == pytest.approx(row["test_scores"])
    assert description["verdict"] in (folder / "MODEL_CARD.md").read_text()
    assert description["files"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.keras", "labels.json", "MODEL_CARD.md")
    }


def test_what_is_said(winner: Winner) -> None:
    folder, result = small_export()
    files = "model.keras, labels.json, MODEL_CARD.md, export.json"
    assert f"Exported to {folder}: {files}" in result.stdout
    assert "Checked by other processes, on 9 validation and 9 test images" in result.stdout
    assert re.search(r"^model\.keras +0 of 18 ", result.stdout, re.MULTILINE)
    assert f"{100 * winner.validation_accuracy:.1f} %" in result.stdout
    assert result.stdout.splitlines()[-1] == f"Next: tune predict {folder} IMAGE"


def test_the_model_names_the_test_images_as_evaluated(dataset: Dataset) -> None:
    folder, _ = small_export()
    paths = [dataset.root / file.path for file in dataset.of("test")]
    rows = json.loads(tune("predict", folder, *paths, "--json").stdout)
    correct = sum(
        row["label"] == file.label for row, file in zip(rows, dataset.of("test"), strict=True)
    )
    described = json.loads((folder / "export.json").read_text())
    assert correct == round(described["test_accuracy"] * described["test_images"])
    assert described["test_images"] == len(COLOURS) * IMAGES_PER_CLASS * 0.15


@pytest.mark.slow
def test_an_export_crops_as_its_search_did(tmp_path: Path, checked_here: None) -> None:
    runs, cache, photos = tmp_path / "runs", tmp_path / "cache", small_search().photos
    places = ("--runs-dir", runs, "--cache-dir", cache)
    result = tune(
        "search",
        photos,
        "--crop",
        *SEARCH,
        *places,
        "--fix",
        "unfreeze_blocks=0",
        "--fix",
        "head_layers=0",
    )
    assert result.exit_code == 0, result.output
    result = tune("best", *places, "--export", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert "0 of 18" in result.stdout
    assert json.loads((tmp_path / "model" / "export.json").read_text())["crop"] is True
    run = open_run(runs)
    assert run.settings.crop
    dataset = run.dataset()
    files = dataset.of("validation")
    assert any(len(set(Image.open(photos / file.path).size)) == 2 for file in files)
    predicted = [
        found.probability
        for found in Export(tmp_path / "model").predict([photos / file.path for file in files])
    ]
    network = trained_model(run, winner_of(run), len(COLOURS))
    with Cache(cache) as opened:
        cropped, squashed = (
            network.predict(prepare_images(files, photos, 32, opened, crop=crop), verbose=0)
            for crop in (True, False)
        )
    np.testing.assert_allclose(predicted, cropped.max(axis=1), atol=1e-4)
    assert np.abs(squashed - cropped).max() > 1e-2
    assert "--crop was on, not off" in tune("search", photos, "--resume", *SEARCH, *places).stderr


def test_a_second_export_is_refused() -> None:
    folder, _ = small_export()
    before = contents(folder)
    result = tune("best", "--runs-dir", small_search().runs, "--export", folder)
    assert result.exit_code == 2
    assert "is not an empty folder" in result.stderr
    assert contents(folder) == before


def corrupt(network: keras.Model) -> keras.Model:
    logits = network.get_layer("head_logits")
    logits.kernel.assign(0 * logits.kernel)
    logits.bias.assign([1.0, 0.0, 0.0])
    return network


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("trained_model", "classifies 3 of 9 validation images correctly, but the search counted"),
        ("export_model", "does not give the network's predictions: "),
    ],
)
def test_another_model_is_not_exported(
    tmp_path: Path, checked_here: None, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    def corrupted(*arguments: Any) -> keras.Model:
        if place == "export_model":
            corrupt(arguments[0])
            return export_model(*arguments)
        return corrupt(trained_model(*arguments))

    monkeypatch.setattr(winner_module, place, corrupted)
    search = small_search()
    result = tune(
        "best",
        "--runs-dir",
        search.runs,
        "--cache-dir",
        search.cache,
        "--export",
        tmp_path / "new" / "model",
    )
    assert result.exit_code == 1
    assert message in result.stderr
    assert "nothing was written" in result.stderr
    assert contents(tmp_path) == {}


def test_the_check_in_json(tmp_path: Path, no_check: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the screen tells is there too, under the names that export.json has for it."""
    search, folder = small_search(), tmp_path / "model"
    parity = Parity(18, 6, 0, 0.4, 2.5, 0.5, 0.25, lost=6)
    reference = Reference([], np.zeros(0, int), 0, np.zeros((0, 3)))
    exported = Exported(
        {"litert": parity}, reference, Calibration(1.5, 0.2, 0.1), {"litert": 1234}, None, "int8"
    )
    monkeypatch.setattr(winner_module, "describe", lambda *_: None)
    monkeypatch.setattr(winner_module, "check_files", lambda *_: exported)
    result = tune(
        "best", "--runs-dir", search.runs, "--cache-dir", search.cache, "--export", folder, "--json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["export"] == str(folder)
    assert found["formats"]["litert"] == {
        "file": "model.tflite",
        "numbers": "int8",
        "images": 18,
        "differing": 6,
        "ties": 0,
        "largest_difference": 0.4,
        "milliseconds_per_image": 2.5,
        "validation_accuracy": 0.5,
        "test_accuracy": 0.25,
        "bytes": 1234,
        "lost": 6,
        "gained": 0,
        "warning": exported.warning,
    }
    assert (found["calibration_error_before"], found["calibration_error"]) == (0.2, 0.1)
    assert found["temperature"] == 1.5
    assert found["checked_images"] == found["plainly_decoded"] == 0
    assert f"Warning: {exported.warning}" in result.stderr


def test_a_model_that_another_process_cannot_use(
    tmp_path: Path,
    no_check: None,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    winner: Winner,
    dataset: Dataset,
    cache: Cache,
) -> None:
    def unusable(model: keras.Model, folder: Path, *_: Any) -> None:
        (folder / "model.keras").write_text("no model")

    monkeypatch.setattr(winner_module, "write_files", unusable)
    monkeypatch.setattr(winner_module, "check_files", files_module.check_files)
    for name in ("numpy", "tuner", "json"):  # what lies in the working folder is not imported
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from here')")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(TuneError, match=r"keras file could not be checked: .*model\.keras"):
        export_winner(run, winner, dataset, tmp_path / "model", cache)
    assert contents(tmp_path) == before


def test_a_full_disk(
    tmp_path: Path,
    no_check: None,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    winner: Winner,
    dataset: Dataset,
    cache: Cache,
) -> None:
    def full(*_: Any) -> None:
        raise OSError("Unable to synchronously write (No space left on device)")

    monkeypatch.setattr(winner_module, "describe", full)
    with pytest.raises(ExportError, match=r"model cannot be written: Unable to .*No space left"):
        export_winner(run, winner, dataset, tmp_path / "model", cache)
    assert contents(tmp_path) == {}


def test_an_interrupted_export_leaves_nothing(
    tmp_path: Path,
    no_check: None,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    winner: Winner,
    dataset: Dataset,
    cache: Cache,
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(winner_module, "check_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_winner(run, winner, dataset, tmp_path / "model", cache)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("change", ["gone", "another"])
def test_validation_images_that_changed(
    tmp_path: Path,
    no_check: None,
    run: Run,
    winner: Winner,
    dataset: Dataset,
    cache: Cache,
    change: str,
) -> None:
    root = tmp_path / "photos"
    for file in dataset.files:
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        (root / file.path).write_bytes((dataset.root / file.path).read_bytes())
    moved = Dataset(root, dataset.classes, dataset.files)
    path = root / dataset.of("validation")[1].path
    path.unlink() if change == "gone" else path.write_bytes(b"another")
    expected = "cannot be read: No such file" if change == "gone" else "has changed since"
    with pytest.raises(DataError, match=expected) as raised:
        export_winner(run, winner, moved, tmp_path / "model", cache)
    assert str(path) in str(raised.value)
    assert not (tmp_path / "model").exists()


def test_into_the_working_folder(
    tmp_path: Path,
    no_check: None,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    winner: Winner,
    dataset: Dataset,
    cache: Cache,
) -> None:
    (tmp_path / "keras.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path)
    export_winner(run, winner, dataset, Path("deep/model"), cache)
    assert (tmp_path / "deep" / "model" / "export.json").is_file()


def test_targets(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    check_target(tmp_path / "empty")
    check_target(tmp_path / "new" / "deep")
    for name in (".", "file", "file/model", "dangling"):
        with pytest.raises(ExportError):
            check_target(tmp_path / name)
