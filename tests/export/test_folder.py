"""An export's folder: what it lists, what it may list, and what else lies in it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import ExportError
from tuner.export.folder import open_export
from tuner.storage.digests import sha256

FILES = {
    "model.keras": "one",
    "model.onnx": "two",
    "savedmodel/saved_model.pb": "three",
    "savedmodel/variables/variables.index": "four",
    "MODEL_CARD.md": "five",
}


def describe(folder: Path, **changes: Any) -> None:
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "export.json"
    }
    description = {"schema": 1, "files": files | changes.pop("more", {})} | changes
    (folder / "export.json").write_text(json.dumps(description))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, text in (FILES | {"labels.json": '["a", "b"]'}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    describe(folder)
    return folder


def message(folder: Path) -> str:
    with pytest.raises(ExportError) as caught:
        open_export(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_there(export: Path) -> None:
    (export / "notes of mine.txt").write_text("not listed, and never read")
    opened = open_export(export)
    assert opened.labels == ("a", "b")
    assert list(opened.models) == ["keras", "savedmodel", "onnx"]
    assert opened.models["savedmodel"] == export / "savedmodel"
    assert opened.description["schema"] == 1


@pytest.mark.parametrize("name", list(FILES))
def test_every_file_that_is_listed_is_checked(export: Path, name: str) -> None:
    (export / name).write_text("else")
    assert message(export) == (f"{export / name} has changed since it was exported. Export again.")
    (export / name).unlink()
    assert "cannot be read: No such file" in message(export)


@pytest.mark.parametrize(
    "name",
    [
        "../canary", "/etc/passwd", "savedmodel/../../canary", "", "model.pkl", "x/model.keras",
        "model/../model.keras", "savedmodel/assets/words.txt", "savedmodel/variables/x",
        "a\nb.json", "model.keras/x", "..",
    ],
)  # fmt: skip
def test_names_that_no_export_has(export: Path, name: str) -> None:
    describe(export, more={name: "0"})
    assert "a file that no export has" in message(export)


def link_file(folder: Path) -> Path:
    return move(folder / "model.keras")


def link_folder(folder: Path) -> Path:
    return move(folder / "savedmodel" / "variables")


def link_labels(folder: Path) -> Path:
    return move(folder / "labels.json")


def link_description(folder: Path) -> Path:
    return move(folder / "export.json")


def move(path: Path) -> Path:
    """Moves it elsewhere and leaves a link."""
    elsewhere = path.parent.parent / f"elsewhere-{path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    return path


@pytest.mark.parametrize("change", [link_file, link_folder, link_labels, link_description])
def test_links(export: Path, change: Callable[[Path], Path]) -> None:
    path = change(export)
    assert message(export) == f"{path} is a link to another place. Export again."


def test_the_folder_itself_may_be_a_link(export: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(export)
    assert open_export(tmp_path / "latest").labels == ("a", "b")


@pytest.mark.parametrize("name", ["model.onnx", "labels.json", "savedmodel/saved_model.pb"])
def test_what_is_no_file(export: Path, name: str) -> None:
    (export / name).unlink()
    os.mkfifo(export / name)
    assert f"{name} cannot be read: it is no file" in message(export)


def test_a_description_that_is_no_file(export: Path) -> None:
    (export / "export.json").unlink()
    os.mkfifo(export / "export.json")
    assert "is not an export: export.json is missing or damaged" in message(export)


@pytest.mark.parametrize("schema", ["Infinity", "-Infinity", "NaN", "1e400", "true", '"1"', "1.0"])
def test_a_schema_that_is_no_number_of_one(export: Path, schema: str) -> None:
    text = (export / "export.json").read_text().replace('"schema": 1', f'"schema": {schema}')
    (export / "export.json").write_text(text)
    assert message(export) == f"{export / 'export.json'} is damaged. Export again."


@pytest.mark.parametrize("name", ["savedmodel/assets/words.txt", "savedmodel/variables/more"])
def test_a_model_s_folder_holds_what_is_listed(export: Path, name: str) -> None:
    (export / name).parent.mkdir(exist_ok=True)
    (export / name).write_text("")
    assert "was not exported" in message(export)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("{}", "is not a list of class names"),
        ("[1, 2]", "is not a list of class names"),
        ('"ab"', "is not a list of class names"),
        ("[]", "names 0 classes"),
        ("[" * 100_000, "labels.json is missing or damaged"),
    ],
)
def test_labels_that_are_none(export: Path, labels: str, expected: str) -> None:
    (export / "labels.json").write_text(labels)
    describe(export)
    assert expected in message(export)


def test_an_export_without_a_model(export: Path) -> None:
    for name in FILES:
        (export / name).unlink()
    describe(export)
    assert message(export) == f"{export} holds no model. Export again."


def test_a_description_that_would_fill_the_memory(export: Path) -> None:
    with (export / "export.json").open("r+b") as file:
        file.truncate(10**12)
    assert "export.json is missing or damaged" in message(export)
