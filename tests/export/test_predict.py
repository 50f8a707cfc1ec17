"""Exports that are used, and everything that only looks like one."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from tests.support.small_search import tune
from tuner.decoding.decode import read_image
from tuner.errors import ExportError
from tuner.export import predict
from tuner.export.formats import FORMATS
from tuner.export.predict import Export, Prediction, probabilities_of
from tuner.storage.digests import sha256

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
    return write_description(folder, "model.keras", **changes)


def write_description(folder: Path, model: str, labels: Sequence[str] = LABELS) -> Path:
    (folder / "labels.json").write_text(json.dumps(labels))
    files = {name: sha256(folder / name) for name in (model, "labels.json")}
    (folder / "export.json").write_text(json.dumps({"schema": 1, "files": files}))
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
    empty = tmp_path / "empty"
    empty.mkdir()
    given = [tmp_path / "missing.jpg", pictures[0], tmp_path / "cut.png", empty, pictures[1]]
    result = tune("predict", export, *given, "--json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert [row["path"] for row in rows] == [str(path) for path in given]
    assert [row["label"] for row in rows] == [None, "red", None, None, "[green]"]
    errors = [row["error"] for row in rows]
    assert errors == ["not found", None, errors[2], "it is a folder without images", None]
    assert "cut short" in errors[2] or "damaged" in errors[2]
    assert set(rows[0]) == {"path", "label", "probability", "top", "error"}
    shown = tune("predict", export, *given).stdout
    assert "not read: not found" in " ".join(shown.split())


def test_only_unreadable_images(tmp_path: Path, export: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = tune("predict", export, tmp_path / "missing.jpg", tmp_path / "empty")
    assert result.exit_code == 2
    assert "not found" in result.stdout
    assert result.stderr == (
        "Error: none of the images could be read. "
        "Give JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC or PPM files.\n"
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
        ('{"schema": 1, "files": {}}', "export.json is damaged"),
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


@pytest.mark.parametrize("labels", [["a", "b"], list("abcd")])
def test_labels_that_do_not_fit(tmp_path: Path, model: keras.Model, labels: Any) -> None:
    folder = write_export(tmp_path / "model", model, labels=labels)
    with pytest.raises(ExportError, match="does not name one class for each output"):
        Export(folder)


@pytest.mark.parametrize("inputs", [(None, None, 1), (32, 32, 3)])
def test_a_model_of_other_inputs(tmp_path: Path, inputs: tuple[int | None, ...]) -> None:
    folder = write_export(tmp_path / "model", colour_model(inputs))
    with pytest.raises(ExportError, match=r"model\.keras does not take RGB images"):
        Export(folder)


def test_a_model_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    rgb = keras.Input((None, None, 3))
    pooled = keras.layers.Lambda(lambda x: keras.ops.mean(x, (1, 2)), output_shape=(3,))(rgb)
    folder = write_export(tmp_path / "model", keras.Model(rgb, pooled))
    assert "holds a Lambda layer, which could run any code" in failure(folder, "x.jpg")


def test_a_model_with_a_layer_of_ones_own_is_not_loaded(tmp_path: Path) -> None:
    class Mine(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.mean(x, (1, 2))

    rgb = keras.Input((None, None, 3))
    folder = write_export(tmp_path / "model", keras.Model(rgb, Mine()(rgb)))
    with pytest.raises(ExportError, match="needs Mine, which is not a part of Keras"):
        Export(folder)


@pytest.mark.parametrize("name", ["keras", "savedmodel", "onnx", "litert"])
def test_a_file_that_is_no_model(tmp_path: Path, name: str) -> None:
    file = FORMATS[name].file + ("/saved_model.pb" if name == "savedmodel" else "")
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("no model")
    write_description(tmp_path, file)
    with pytest.raises(ExportError, match=r"is (not a|damaged).* It was not opened\.$"):
        Export(tmp_path)


def noise(count: int, *sizes: tuple[int, int]) -> list[np.ndarray]:
    random = np.random.default_rng(count)
    return [
        random.integers(0, 2, (*sizes[number % len(sizes)], 3), dtype=np.uint8)
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [1, predict._BATCH, 2 * predict._BATCH + 1])
def test_images_of_all_sizes_keep_their_order(model: keras.Model, count: int) -> None:
    images = noise(count, (1, 4), (2, 4), (2, 4), (3, 1))
    found = probabilities_of(model, images)
    assert found.shape == (count, 3)
    for image, row in zip(images, found, strict=True):
        np.testing.assert_allclose(row, model.predict_on_batch(image[np.newaxis])[0], atol=1e-6)


def test_batches_are_full_and_not_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(100, (2, 4), (5, 5))
    sizes = [len(numbers) for numbers in predict._same_sized(images)]
    assert sizes == [32, 18, 32, 18]
    monkeypatch.setattr(predict, "_BATCH_BYTES", 250)
    assert {len(numbers) for numbers in predict._same_sized(noise(40, (5, 5)))} == {3, 1}
    monkeypatch.setattr(predict, "_BATCH_BYTES", 1)
    assert {len(numbers) for numbers in predict._same_sized(images)} == {1}


def test_few_decoded_images_are_in_memory(
    export: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> np.ndarray:
        read.append(path)
        return read_image(path)

    monkeypatch.setattr(predict, "read_image", counted)
    stream = Export(export).predict(pictures * 200)
    next(stream)
    assert len(read) <= predict._BATCH + 2 * (os.cpu_count() or 1) + 1
    assert sum(1 for _ in stream) == 599
    monkeypatch.setattr(predict, "_WINDOW_BYTES", 200)  # two of them
    read.clear()
    next(Export(export).predict(pictures * 200))
    assert len(read) <= 3 + 2 * (os.cpu_count() or 1)


def test_the_most_probable_classes(export: Path, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (252, 255, 254)).save(tmp_path / "grey.png")
    loaded = Export(export)
    (found,) = loaded.predict([tmp_path / "grey.png"], top=2)
    assert [label for label, _ in found.top] == ["[green]", "blue\n"]
    assert found.top[0] == (found.label, found.probability)
    assert sum(share for _, share in found.top) < 1
    (found,) = loaded.predict([tmp_path / "grey.png"])
    assert len(found.top) == 3
    assert sum(share for _, share in found.top) == pytest.approx(1)


@pytest.mark.parametrize("top", [0, 4, -1])
def test_more_classes_than_there_are(export: Path, pictures: list[Path], top: int) -> None:
    message = failure(export, pictures[0], "--top", top)
    assert f"--top must be from 1 to 3, as the model has that many classes, but is {top}" in message


def test_csv_and_json_from_folders_patterns_and_a_list(export: Path, pictures: list[Path]) -> None:
    folder = pictures[0].parent
    (folder / "cut.png").write_bytes(pictures[0].read_bytes()[:45])
    by_folder = tune("predict", export, folder, "--csv", "--top", 2)
    assert by_folder.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(by_folder.stdout)))
    assert [Path(row["path"]).name for row in rows] == [*(p.name for p in pictures), "cut.png"]
    assert [row["label"] for row in rows] == [*LABELS, ""]
    assert rows[0]["label_2"] in LABELS
    assert rows[3]["error"]
    by_pattern = tune("predict", export, folder / "*.png", "--csv", "--top", 2)
    assert by_pattern.stdout == by_folder.stdout
    listed = "\0".join(map(str, pictures))
    by_list = tune("predict", export, "-", "-0", "--json", stdin=listed)
    assert [row["label"] for row in json.loads(by_list.stdout)] == LABELS
    assert [len(row["top"]) for row in json.loads(by_list.stdout)] == [3, 3, 3]
    assert "standard input names no image" in failure(export, "-")
    assert "--csv and --json exclude each other" in failure(export, folder, "--csv", "--json")


def test_a_reader_that_has_seen_enough(export: Path, pictures: list[Path]) -> None:
    code = "from tuner.cli import main; main()"
    arguments = [sys.executable, "-c", code, "predict", str(export), "-", "--csv"]
    listed = "\n".join(map(str, pictures * 3000))
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(listed)
        process.stdin.close()
        assert process.stdout.readline() == "path,label,probability,error\n"
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_a_prediction_is_plain_data(tmp_path: Path) -> None:
    assert Prediction(tmp_path, "a", 0.5).error is None
