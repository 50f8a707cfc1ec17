"""A run's folder: how it is made, replaced, found and refused."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_search import contents

from tuner import run as run_module
from tuner.dataset import Dataset, ImageFile
from tuner.errors import DataError, RunError, TuneError
from tuner.journal import Journal
from tuner.run import check_new, create_run, is_writable, nearest_existing, open_run, run_names
from tuner.settings import SearchSettings

SETTINGS = SearchSettings(data="/photos", image_size=64)
NAMES = ("a", "b")
DATASET = Dataset(
    Path("/photos"),
    NAMES,
    tuple(
        ImageFile(f"{name}/{split}.png", name, split, f"{name}{split}")
        for name in NAMES
        for split in ("train", "validation", "test")
    ),
)


def test_what_is_made_is_found_again(tmp_path: Path) -> None:
    made = create_run(tmp_path / "runs", "first", SETTINGS, DATASET, overwrite=False)
    found = open_run(tmp_path / "runs", "first")
    assert found.folder == made.folder == tmp_path / "runs" / "first"
    assert found.name == "first"
    assert found.settings == SETTINGS
    assert found.dataset(Path("/photos")) == DATASET
    assert found.journal.trials() == []
    assert {name for name in contents(tmp_path / "runs") if "-" not in name} == {
        "first", "first/settings.json", "first/dataset.json", "first/journal.db"
    }  # fmt: skip


def test_dataset_json(tmp_path: Path) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    document = json.loads((tmp_path / "first" / "dataset.json").read_text("utf-8"))
    assert document["classes"] == ["a", "b"]
    assert document["files"][0] == {
        "path": "a/train.png", "label": "a", "split": "train", "sha256": "atrain"
    }  # fmt: skip
    assert isinstance(document["schema"], int)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    strange = os.fsdecode(b"gr\xfc\xdfe \xe2\x98\xba \n")
    files = tuple(
        ImageFile(f"{label}/{split}", label, split, "x")
        for label in (strange, "größe")
        for split in ("train", "validation", "test")
    )
    dataset = Dataset(tmp_path, (strange, "größe"), files)
    made = create_run(tmp_path, "first", SETTINGS, dataset, overwrite=False)
    assert made.dataset(tmp_path) == dataset


@pytest.mark.parametrize("name", ["first", "1", "größe", "a.b-c_d", "x" * 60, "ü" * 60, "_a"])
def test_good_names(tmp_path: Path, name: str) -> None:
    create_run(tmp_path, name, SETTINGS, DATASET, overwrite=False)
    assert open_run(tmp_path, name).name == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/a", "a\\b", ".a", "-a", "a b", "a\n", "a\0", "x" * 61, "a:b"],
)  # fmt: skip
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="cannot be named"):
        create_run(tmp_path / "runs", name, SETTINGS, DATASET, overwrite=True)
    assert contents(tmp_path) == {}


@given(st.text(max_size=80))
def test_a_name_is_one_folder_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    runs = tmp_path_factory.getbasetemp()
    try:
        check_new(runs, name, overwrite=False)
    except RunError:
        return
    assert (runs / name).parent == runs
    assert len(os.fsencode(f".{name}.1234567.old")) <= 255


def test_a_run_is_replaced_only_on_request(tmp_path: Path) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    (tmp_path / "first" / "trials").mkdir()
    before = contents(tmp_path)
    with pytest.raises(RunError, match=r"the run first exists in .*--overwrite"):
        create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=False)
    assert contents(tmp_path) == before
    create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
    assert open_run(tmp_path).settings == SearchSettings()
    assert not (tmp_path / "first" / "trials").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_is_no_run_is_not_replaced(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        (tmp_path / "first").mkdir()
    elif kind == "file":
        (tmp_path / "first").write_text("kept")
    else:
        (tmp_path / "first").symlink_to("nowhere")
    with pytest.raises(RunError, match="is not a run"):
        create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=True)
    assert os.path.lexists(tmp_path / "first")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), TuneError("the disk is full.")],
)
def test_a_full_disk_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    before = contents(tmp_path)

    def fail(path: Path) -> Journal:
        raise error

    monkeypatch.setattr(run_module.Journal, "create", fail)
    with pytest.raises(TuneError, match=r"first cannot be written: No space left|disk is full"):
        create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
    assert contents(tmp_path) == before


def test_a_rename_that_fails_brings_the_old_run_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    before = contents(tmp_path)
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        if target.name == "first" and not self.name.endswith(".old"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(RunError, match="Input/output error"):
        create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
    assert contents(tmp_path) == before


def test_the_newest_run_is_opened(tmp_path: Path) -> None:
    for age, name in enumerate(("c", "a", "b")):
        create_run(tmp_path, name, SETTINGS, DATASET, overwrite=False)
        os.utime(tmp_path / name / "settings.json", (1000 - age, 1000 - age))
    (tmp_path / "other").mkdir()
    (tmp_path / "README.md").write_text("no run")
    assert run_names(tmp_path) == ["c", "a", "b"]
    assert open_run(tmp_path).name == "c"
    assert open_run(tmp_path, "b").name == "b"


def test_half_made_runs_are_none(tmp_path: Path) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    (tmp_path / "first").rename(tmp_path / ".first.123")
    assert run_names(tmp_path) == []
    with pytest.raises(RunError, match=r"there are no runs in .* tune search DATA"):
        open_run(tmp_path)


def test_the_choices_are_listed_but_not_all_of_many(tmp_path: Path) -> None:
    for number in range(12):
        create_run(tmp_path, f"run-{number}", SETTINGS, DATASET, overwrite=False)
    with pytest.raises(RunError, match=r"there is no run other in .*\. Choose run-.*, \.\.\.\.$"):
        open_run(tmp_path, "other")


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"schema": 1, "classes": ["a"], "files": []}, RunError),
        ({"schema": 1, "classes": [], "files": []}, RunError),
        ({"schema": 1, "classes": ["a"]}, DataError),
        ({"schema": 99, "classes": ["a"], "files": []}, DataError),
        ([], DataError),
    ],
)
def test_a_dataset_that_cannot_be_used(
    tmp_path: Path, document: object, error: type[Exception]
) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    (run.folder / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(error, match=r"dataset\.json"):
        run.dataset(tmp_path)


def test_a_dataset_with_a_label_that_is_no_class(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    text = (run.folder / "dataset.json").read_text().replace('"label": "a"', '"label": "z"', 1)
    (run.folder / "dataset.json").write_text(text)
    with pytest.raises(RunError, match=r"dataset.json is damaged"):
        run.dataset(tmp_path)


def test_nearest_existing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert nearest_existing(Path("a/b")) == tmp_path
    assert nearest_existing(Path("file/b")) == tmp_path / "file"
    assert is_writable(Path("a/b"))
    assert not is_writable(Path("file"))
    assert not is_writable(Path("file/b"))
