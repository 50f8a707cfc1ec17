"""Exports that are used, and everything that only looks like one."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from small_search import tune

from tuner import prediction
from tuner.errors import ExportError
from tuner.prediction import Export, Prediction, load_keras, probabilities_of, sha256

LABELS = ["red", "[green]", "blue\n"]


def colour_model(inputs: Any = (None, None, 3), **layer: Any) -> keras.Model:
    """Names the colour that an image has most of."""
    rgb = keras.Input(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(rgb)
    classes = keras.layers.Activation(layer.get("activation", "softmax"))
    return keras.Model(rgb, classes(pooled))


def write_export(folder: Path, model: keras.Model, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    model.save(folder / "model.keras")
    (folder / "labels.json").write_text(json.dumps(changes.pop("labels", LABELS)))
    files = {name: sha256(folder / name) for name in ("model.keras", "labels.json")}
    description = {"schema": 1, "files": files} | changes
    (folder / "export.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return colour_model()


@pytest.fixture
def export(tmp_path: Path, model: keras.Model) -> Path:
    return write_export(tmp_path / "model", model)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"[bold]{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        colour = [255 * (channel == number) for channel in range(3)]
        Image.new("RGB", (5 + number, 7), tuple(colour)).save(path)
    return paths


def failure(*arguments: object) -> str:
    result = tune("predict", *arguments)
    lines = result.stderr.splitlines()
    assert result.exit_code == 2, result.output
    assert [line for line in lines if line.startswith("Error: ")] == lines
    assert len(lines) == 1
    assert "Traceback" not in result.output
    return str(lines[0])


def test_in_the_order_given(export: Path, pictures: list[Path]) -> None:
    loaded = Export(export)
    assert loaded.labels == LABELS
    found = list(loaded.predict([pictures[2], pictures[0], pictures[1]]))
    assert [p.label for p in found] == ["blue\n", "red", "[green]"]
    assert [p.path for p in found] == [pictures[2], pictures[0], pictures[1]]
    assert all(p.probability == pytest.approx(1) and p.error is None for p in found)


def test_unreadable_images_are_named_and_passed_over(
    tmp_path: Path, export: Path, pictures: list[Path]
) -> None:
    (tmp_path / "cut.png").write_bytes(pictures[0].read_bytes()[:45])
    given = [tmp_path / "missing.jpg", pictures[0], tmp_path / "cut.png", tmp_path, pictures[1]]
    result = tune("predict", export, *given, "--json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert [row["path"] for row in rows] == [str(path) for path in given]
    assert [row["label"] for row in rows] == [None, "red", None, None, "[green]"]
    errors = [row["error"] for row in rows]
    assert errors == ["not found", None, errors[2], "it cannot be read: Is a directory", None]
    assert "cut short" in errors[2] or "damaged" in errors[2]
    assert set(rows[0]) == {"path", "label", "probability", "error"}
    shown = tune("predict", export, *given).stdout
    assert "not read: not found" in " ".join(shown.split())


def test_only_unreadable_images(tmp_path: Path, export: Path) -> None:
    result = tune("predict", export, tmp_path / "missing.jpg", tmp_path)
    assert result.exit_code == 2
    assert "not found" in result.stdout
    assert result.stderr == (
        "Error: none of the images could be read. "
        "Give JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF files.\n"
    )


def test_hostile_names_are_shown_as_text(export: Path, pictures: list[Path]) -> None:
    shown = tune("predict", export, *pictures).stdout
    assert "[bold]0.png" in shown
    assert "[green]" in shown
    assert "blue\ufffd" in shown


def test_a_missing_export(tmp_path: Path) -> None:
    assert failure(tmp_path / "no", "x.jpg") == (
        f"Error: there is no export folder {tmp_path / 'no'}. "
        f"Make one with: tune best --export {tmp_path / 'no'}"
    )
    (tmp_path / "file").write_text("")
    assert "there is no export folder" in failure(tmp_path / "file", "x.jpg")
    (tmp_path / "empty").mkdir()
    assert "is not an export: export.json is missing" in failure(tmp_path / "empty", "x.jpg")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "export.json is missing or damaged"),
        ("\xff", "export.json is missing or damaged"),
        ("[]", "export.json is damaged"),
        ("null", "export.json is damaged"),
        ('{"name": "foreign"}', "export.json is damaged"),
        ('{"schema": 1}', "export.json is damaged"),
        ('{"schema": null, "files": {}}', "export.json is damaged"),
        ('{"schema": "new", "files": {}}', "export.json is damaged"),
        ('{"schema": 1, "files": 3}', "export.json is damaged"),
        ('{"schema": 1, "files": {}}', "model.keras has changed since it was exported"),
        ('{"schema": 99, "files": {}}', "written by a newer version (schema 99"),
    ],
)
def test_a_damaged_or_foreign_description(export: Path, text: str, expected: str) -> None:
    (export / "export.json").write_bytes(text.encode("latin-1"))
    assert expected in failure(export, "x.jpg")


@pytest.mark.parametrize("name", ["model.keras", "labels.json"])
@pytest.mark.parametrize("change", ["gone", "cut", "folder"])
def test_a_file_that_is_not_what_was_exported(export: Path, name: str, change: str) -> None:
    data = (export / name).read_bytes()
    (export / name).unlink()
    if change == "cut":
        (export / name).write_bytes(data[:-5])
    elif change == "folder":
        (export / name).mkdir()
    message = failure(export, "x.jpg")
    assert name in message
    assert "xport" in message


@pytest.mark.parametrize("labels", [["a", "b"], {"a": 1, "b": 2, "c": 3}, "abc", None])
def test_labels_that_do_not_fit(tmp_path: Path, model: keras.Model, labels: Any) -> None:
    folder = write_export(tmp_path / "model", model, labels=labels)
    with pytest.raises(ExportError, match="does not name one class for each output"):
        Export(folder)


@pytest.mark.parametrize("inputs", [(None, None, 1), (32, 32, 3)])
def test_a_model_of_other_inputs(tmp_path: Path, inputs: tuple[int | None, ...]) -> None:
    folder = write_export(tmp_path / "model", colour_model(inputs))
    with pytest.raises(ExportError, match=r"model\.keras does not take images"):
        Export(folder)


def test_a_model_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    rgb = keras.Input((None, None, 3))
    pooled = keras.layers.Lambda(lambda x: keras.ops.mean(x, (1, 2)), output_shape=(3,))(rgb)
    folder = write_export(tmp_path / "model", keras.Model(rgb, pooled))
    assert "is not a model that stock Keras can load" in failure(folder, "x.jpg")


def test_a_model_with_a_layer_of_ones_own_is_not_loaded(tmp_path: Path) -> None:
    class Mine(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.mean(x, (1, 2))

    rgb = keras.Input((None, None, 3))
    folder = write_export(tmp_path / "model", keras.Model(rgb, Mine()(rgb)))
    with pytest.raises(ExportError, match="stock Keras"):
        Export(folder)


def test_no_model_at_all(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("text")
    for name in ("model.keras", "missing.keras", "."):
        with pytest.raises(ExportError, match="is not a model that stock Keras can load"):
            load_keras(tmp_path / name)


@pytest.mark.parametrize("count", [1, prediction._BATCH, 2 * prediction._BATCH + 1])
def test_images_of_all_sizes_keep_their_order(model: keras.Model, count: int) -> None:
    random = np.random.default_rng(count)
    images = [
        random.integers(0, 2, (int(random.integers(1, 3)), 4, 3), dtype=np.uint8)
        for _ in range(count)
    ]
    found = probabilities_of(model, images)
    assert found.shape == (count, 3)
    for image, row in zip(images, found, strict=True):
        np.testing.assert_allclose(row, model.predict_on_batch(image[np.newaxis])[0], atol=1e-6)


def test_what_the_other_process_writes(tmp_path: Path, export: Path, pictures: list[Path]) -> None:
    paths = [str(path) for path in pictures] * 12  # more than one batch
    (tmp_path / "list.json").write_text(json.dumps(paths))
    out = tmp_path / "out.npy"
    prediction._main(str(export / "model.keras"), str(tmp_path / "list.json"), str(out))
    assert np.load(out, allow_pickle=False).argmax(axis=1).tolist() == [0, 1, 2] * 12


def test_a_prediction_is_plain_data(tmp_path: Path) -> None:
    assert Prediction(tmp_path, "a", 0.5).error is None
