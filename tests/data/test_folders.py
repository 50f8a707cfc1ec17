"""Folders of images as people have them."""

import shutil
from pathlib import Path

import pytest

from tests.data.test_dataset import photo, photos
from tuner.data.dataset import SplitOptions, split_survey
from tuner.data.folders import folder_manifest
from tuner.data.listing import Layout, Manifest
from tuner.data.load import load_dataset
from tuner.data.survey import survey
from tuner.data.table import listed
from tuner.errors import DataError, SettingsError


def put(root: Path, *names: str) -> Path:
    """Empty files, which are listed, but not read."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def labels(manifest: Manifest) -> dict[str, str]:
    return {candidate.path: candidate.label for candidate in manifest.candidates}


PETS = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return put(tmp_path / "pets", *PETS)


def test_what_this_program_wrote_is_passed_over(pets: Path) -> None:
    put(pets, "runs/first/settings.json", "runs/first/dataset.json", "runs/first/heat.png")
    put(pets, "runs/.first.1.new/settings.json", "model/export.json", "model/labels.json")
    put(pets, "model/card.png", "cache/CACHEDIR.TAG", "cache/entries/thumbs/a.png")
    put(pets, "cat/model/export.json", "cat/model/labels.json", "cat/model/b.png")
    manifest = folder_manifest(pets)
    assert sorted(labels(manifest)) == sorted(PETS)
    assert manifest.notes == [
        "Folders made by this program are passed over: cache, model (2 times), runs."
    ]


@pytest.mark.parametrize(
    "name", ["$RECYCLE.BIN", "lost+found", "@eaDir", "#recycle", "System Volume Information"]
)
def test_what_the_system_made_is_passed_over(pets: Path, name: str) -> None:
    put(pets, f"{name}/a.jpg", f"cat/{name}/b.jpg", ".Trash-1000/c.jpg")
    manifest = folder_manifest(pets)
    assert sorted(labels(manifest)) == sorted(PETS)
    assert manifest.notes == [f"Folders made by the system are passed over: {name} (2 times)."]


def test_a_folder_without_images_is_no_class(pets: Path) -> None:
    put(pets, "notes/a.txt", "bird/deep/b.md")
    manifest = folder_manifest(pets)
    assert manifest.classes == {None: ("cat", "dog")}
    assert manifest.notes == ["Folders without images are no classes: bird, notes."]


def test_images_of_other_kinds_are_counted(pets: Path) -> None:
    put(pets, "cat/a.jp2", "cat/b.JP2", "dog/c.CR2", "d.tga")
    manifest = folder_manifest(pets)
    assert sorted(labels(manifest)) == sorted(PETS)
    assert manifest.unread == {"JPEG 2000": 2, "camera raw": 1, "TGA": 1}
    assert manifest.ignored == 4
    assert manifest.notes == [
        "4 images are of kinds that are not read (JPEG 2000 2, TGA 1, camera raw 1): convert them "
        "to JPEG or PNG."
    ]


def test_a_class_of_other_kinds_alone_is_an_error(pets: Path) -> None:
    put(pets, "bird/a.nef")
    with pytest.raises(DataError, match=r"Class bird has no images that .* \(camera raw 1\): conv"):
        folder_manifest(pets)


def test_a_raw_file_is_not_the_small_picture_in_it(pets: Path) -> None:
    (pets / "cat" / "raw.NEF").write_bytes(b"II*\0" + bytes(100))
    assert "cat/raw.NEF" not in labels(folder_manifest(pets))


@pytest.mark.parametrize("names", [("a", "b"), ("exam", "learn"), ("fold1", "fold2", "fold3")])
def test_classes_that_hold_folders_of_the_same_names_are_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = put(tmp_path, *(f"{name}/{pet}" for name in names for pet in PETS))
    with pytest.raises(DataError, match=r"same names \(cat, dog\), so that it is not clear which"):
        folder_manifest(root)
    assert folder_manifest(root, Layout("1")).classes == {None: names}
    assert len(folder_manifest(root, Layout("2")).classes[None]) == 2 * len(names)


def test_classes_of_one_folder_each_are_classes(tmp_path: Path) -> None:
    root = put(tmp_path, "cat/images/1.jpg", "dog/images/1.jpg")
    assert folder_manifest(root).classes == {None: ("cat", "dog")}


def test_a_folder_that_is_too_high_is_named(tmp_path: Path) -> None:
    put(
        tmp_path / "one" / "dataset",
        *(f"{split}/{pet}" for split in ("train", "val") for pet in PETS),
    )
    with pytest.raises(DataError, match=r"one is one folder too high: name .*one/dataset \(train"):
        folder_manifest(tmp_path / "one")
    put(tmp_path / "one", "results/plot.png")
    with pytest.raises(DataError, match=r"one folder too high: name .*one/dataset"):
        folder_manifest(tmp_path / "one")
    put(tmp_path / "two" / "archive" / "photos", *PETS)
    with pytest.raises(DataError, match=r"one class, archive, .* Perhaps .*two/archive/photos is"):
        folder_manifest(tmp_path / "two")


@pytest.mark.parametrize(
    ("test", "state"),
    [
        (("test/1.jpg", "test/2.jpg"), "holds 2 images, but not in class folders"),
        (("test/unknown/1.jpg",), "holds 1 images in one folder, unknown, which is no class"),
        (("test/readme.md",), "is empty"),
    ],
)
def test_a_test_folder_without_classes_is_left_out(
    tmp_path: Path, test: tuple[str, ...], state: str
) -> None:
    root = put(tmp_path, *(f"train/{pet}" for pet in PETS), *test)
    manifest = folder_manifest(root)
    assert manifest.given == ("train",)
    assert manifest.stray == []
    (note,) = (note for note in manifest.notes if "The folder test" in note)
    assert state in note and "drawn from train instead" in note


def test_classes_that_a_split_lacks_are_named(tmp_path: Path) -> None:
    first = 0
    for split, names in (("train", "abc"), ("val", "abc"), ("test", "ab")):
        for name in names:
            photos(tmp_path / split / name, 4, first)
            first += 4
    dataset = load_dataset(tmp_path)
    assert dataset.counts()["c"] == {"train": 4, "validation": 4, "test": 0}
    assert dataset.notes == (
        "There are no test images of 1 of the 3 classes (c): accuracy is measured without them.",
    )
    shutil.rmtree(tmp_path / "train" / "b")
    with pytest.raises(DataError, match="There are validation images of b, but no training images"):
        load_dataset(tmp_path)


def test_a_folder_beside_the_splits_is_named(tmp_path: Path) -> None:
    root = put(tmp_path, *(f"{split}/{pet}" for split in ("train", "val") for pet in PETS))
    put(root, "extra/1.jpg", "extra/deep/2.jpg", "extra/3.txt")
    assert folder_manifest(root).notes == [
        "The folder extra beside the splits is not read (2 images)."
    ]


FRUITS = ("apple/red/1.jpg", "apple/green/1.jpg", "pear/1.jpg", "plum/blue/small/1.jpg")


@pytest.mark.parametrize(
    ("level", "classes"),
    [
        (None, ("apple", "pear", "plum")),
        ("1", ("apple", "pear", "plum")),
        ("2", ("apple/green", "apple/red", "plum/blue")),
        ("3", None),
        ("leaf", ("apple/green", "apple/red", "pear", "plum/blue/small")),
    ],
)
def test_levels_of_classes(tmp_path: Path, level: str | None, classes: tuple[str] | None) -> None:
    root = put(tmp_path, *FRUITS)
    if classes is None:
        with pytest.raises(DataError, match="one class, plum/blue/small"):
            folder_manifest(root, Layout(level))
        return
    manifest = folder_manifest(root, Layout(level))
    assert manifest.classes == {None: classes}
    assert [skipped.path for skipped in manifest.stray] == ["pear/1.jpg"] * (level == "2")
    assert len(manifest.notes) == (level is None)
    if level is None:
        assert "3 folders below them hold images too, down to level 3" in manifest.notes[0]
        assert "--class-level 2 to 3 or leaf" in manifest.notes[0]


@pytest.mark.parametrize("level", ["0", "x", "", "-1"])
def test_levels_that_are_none(level: str) -> None:
    with pytest.raises(SettingsError, match=r"--class-level must be 1, 2, \.\.\. or leaf, but is"):
        Layout(level)


def test_classes_that_differ_in_spelling_alone(tmp_path: Path) -> None:
    root = put(tmp_path, "Red Car/1.jpg", "red_car/1.jpg", "1/1.jpg", "01/1.jpg", "bus/1.jpg")
    notes = folder_manifest(root).notes
    assert len(notes) == 2
    assert "The classes 01, 1 differ only in their spelling" in notes[0]
    assert "The classes Red Car, red_car differ only in their spelling" in notes[1]


def test_a_class_that_a_split_spells_in_another_way(tmp_path: Path) -> None:
    root = put(tmp_path, *(f"train/{pet}" for pet in PETS), "val/Cat/1.jpg", "val/dog/1.jpg")
    with pytest.raises(DataError, match=r"validation images of Cat, .* Training spells cat\."):
        folder_manifest(root)


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "val", "test")):
        photos(tmp_path / "images", 4, first=0)
        rows = [f"images/{(2 * number + k) % 4:03}.png,{'ab'[k]}" for k in range(2)]
        if name != "val":
            (tmp_path / f"{name}.txt").write_text("path,label\n" + "\n".join(rows))
    with pytest.raises(DataError, match=r"train\.txt and test\.txt|test\.txt and train\.txt"):
        listed(tmp_path)
    for number in range(6):
        photo(tmp_path / "images" / f"{number:03}.png", number)
    (tmp_path / "test.txt").write_text("path,label\nimages/004.png,a\nimages/005.png,b\n")
    manifest = listed(tmp_path)
    assert manifest.classes == {"train": ("a", "b"), "test": ("a", "b")}
    assert labels(manifest)["images/005.png"] == "b"


def test_a_table_beside_images_is_named(tmp_path: Path) -> None:
    root = put(tmp_path, "train/1.jpg", "train/2.jpg", "test/3.jpg", "labels.csv", "readme.txt")
    with pytest.raises(DataError, match=r"images lie directly in it: .* Or name a table: .*labels"):
        listed(root)


def test_copies_count_once_when_there_are_too_few(tmp_path: Path) -> None:
    photos(tmp_path / "cat", 5)
    photos(tmp_path / "dog", 1, first=50)
    for number in range(19):
        shutil.copy(tmp_path / "dog" / "050.png", tmp_path / "dog" / f"copy{number}.png")
    found = survey(tmp_path)
    with pytest.raises(DataError, match=r"has 1 different images to split \(of 20: copies count"):
        split_survey(found, SplitOptions())
