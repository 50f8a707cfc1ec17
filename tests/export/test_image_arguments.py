"""Files, folders, patterns and lists, in the order given."""

import os
from pathlib import Path

import pytest
from PIL import Image

from tuner.export.image_arguments import chosen_images


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "photos"
    for name in (
        "b.png",
        "a.JPG",
        "deep/er/c.png",
        ".hidden/d.png",
        "__MACOSX/e.png",
        "deep/.f.png",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    (folder / "deep" / "no-suffix").write_bytes((folder / "b.png").read_bytes())
    (folder / "notes.txt").write_text("text")
    (folder / "damaged.jpg").write_text("text")
    os.mkfifo(folder / "pipe.jpg")
    monkeypatch.chdir(tmp_path)
    return folder


def names(arguments: list[str], listed: bytes = b"", separator: bytes = b"\n") -> list[str]:
    return [str(path) for path in chosen_images(arguments, listed, separator)]


FOLDER = [
    "photos/a.JPG", "photos/b.png", "photos/damaged.jpg", "photos/deep/er/c.png",
    "photos/deep/no-suffix",
]  # fmt: skip


def test_a_folder_is_its_images_sorted(photos: Path) -> None:
    assert names(["photos"]) == FOLDER
    assert names(["photos/"]) == FOLDER


def test_the_order_and_what_is_named_twice_are_kept(photos: Path) -> None:
    given = ["photos/b.png", "photos/notes.txt", "missing.jpg", "photos/b.png"]
    assert names(given) == given


def test_patterns(photos: Path) -> None:
    assert names(["photos/*.png"]) == ["photos/b.png"]
    assert names(["photos/**/*.png"]) == [
        "photos/__MACOSX/e.png", "photos/b.png", "photos/deep/er/c.png"
    ]  # fmt: skip
    assert names(["phot[o]s"]) == FOLDER
    assert "photos/deep/er/c.png" in names(["photos/**"])
    assert len(names(["photos/**"])) == len(set(names(["photos/**"])))
    assert names(["nothing/*.png"]) == ["nothing/*.png"]


def test_a_file_may_be_called_like_a_pattern(photos: Path) -> None:
    (photos / "[ab].png").write_bytes((photos / "b.png").read_bytes())
    assert names(["photos/[ab].png"]) == ["photos/[ab].png"]


def test_a_folder_without_images_stays(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert names([str(tmp_path / "empty")]) == [str(tmp_path / "empty")]


def test_links_are_followed_once(photos: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes((photos / "b.png").read_bytes())
    (photos / "link").symlink_to(outside)
    (photos / "again").symlink_to(outside)
    (photos / "loop").symlink_to(photos)
    found = names(["photos"])
    assert len([name for name in found if name.endswith("x.png")]) == 1
    assert len([name for name in found if name.endswith("b.png")]) <= 2


def test_names_on_standard_input(photos: Path) -> None:
    listed = b"photos/b.png\r\n\nphotos/*.JPG\nmissing \xff.jpg\n"
    assert names(["x.png", "-", "y.png"], listed) == [
        "x.png", "photos/b.png", "photos/a.JPG", "missing \udcff.jpg", "y.png"
    ]  # fmt: skip
    assert names(["-"], b"a\nb.png\0photos/b.png\0", b"\0") == ["a\nb.png", "photos/b.png"]
    assert names(["-"], b"") == []


def test_brackets_of_a_folder_are_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cats [2024]/a.png", "cats [2024]/[x] b/c.png", "cats 2/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert names(["cats [2024]/*.png"]) == ["cats [2024]/a.png"]
    assert names(["cats [2024]/[x] b/?.png"]) == ["cats [2024]/[x] b/c.png"]
    assert names([f"{tmp_path}/cats [2024]/**/c.png"]) == [f"{tmp_path}/cats [2024]/[x] b/c.png"]
    assert names(["cats [2]/*.png"]) == ["cats 2/d.png"]


def test_images_of_kinds_that_are_not_read_are_reported(photos: Path) -> None:
    (photos / "deep" / "x.nef").write_bytes(b"")
    (photos / "model").mkdir()
    for name in ("export.json", "labels.json", "heat.png"):
        (photos / "model" / name).write_bytes(b"")
    assert names(["photos"]) == sorted([*FOLDER, "photos/deep/x.nef"])
