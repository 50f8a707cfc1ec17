import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.repository import ROOT
from tuner.data.csv_export import check_table, write_table
from tuner.data.dataset import Dataset, SplitOptions
from tuner.data.listing import Skipped
from tuner.data.load import digits_dataset, load_dataset
from tuner.data.splits import SPLITS
from tuner.decoding.decode import read_image
from tuner.errors import DataError, SettingsError
from tuner.storage.cache import CacheError


def photo(path: Path, number: int = 0) -> Path:
    """Writes a small image; equal numbers give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


def photos(folder: Path, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        photo(folder / f"{number:03}.png", number)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Twenty cats and ten dogs in class folders."""
    photos(tmp_path / "pets" / "cat", 20)
    photos(tmp_path / "pets" / "dog", 10, first=100)
    return tmp_path / "pets"


def splits_of(dataset: Dataset) -> dict[str, str]:
    return {file.path: file.split for file in dataset.files}


def test_class_folders_are_found_and_split(pets: Path) -> None:
    dataset = load_dataset(pets)
    assert dataset.root == pets
    assert dataset.classes == ("cat", "dog")
    assert dataset.counts() == {
        "cat": {"train": 14, "validation": 3, "test": 3},
        "dog": {"train": 6, "validation": 2, "test": 2},
    }
    paths = [file.path for file in dataset.files]
    assert paths == sorted(paths) and paths[0] == "cat/000.png" and len(paths) == 30
    content = (pets / "cat" / "000.png").read_bytes()
    assert dataset.files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert (dataset.skipped, dataset.ignored) == ((), 0)


def test_labels_follow_the_files_of_a_split(pets: Path) -> None:
    dataset = load_dataset(pets)
    for split in SPLITS:
        labels = dataset.labels(split)
        assert labels.dtype == np.int32
        names = [dataset.classes[label] for label in labels]
        assert names == [file.label for file in dataset.of(split)]
    with pytest.raises(ValueError, match="train, validation, test"):
        dataset.of("val")


def test_majority_rate(pets: Path) -> None:
    dataset = load_dataset(pets, SplitOptions(test_fraction=0))
    assert dataset.majority_rate() == 3 / 5
    assert dataset.majority_rate("train") == 17 / 25
    with pytest.raises(DataError, match="test split has no images"):
        dataset.majority_rate("test")


def test_datasets_are_frozen(pets: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        load_dataset(pets).classes = ()  # type: ignore[misc]


def test_only_visible_images_count(pets: Path) -> None:
    photo(pets / "cat" / "deep" / "deeper" / "X.JPG", 50)
    photo(pets / "cat" / "deep" / "y.JpEg", 51)
    for ignored in ("cat/.hidden.png", ".git/a.png", "__MACOSX/cat/a.png", "cat/.cache/b.png"):
        photo(pets / ignored)
    for other in ("cat/Thumbs.db", "cat/notes.txt", "README.md", "cat/a.psd"):
        (pets / other).write_text("?")
    dataset = load_dataset(pets)
    assert {"cat/deep/deeper/X.JPG", "cat/deep/y.JpEg"} < set(splits_of(dataset))
    assert len(dataset.files) == 32
    assert dataset.classes == ("cat", "dog")
    assert dataset.ignored == 8
    assert dataset.skipped == ()


def test_pipes_are_not_read(pets: Path) -> None:
    os.mkfifo(pets / "cat" / "pipe.png")
    assert load_dataset(pets).ignored == 1


def test_links_are_followed_and_loops_end(pets: Path, tmp_path: Path) -> None:
    photos(tmp_path / "elsewhere", 3, first=200)
    photos(tmp_path / "birds", 3, first=210)
    (pets / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (pets / "cat" / "again").symlink_to(pets / "cat")
    (pets / "dog" / "all").symlink_to(pets)
    (pets / "bird").symlink_to(tmp_path / "birds")
    (pets / "dog" / "link.png").symlink_to(photo(tmp_path / "one.png", 300))
    dataset = load_dataset(pets)
    counts = {name: sum(by_split.values()) for name, by_split in dataset.counts().items()}
    assert counts == {"bird": 3, "cat": 23, "dog": 11}
    assert "cat/more/200.png" in splits_of(dataset)


def test_damaged_images_are_left_out_and_listed(pets: Path) -> None:
    whole = (pets / "cat" / "000.png").read_bytes()
    (pets / "cat" / "000.png").write_bytes(whole[:-30])
    (pets / "cat" / "001.png").write_bytes(b"")
    (pets / "dog" / "100.png").write_text("<html>")
    (pets / "dog" / "gone.png").symlink_to(pets / "nowhere.png")
    photo(pets / "stray.png")
    dataset = load_dataset(pets)
    assert dataset.skipped == (
        Skipped("cat/000.png", "it is cut short"),
        Skipped("cat/001.png", "the file is empty"),
        Skipped("dog/100.png", "it is a web page, not an image"),
        Skipped("dog/gone.png", "not found"),
        Skipped("stray.png", "it lies outside the class folders"),
    )
    assert len(dataset.files) == 27


def test_progress_counts_to_the_number_of_images(pets: Path) -> None:
    seen: list[tuple[int, int]] = []
    load_dataset(pets, on_progress=lambda what, done, total: seen.append((done, total)))
    assert seen == [(done, 30) for done in range(1, 31)]


def test_each_file_is_read_once(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def spy(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", spy)
    load_dataset(pets)
    assert len(read) == len(set(read)) == 30


def test_the_split_depends_on_seed_and_content_alone(pets: Path, tmp_path: Path) -> None:
    dataset = load_dataset(pets)
    assert load_dataset(pets) == dataset
    assert splits_of(load_dataset(pets, SplitOptions(split_seed=1))) != splits_of(dataset)
    by_content = {file.sha256: file.split for file in dataset.files}
    shutil.copytree(pets, tmp_path / "copy")
    for number, path in enumerate(sorted((tmp_path / "copy" / "cat").iterdir(), reverse=True)):
        path.rename(path.parent / f"renamed{number}.png")
    renamed = load_dataset(tmp_path / "copy")
    assert {file.sha256: file.split for file in renamed.files} == by_content


def test_the_test_images_do_not_depend_on_the_validation_fraction(pets: Path) -> None:
    few, many = (
        load_dataset(pets, SplitOptions(val_fraction=share)).of("test") for share in (0.1, 0.4)
    )
    assert few == many


def test_added_images_move_few_others(pets: Path) -> None:
    before = splits_of(load_dataset(pets))
    photos(pets / "cat", 2, first=30)
    after = splits_of(load_dataset(pets))
    assert sum(after[path] != split for path, split in before.items()) <= 4


def test_identical_images_of_a_class_stay_together(pets: Path) -> None:
    for copy in range(3):
        photos(pets / "cat" / f"copy{copy}", 20)
    dataset = load_dataset(pets)
    split_of: dict[str, set[str]] = {}
    for file in dataset.files:
        split_of.setdefault(file.sha256, set()).add(file.split)
    assert {len(splits) for splits in split_of.values()} == {1}
    assert dataset.counts()["cat"] == {"train": 56, "validation": 12, "test": 12}


def given_splits(root: Path, names: dict[str, int]) -> Path:
    first = 0
    for name, count in names.items():
        for label in ("cat", "dog"):
            photos(root / name / label, count, first)
            first += count
    return root


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_given_splits_are_kept(tmp_path: Path, name: str) -> None:
    dataset = load_dataset(given_splits(tmp_path, {"train": 8, name: 3, "test": 2}))
    assert dataset.classes == ("cat", "dog")
    assert dataset.counts()["dog"] == {"train": 8, "validation": 3, "test": 2}
    assert splits_of(dataset)[f"{name}/dog/019.png"] == "validation"


def test_a_missing_test_folder_is_taken_from_train(tmp_path: Path) -> None:
    root = given_splits(tmp_path, {"train": 20, "val": 3})
    dataset = load_dataset(root)
    assert dataset.counts()["cat"] == {"train": 17, "validation": 3, "test": 3}
    assert all(file.path.startswith("train/") for file in dataset.of("test"))
    assert load_dataset(root, SplitOptions(test_fraction=0)).counts()["cat"]["test"] == 0


def test_a_missing_validation_folder_is_taken_from_train(tmp_path: Path) -> None:
    dataset = load_dataset(given_splits(tmp_path, {"train": 20, "test": 3}))
    assert dataset.counts()["cat"] == {"train": 17, "validation": 3, "test": 3}


def test_train_may_be_a_class(tmp_path: Path) -> None:
    for number, name in enumerate(("car", "plane", "train")):
        photos(tmp_path / name, 5, first=number * 10)
    assert load_dataset(tmp_path).classes == ("car", "plane", "train")


def unmake(root: Path) -> None:
    shutil.rmtree(root)


def make_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("")


def remove_classes(root: Path) -> None:
    shutil.rmtree(root / "cat")
    shutil.rmtree(root / "dog")


def flatten(root: Path) -> None:
    remove_classes(root)
    photos(root, 5)


def damage(*names: str) -> Callable[[Path], None]:
    def damaged(root: Path) -> None:
        for name in names:
            for path in (root / name).iterdir():
                path.write_text("")

    return damaged


def keep(count: int) -> Callable[[Path], None]:
    def kept(root: Path) -> None:
        for path in sorted((root / "dog").iterdir())[count:]:
            path.unlink()

    return kept


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unmake, "pets does not exist: name a folder"),
        (make_file, "pets is a file: name a folder"),
        (remove_classes, "pets must hold one folder per class, but it holds none"),
        (flatten, "pets must hold one folder per class, but its images lie directly in it"),
        (lambda root: shutil.rmtree(root / "dog"), "has one class, cat, but at least two"),
        (keep(0), "has one class, cat, but .* Folders without images are no classes: dog"),
        (keep(2), "Class dog has 2 different images to split, but needs at least 3"),
        (damage("cat", "dog"), "None of the 30 images in .* cat/000.png: the file is empty"),
        (damage("dog"), "Class dog needs train images, but none of its 10 can be read"),
    ],
)
def test_folders_that_cannot_be_used(
    pets: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(pets)
    with pytest.raises(DataError, match=message):
        load_dataset(pets)


def test_three_images_are_enough(pets: Path) -> None:
    keep(3)(pets)
    assert load_dataset(pets).counts()["dog"] == {"train": 1, "validation": 1, "test": 1}


def test_splits_with_different_classes_are_refused(tmp_path: Path) -> None:
    given_splits(tmp_path, {"train": 5, "val": 3})
    photos(tmp_path / "val" / "bird", 2, first=90)
    shutil.rmtree(tmp_path / "val" / "dog")
    with pytest.raises(DataError, match=r"There are validation images of bird, but no training"):
        load_dataset(tmp_path)


def test_a_class_without_validation_images_is_refused(tmp_path: Path) -> None:
    given_splits(tmp_path, {"train": 5, "val": 1})
    next((tmp_path / "val" / "dog").iterdir()).write_text("")
    with pytest.raises(DataError, match="Class dog needs validation images, but none of its 1"):
        load_dataset(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    given_splits(tmp_path, {"train": 5, "val": 3, "valid": 3})
    with pytest.raises(DataError, match="train, val, valid mean the same split"):
        load_dataset(tmp_path)


def test_a_folder_without_permission_is_refused(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterdir = Path.iterdir

    def refuse(path: Path) -> object:
        if path.name == "dog":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="dog cannot be read: permission denied"):
        load_dataset(pets)


@pytest.mark.parametrize(
    ("val", "test"), [(0, 0.1), (-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (1.5, 0), (float("nan"), 0)]
)
def test_fractions_out_of_range_are_refused(val: float, test: float) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"but they are {val} and {test}.")):
        SplitOptions(val, test)


def test_json_gives_the_dataset_back(pets: Path) -> None:
    dataset = load_dataset(pets)
    data = json.loads(json.dumps(dataset.to_json()))
    assert list(data) == ["schema", "root", "classes", "given", "files", "warnings"]
    assert data["schema"] == 1
    assert list(data["files"][0]) == ["path", "label", "split", "sha256", "group"]
    assert Dataset.from_json(None, data) == Dataset.from_json(pets, data) == dataset


def test_names_that_are_not_utf8_survive(pets: Path) -> None:
    path = pets / "cat" / "000.png"
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\xff.png"))
    dataset = load_dataset(pets)
    data = json.loads(json.dumps(dataset.to_json()))
    assert Dataset.from_json(pets, data).fingerprint == dataset.fingerprint


def test_a_newer_or_damaged_json_is_refused(pets: Path) -> None:
    data = load_dataset(pets).to_json()
    with pytest.raises(DataError, match="schema 2, but this version reads up to 1: upgrade"):
        Dataset.from_json(pets, data | {"schema": 2})
    for damaged in ({}, data | {"files": [{"path": "a"}]}, data | {"classes": None}):
        with pytest.raises(DataError, match="damaged"):
            Dataset.from_json(pets, damaged)


def test_the_fingerprint_is_of_the_content(pets: Path, tmp_path: Path) -> None:
    fingerprint = load_dataset(pets).fingerprint
    assert re.fullmatch("[0-9a-f]{64}", fingerprint)
    shutil.copytree(pets, tmp_path / "copy")
    assert load_dataset(tmp_path / "copy").fingerprint == fingerprint
    assert load_dataset(pets, SplitOptions(split_seed=1)).fingerprint != fingerprint
    photo(pets / "cat" / "000.png", 99)
    assert load_dataset(pets).fingerprint != fingerprint


def test_digits_are_written_once(tmp_path: Path) -> None:
    dataset = digits_dataset(tmp_path / "cache", SplitOptions(split_seed=3))
    assert dataset.root == tmp_path / "cache" / "digits"
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"digits", "CACHEDIR.TAG"}
    assert dataset.classes == tuple("0123456789")
    assert len(dataset.files) == 1797
    assert dataset.majority_rate() < 0.12
    pixels = read_image(dataset.root / "0" / "0000.png")
    assert pixels.shape == (32, 32, 3)
    assert (pixels[:4, 8:12] == 80).all()  # the first digit's third value is 5 of 16
    assert pixels.max() <= 255 and pixels.max() > 230
    times = {path: path.stat().st_mtime_ns for path in dataset.root.rglob("*")}
    assert digits_dataset(tmp_path / "cache", SplitOptions(split_seed=3)) == dataset
    assert {path: path.stat().st_mtime_ns for path in dataset.root.rglob("*")} == times


def test_digits_need_a_folder_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot be used"):
        digits_dataset(tmp_path / "file" / "cache")


def test_it_does_not_need_tensorflow() -> None:
    check = "import sys, tuner.data.dataset; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


def test_a_table_that_was_written_gives_the_same_splits(pets: Path, tmp_path: Path) -> None:
    shutil.copy(pets / "cat" / "000.png", pets / "cat" / 'copy, of "0".png')
    dataset = load_dataset(pets, SplitOptions(split_seed=2))
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "pets.csv"
    write_table(dataset, table)
    again = load_dataset(table, SplitOptions(split_seed=7))
    assert {(f.sha256, f.label, f.split) for f in again.files} == {
        (f.sha256, f.label, f.split) for f in dataset.files
    }
    assert len(again.files) == len(dataset.files) == 31
    assert again.leaks == again.skipped == ()
    rows = table.read_text("utf-8").splitlines()
    assert rows[0] == "path,label,split,group"
    assert sum(not row.endswith(",") for row in rows[1:]) == 2  # the copies alone have a group


def test_a_table_that_cannot_be_written_is_a_sentence(pets: Path, tmp_path: Path) -> None:
    dataset = load_dataset(pets)
    with pytest.raises(DataError, match=r"nowhere/pets\.csv cannot be written: no such file"):
        write_table(dataset, tmp_path / "nowhere" / "pets.csv")
    path = pets / "cat" / "000.png"
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\xff.png"))
    with pytest.raises(DataError, match="is no text and cannot be written in a table: rename it"):
        write_table(load_dataset(pets), tmp_path / "pets.csv")
    assert not (tmp_path / "pets.csv").exists()


def test_a_table_in_a_folder_that_is_a_link_is_read_from_there(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    write_table(load_dataset(pets), tmp_path / "link" / "pets.csv")
    assert len(load_dataset(tmp_path / "link" / "pets.csv").files) == 30


@pytest.mark.parametrize("name", ["cat /x.png", "cat/ x.png", " cat/x.png"])
def test_blanks_that_a_table_would_lose_are_refused(pets: Path, tmp_path: Path, name: str) -> None:
    for number in range(3):
        photo(pets / name.replace("x", f"x{number}"), 300 + number)
    dataset = load_dataset(pets)
    write = pytest.raises(DataError, match="has a blank at an end of its name or class: rename it")
    with write if name != "cat/ x.png" else contextlib.nullcontext():
        write_table(dataset, pets / "pets.csv")


def test_a_table_is_a_new_csv_file_in_a_folder_that_exists(tmp_path: Path) -> None:
    check_table(tmp_path / "new.csv")
    (tmp_path / "old.csv").write_text("")
    for name, message in {
        "old.csv": r"old\.csv exists: remove it, or choose another name",
        "table.parquet": r"table\.parquet must end in \.csv to be read again",
        "plain": "plain must end in .csv",
        ".": "must end in .csv",
        "nowhere/new.csv": "there is no folder .*nowhere to write new.csv to: make it",
    }.items():
        with pytest.raises(DataError, match=message):
            check_table(tmp_path / name)
