"""What a search reads, writes, and in which order."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from search_spaces.resnet50 import ResNet50Space
from tests.support.small_search import (
    COLOURS,
    IMAGES_PER_CLASS,
    SEARCH,
    contents,
    hidden,
    small_search,
    tune,
    write_photos,
)
from tuner.data.dataset import Dataset
from tuner.data.load import scan
from tuner.errors import DataError, InputError, RunError, SettingsError, StoppedError, WeightsError
from tuner.interrupt import StopRequest
from tuner.observer import Counting, Note, SearchEvent, SearchObserver
from tuner.runs.lock import sole_writer
from tuner.runs.notes import Notes
from tuner.runs.run import existing_run, open_run
from tuner.search import tuner as search_module
from tuner.search.estimate import estimate
from tuner.search.pipeline import run_search
from tuner.settings import SearchFolders, SearchSettings

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


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch, random_backbone: keras.Model) -> None:
    """A backbone of random weights is built already: no search here trains one."""
    build = ResNet50Space.build_backbone

    def lend(self: ResNet50Space) -> keras.Model:
        if (self.image_size, self.weights) == (random_backbone.input_shape[1], "none"):
            return random_backbone
        return build(self)

    monkeypatch.setattr(ResNet50Space, "build_backbone", lend)


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
def test_missing_training_or_validation_images_end_the_search(
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
    run = run_search(settings(photos), "first", folders, on_dataset=begin)
    seen, opened = set(opened or ()), None
    dataset = run.dataset(photos)
    for split, expected in (("train", True), ("validation", True), ("test", False)):
        paths = {str(photos / file.path) for file in dataset.of(split)}
        assert bool(paths & seen) is expected
        assert not expected or paths <= seen
    assert trained == ["first"]


def test_what_a_run_holds(photos: Path, tmp_path: Path, trained: list[str]) -> None:
    wanted = settings(photos, seed=3, fixed={"unfreeze_blocks": "0"})
    progress: list[SearchEvent] = []

    class Listener(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            progress.append(event)

    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    run = run_search(wanted, "first", folders, observer=Listener())
    assert open_run(tmp_path / "runs").settings == run.settings == wanted
    document = json.loads((run.folder / "dataset.json").read_text())
    assert document["classes"] == sorted(COLOURS)
    assert {row["split"] for row in document["files"]} == {"train", "validation", "test"}
    assert set(document["files"][0]) == {"path", "label", "split", "sha256", "group"}
    assert Counting("reading images", 18, 18) in progress
    spent = run.journal.notes().prepared_seconds
    assert spent.keys() == {"reading images", "decoding images"}
    assert min(spent.values()) > 0
    assert {"journal.db", "settings.json", "dataset.json"} <= {
        path.name for path in run.folder.iterdir()
    }


def test_imbalance_is_noted_when_a_run_begins_and_not_on_resume(
    photos: Path, tmp_path: Path, trained: list[str]
) -> None:
    class Listener(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            if isinstance(event, Note):
                notes.append(event.text)

    notes: list[str] = []
    uneven = Path(shutil.copytree(photos, tmp_path / "uneven"))
    for number in range(27):
        pixels = np.full((32, 32, 3), number, np.uint8)
        Image.fromarray(pixels).save(uneven / "red brick" / f"more{number}.png")
    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    run_search(settings(photos), "even", folders, observer=Listener())
    assert notes == []
    wanted = settings(uneven, class_weights="balanced")
    for resume in (False, True):
        run_search(wanted, "uneven", folders, observer=Listener(), resume=resume)
    (note,) = notes
    assert note.startswith("Class red brick has 23 training images and class ")
    assert "--objective" in note and "--class-weights" not in note


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_class_weights_reach_the_tuner(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_weights: str
) -> None:
    found = []

    def note_weights(self: Any, *_: Any) -> None:
        found.append(self._settings.class_weights)

    monkeypatch.setattr(search_module.HyperbandTuner, "search", note_weights)
    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    run_search(settings(photos, class_weights=class_weights), "first", folders)
    assert found == [class_weights]


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
        run_search(settings(photos, **changes), "first", folders)
    assert not folders.runs_dir.exists()
    run_search(settings(photos), "first", folders)
    before = contents(folders.runs_dir)
    with pytest.raises(error):
        run_search(settings(photos, **changes), "first", folders, overwrite=True)
    assert contents(folders.runs_dir) == before
    assert trained == ["first"]


def test_a_run_that_exists_is_refused_before_images_are_read(
    photos: Path, tmp_path: Path, trained: list[str]
) -> None:
    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    run_search(settings(photos), "first", folders)
    with pytest.raises(RunError, match="exists"):
        run_search(settings(Path("/nowhere")), "first", folders)
    run_search(settings(photos, seed=1), "first", folders, overwrite=True)
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
    from tuner.data.pixel_store import prepare_images
    from tuner.storage.cache import Cache

    dataset = scan(settings(photos), tmp_path)
    with Cache(tmp_path) as cache:
        images = prepare_images(dataset.of("train"), photos, 32, cache)
        means = np.asarray(images).reshape(len(images), -1, 3).mean(axis=1)
    for mean, label in zip(means, dataset.labels("train"), strict=True):
        assert mean.argmax() == np.argmax(COLOURS[dataset.classes[label]])


# Going on


@pytest.fixture
def folders(tmp_path: Path) -> SearchFolders:
    return SearchFolders(tmp_path / "runs", tmp_path / "cache")


@pytest.fixture
def copied(photos: Path, tmp_path: Path) -> Path:
    """Photos that a test may change."""
    return Path(shutil.copytree(photos, tmp_path / "photos"))


def test_resuming_a_missing_run_begins_it(
    copied: Path, folders: SearchFolders, trained: list[str]
) -> None:
    assert existing_run(folders.runs_dir, "first") is None
    run = run_search(settings(copied), "first", folders, resume=True)
    assert run.settings == settings(copied)
    assert trained == ["first"]
    assert existing_run(folders.runs_dir, "first") is not None


def test_a_run_is_resumed(copied: Path, folders: SearchFolders, trained: list[str]) -> None:
    begun = run_search(settings(copied), "first", folders)
    begun.journal.begin_trial({"a": 1}, slot=(0, 0))
    before = contents(begun.folder)
    again = run_search(settings(copied), "first", folders, resume=True)
    assert len(again.journal.trials()) == 1
    for name in ("settings.json", "dataset.json"):
        assert contents(begun.folder)[name] == before[name]
    assert trained == ["first", "first"]


def test_other_settings_are_refused_each_by_name_before_images_are_read(
    copied: Path, folders: SearchFolders, trained: list[str]
) -> None:
    run_search(settings(copied), "first", folders)
    before = contents(folders.runs_dir)
    other = settings(Path("/nowhere"), seed=1, max_epochs=2, fixed={"dropout": "0.1"})
    with pytest.raises(RunError) as raised:
        run_search(other, "first", folders, resume=True)
    assert (
        "the run first was begun with other settings: --fix was nothing, not dropout=0.1; "
        "--max-epochs was 1, not 2; --seed was 0, not 1. Go on with the same"
    ) in str(raised.value)
    assert contents(folders.runs_dir) == before
    assert trained == ["first"]


def test_the_time_budget_may_change_on_resume(
    copied: Path, folders: SearchFolders, trained: list[str]
) -> None:
    run_search(settings(copied, time_budget_seconds=60.0), "first", folders)
    run_search(settings(copied, time_budget_seconds=3600.0), "first", folders, resume=True)
    assert open_run(folders.runs_dir, "first").settings.time_budget_seconds == 3600.0
    run_search(settings(copied), "first", folders, resume=True)
    assert trained == ["first"] * 3
    assert open_run(folders.runs_dir, "first").settings.time_budget_seconds is None


def test_images_that_were_moved_are_the_same(
    copied: Path, tmp_path: Path, folders: SearchFolders, trained: list[str]
) -> None:
    run_search(settings(copied), "first", folders)
    moved = copied.rename(tmp_path / "moved")
    run_search(settings(moved), "first", folders, resume=True)
    assert trained == ["first"] * 2
    run = open_run(folders.runs_dir)
    assert run.settings.data == str(moved)
    assert run.dataset().root == moved  # where `tune best` will look


def add(photos: Path) -> None:
    image = photos / "blue sky" / "00.png"
    (photos / "blue sky" / "new.png").write_bytes(image.read_bytes() + b"more")


def remove(photos: Path) -> None:
    (photos / "red brick" / "03.png").unlink()


def alter(photos: Path) -> None:
    for number in range(2):
        path = photos / "green leaf" / f"0{number}.png"
        path.write_bytes(path.read_bytes() + b"more")


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "added": (add, r"1 added, such as blue sky/new\.png"),
    "gone": (remove, r"1 gone, such as red brick/03\.png"),
    "altered": (alter, r"2 altered, such as green leaf/00\.png"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_images_that_have_changed_are_refused(
    copied: Path, folders: SearchFolders, trained: list[str], name: str
) -> None:
    run_search(settings(copied), "first", folders)
    before = contents(folders.runs_dir)
    change, expected = CHANGES[name]
    change(copied)
    with pytest.raises(DataError, match=r"have changed since the run first was begun: ") as raised:
        run_search(settings(copied), "first", folders, resume=True)
    assert raised.match(expected)
    assert contents(folders.runs_dir) == before
    assert trained == ["first"]


def test_all_changes_are_counted(copied: Path, folders: SearchFolders, trained: list[str]) -> None:
    run_search(settings(copied), "first", folders)
    for change, _ in CHANGES.values():
        change(copied)
    with pytest.raises(DataError, match=r"1 added, such as .*; 1 gone, such as .*; \d+ altered"):
        run_search(settings(copied), "first", folders, resume=True)


def test_a_file_that_was_renamed_is_gone_and_added(
    copied: Path, folders: SearchFolders, trained: list[str]
) -> None:
    run_search(settings(copied), "first", folders)
    (copied / "red brick" / "03.png").rename(copied / "red brick" / "3.png")
    with pytest.raises(DataError, match=r"1 added, .*red brick/3\.png; 1 gone, .*/03\.png"):
        run_search(settings(copied), "first", folders, resume=True)


def test_iterations_are_added_and_never_taken_away(
    copied: Path, folders: SearchFolders, trained: list[str]
) -> None:
    run_search(settings(copied, iterations=2), "first", folders)
    with pytest.raises(RunError, match="--iterations was 2, not 1"):
        run_search(settings(copied, iterations=1), "first", folders, resume=True)
    assert open_run(folders.runs_dir).settings.iterations == 2
    run_search(settings(copied, iterations=3), "first", folders, resume=True)
    assert open_run(folders.runs_dir).settings == settings(copied, iterations=3)


def test_a_complete_run_is_not_searched_again(
    copied: Path, folders: SearchFolders, trained: list[str]
) -> None:
    class Listening(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            if isinstance(event, Note):
                notes.append(event.text)

    notes: list[str] = []
    run_search(settings(copied), "first", folders).journal.set_notes(Notes(finished_iterations=1))
    run_search(settings(copied), "first", folders, resume=True, observer=Listening())
    assert trained == ["first"]
    assert notes == ["The search is complete. Add to it with: tune resume first --iterations 2"]
    run_search(settings(copied, iterations=2), "first", folders, resume=True)
    assert trained == ["first", "first"]


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_a_run_that_is_being_searched_is_refused_before_images_are_read(
    copied: Path, folders: SearchFolders, trained: list[str], how: str
) -> None:
    run = run_search(settings(copied), "first", folders)
    with sole_writer(run.folder), pytest.raises(RunError, match="is being searched by process"):
        run_search(settings(Path("/nowhere")), "first", folders, **{how: True})
    assert trained == ["first"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": {"depth": "3"}}, "no hyperparameter 'depth'"),
        ({"weights": "/nowhere.h5"}, "nowhere.h5"),
        ({"space": "nowhere:Space"}, "cannot be loaded"),
    ],
)
def test_settings_are_checked_before_images_are_read(
    folders: SearchFolders, changes: dict[str, Any], message: str
) -> None:
    wrong = settings(Path("/no photos"), **changes)
    with pytest.raises(InputError, match=message):
        run_search(wrong, "first", folders)
    with pytest.raises(InputError, match=message):
        estimate(wrong, folders)


def test_a_stop_request_ends_the_reading_of_images(
    copied: Path, folders: SearchFolders, trained: list[str]
) -> None:
    stop = StopRequest()

    class Stopping(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            assert isinstance(event, Counting)
            seen.append(event.what)
            stop.made = event.what == "decoding validation images"

    seen: list[str] = []
    with pytest.raises(StoppedError):
        run_search(settings(copied), "first", folders, observer=Stopping(), stop=stop)
    assert seen[-1] == "decoding validation images"
    assert trained == []
    assert not folders.runs_dir.exists()
    stop.made = True
    with pytest.raises(StoppedError):  # without anybody who listens
        run_search(settings(copied), "first", folders, stop=stop)


def test_a_weights_file_may_be_moved_and_not_changed(
    copied: Path,
    tmp_path: Path,
    folders: SearchFolders,
    trained: list[str],
    random_backbone: keras.Model,
) -> None:
    path = tmp_path / "own.weights.h5"
    random_backbone.save_weights(path)
    begun = run_search(settings(copied, weights=str(path)), "first", folders)
    moved = path.rename(tmp_path / "moved.weights.h5")
    run_search(settings(copied, weights=str(moved)), "first", folders, resume=True)
    assert trained == ["first"] * 2
    assert open_run(folders.runs_dir).settings.weights == str(moved)

    # A name that is mistyped is refused, and not remembered.
    with pytest.raises(WeightsError, match="no weights file"):
        run_search(settings(copied, weights=str(path)), "first", folders, resume=True)
    assert open_run(folders.runs_dir).settings.weights == str(moved)

    with moved.open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"other")
    with pytest.raises(RunError, match=r"moved\.weights\.h5 does not hold the weights that"):
        run_search(settings(copied, weights=str(moved)), "first", folders, resume=True)
    assert trained == ["first"] * 2
    assert begun.settings == dataclasses.replace(
        open_run(folders.runs_dir).settings, weights=str(path)
    )
