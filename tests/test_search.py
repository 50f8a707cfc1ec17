"""What a search reads, writes, and in which order."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_search import (
    COLOURS,
    IMAGES_PER_CLASS,
    SEARCH,
    contents,
    hidden,
    small_search,
    tune,
    write_photos,
)

from tuner import search as search_module
from tuner.dataset import Dataset
from tuner.errors import DataError, RunError, SettingsError, WeightsError
from tuner.run import open_run
from tuner.search import SearchFolders, scan, search
from tuner.settings import SearchSettings

opened: list[str] | None = None


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and opened is not None:
        opened.append(str(arguments[0]))


sys.addaudithook(note)  # for good: it cannot be removed


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_photos(folder, per_class=6)
    return folder


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Searches train nothing; how often one came so far is noted."""
    calls: list[str] = []

    def note_call(self: Any, *_: Any, **__: Any) -> None:
        calls.append(self.project_name)

    monkeypatch.setattr(search_module.HyperbandTuner, "search", note_call)
    return calls


def settings(photos: Path, **changes: Any) -> SearchSettings:
    values = {"data": str(photos), "weights": "none", "image_size": 32, "max_epochs": 1}
    return SearchSettings(**values | changes)


def test_test_images_are_not_there_while_it_searches() -> None:
    # small_search() hides the test images as soon as they have been found: it would have failed.
    run = open_run(small_search().runs)
    dataset = run.dataset(small_search().photos)
    assert len(dataset.of("test")) == len(COLOURS) * IMAGES_PER_CLASS * 0.15
    assert len(run.journal.trials()) == 2
    assert all((dataset.root / file.path).is_file() for file in dataset.of("test"))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_others_are_missed(
    photos: Path, tmp_path: Path, trained: list[str], split: str
) -> None:
    with hidden(split):
        result = tune(
            "search", photos, *SEARCH, "--runs-dir", tmp_path / "runs", "--cache-dir", tmp_path
        )
    assert result.exit_code == 2
    assert "can no longer be read (not found)" in result.stderr
    assert not (tmp_path / "runs").exists()
    assert not trained


def test_no_test_image_is_opened_after_the_split(
    photos: Path, tmp_path: Path, trained: list[str]
) -> None:
    global opened

    def begin(dataset: Dataset) -> None:
        global opened
        opened = []

    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    run = search(settings(photos), "first", folders, on_dataset=begin)
    seen, opened = set(opened or ()), None
    dataset = run.dataset(photos)
    for split, expected in (("train", True), ("validation", True), ("test", False)):
        paths = {str(photos / file.path) for file in dataset.of(split)}
        assert bool(paths & seen) is expected
        assert not expected or paths <= seen
    assert trained == ["first"]


def test_what_a_run_holds(photos: Path, tmp_path: Path, trained: list[str]) -> None:
    wanted = settings(photos, seed=3, fixed={"unfreeze_blocks": "0"})
    progress: list[tuple[str, int, int]] = []
    run = search(
        wanted, "first", SearchFolders(tmp_path / "runs", tmp_path / "cache"),
        on_progress=lambda *counts: progress.append(counts),
    )  # fmt: skip
    assert open_run(tmp_path / "runs").settings == run.settings == wanted
    document = json.loads((run.folder / "dataset.json").read_text())
    assert document["classes"] == sorted(COLOURS)
    assert {row["split"] for row in document["files"]} == {"train", "validation", "test"}
    assert set(document["files"][0]) == {"path", "label", "split", "sha256"}
    assert ("reading images", 18, 18) in progress
    assert {"journal.db", "settings.json", "dataset.json"} <= {
        path.name for path in run.folder.iterdir()
    }


BAD: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "data": ({"data": "/nowhere"}, DataError),
    "weights": ({"weights": "/nowhere.h5"}, WeightsError),
    "space": ({"space": "vgg"}, SettingsError),
    "fixed": ({"fixed": {"depth": "3"}}, SettingsError),
}


@pytest.mark.parametrize("name", BAD)
def test_nothing_is_written_or_lost_before_all_is_good(
    photos: Path, tmp_path: Path, trained: list[str], name: str
) -> None:
    changes, error = BAD[name]
    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    with pytest.raises(error):
        search(settings(photos, **changes), "first", folders)
    assert not folders.runs_dir.exists()
    search(settings(photos), "first", folders)
    before = contents(folders.runs_dir)
    with pytest.raises(error):
        search(settings(photos, **changes), "first", folders, overwrite=True)
    assert contents(folders.runs_dir) == before
    assert trained == ["first"]


def test_a_run_that_exists_is_refused_before_images_are_read(
    photos: Path, tmp_path: Path, trained: list[str]
) -> None:
    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    search(settings(photos), "first", folders)
    with pytest.raises(RunError, match="exists"):
        search(settings(Path("/nowhere")), "first", folders)
    search(settings(photos, seed=1), "first", folders, overwrite=True)
    assert open_run(folders.runs_dir).settings.seed == 1


def test_the_split_depends_on_its_own_seed_alone(photos: Path, tmp_path: Path) -> None:
    first = scan(settings(photos, seed=0), tmp_path)
    assert scan(settings(photos, seed=1), tmp_path).files == first.files
    assert scan(settings(photos, split_seed=1), tmp_path).files != first.files
    for name, counts in first.counts().items():
        assert min(counts.values()) > 0, name


def test_without_data_it_scans_the_digits(tmp_path: Path) -> None:
    dataset = scan(SearchSettings(image_size=32), tmp_path)
    assert dataset.classes == tuple("0123456789")
    assert len(dataset.files) == 1797
    assert dataset.root == tmp_path / "digits"


def test_pixels_of_the_search_are_those_of_the_photos(photos: Path, tmp_path: Path) -> None:
    from tuner.cache import Cache
    from tuner.images import prepare_images

    dataset = scan(settings(photos), tmp_path)
    with Cache(tmp_path) as cache:
        images = prepare_images(dataset.of("train"), photos, 32, cache)
        means = np.asarray(images).reshape(len(images), -1, 3).mean(axis=1)
    for mean, label in zip(means, dataset.labels("train"), strict=True):
        assert mean.argmax() == np.argmax(COLOURS[dataset.classes[label]])
