"""Paths of tables, as people write them and as disks spell them."""

import unicodedata
from pathlib import Path

import pytest

from tests.data.test_dataset import photos
from tests.data.test_folders import labels, put
from tuner.data.listing import Layout
from tuner.data.survey import survey
from tuner.data.table import listed, table_manifest
from tuner.data.table_paths import TablePaths
from tuner.errors import DataError


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [
        ("a/1.jpg", "a/1.jpg"),
        ("./a//1.jpg", "a/1.jpg"),
        ("a\\1.jpg", "a/1.jpg"),
        ("A/1.JPG", "a/1.jpg"),
        ("a/1", "a/1.jpg"),
        ("a/1.v2", "a/1.v2.png"),
        ("Käse/Ü.jpg", unicodedata.normalize("NFD", "Käse/Ü.jpg")),
        (unicodedata.normalize("NFD", "Käse/Ü.jpg"), "Käse/Ü.jpg"),
        ("KÄSE/ü", unicodedata.normalize("NFD", "Käse/Ü.jpg")),
    ],
)
def test_the_file_is_found(tmp_path: Path, written: str, on_disk: str) -> None:
    put(tmp_path, on_disk, "a/2.jpg")
    assert TablePaths(tmp_path).find(written) == on_disk


def test_homes_and_file_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    put(tmp_path / "home", "my photos/1.jpg")
    expected = str(tmp_path / "home" / "my photos" / "1.jpg")
    paths = TablePaths(tmp_path)
    assert paths.find("~/my photos/1.jpg") == expected
    assert paths.find(Path(expected).as_uri()) == expected
    assert paths.find("https://example.org/1.jpg") == "https://example.org/1.jpg"


def test_what_may_be_several_files_is_not_chosen(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "a/1.png", "a/IMG.jpg", "a/img.JPG", "a/img.JPG.jpg")
    paths = TablePaths(tmp_path)
    assert paths.find("a/1") == "a/1"
    assert paths.find("a/Img.jpg") == "a/Img.jpg"
    assert paths.find("a/IMG.jpg") == "a/IMG.jpg"
    assert paths.meant("b/a/1") is None


@pytest.mark.parametrize(
    "written",
    ["C:\\Users\\me\\a\\1.jpg", "https://example.org/a/1.jpg", "photos/a/1.jpg", "1.jpg", "/x/A/1"],
)
def test_the_file_that_may_be_meant_is_named(tmp_path: Path, written: str) -> None:
    put(tmp_path, "a/1.jpg", "b/2.jpg")
    assert TablePaths(tmp_path).meant(written) == "a/1.jpg"


def test_a_missing_file_comes_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    photos(tmp_path / "a", 4)
    rows = [f"a/{n:03}.png,{'ab'[n % 2]}" for n in range(4)]
    (tmp_path / "images.csv").write_text("\n".join(["path,label", *rows, "photos/a/001.png,b"]))
    (skipped,) = survey(tmp_path / "images.csv").skipped
    assert skipped.reason == "not found; perhaps a/001.png is meant"


LISTS = {
    "path, id, set\na/1.jpg, 3, train\nb/2.jpg, 4, val\nb/3.jpg, 4, train\n": Layout(
        label_column="ID", split_column="set"
    ),
    "id;file;set\n3;a/1.jpg;train\n4;b/2.jpg;val\n4;b/3.jpg;train\n": Layout(
        path_column="file", label_column="id", split_column="set"
    ),
    "a/1.jpg, 3, train\nb/2.jpg, 4, val\nb/3.jpg, 4, train\n": Layout(
        path_column="1", label_column="2", split_column="3"
    ),
    "train 3 a/1.jpg\nval 4 b/2.jpg\ntrain 4 b/3.jpg\n": Layout(
        path_column="3", label_column="2", split_column="1"
    ),
}


@pytest.mark.parametrize("text", LISTS)
def test_columns_by_name_or_number(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    manifest = listed(tmp_path / "list.txt", LISTS[text])
    assert labels(manifest) == {"a/1.jpg": "3", "b/2.jpg": "4", "b/3.jpg": "4"}
    assert manifest.classes == {"train": ("3", "4"), "validation": ("4",)}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout(path_column="file"), "lacks the column file: .* it names path, label"),
        (Layout(split_column="set"), "lacks the column set"),
        (Layout(path_column="1"), "--label-column must be a number like the other"),
        (Layout(path_column="1", label_column="3"), r"--label-column is 3, but .* has 2 columns"),
        (Layout(path_column="0", label_column="1"), "--path-column is 0, but"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, layout: Layout, message: str) -> None:
    (tmp_path / "list.csv").write_text("path,label\na/1.jpg,cat\nb/2.jpg,dog\n")
    with pytest.raises(DataError, match=message):
        table_manifest(tmp_path / "list.csv", layout)
