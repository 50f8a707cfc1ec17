"""The seal: until `tune best` nobody opens a test image after the split, or stores a row of one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces.resize import resize
from tests.support.repository import ROOT
from tests.support.small_search import forget_looks, small_search
from tuner.decoding.decode import read_image
from tuner.evaluate.evaluation import evaluate_winner
from tuner.features.shards import rows_on_disk
from tuner.runs.run import open_run, winner_of
from tuner.storage.cache import Cache

# A hook cannot be taken away again: so it is in a process of its own.
WATCHED = """
import json, os, sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, sys.argv[1])
from tests.support.small_search import SEARCH, tune, write_photos
from tuner.terminal import data

folder = Path(sys.argv[2])
photos, runs, cache = folder / "photos", folder / "runs", folder / "cache"
write_photos(photos)
opened, sealed = [], {}

def hook(event, arguments):
    if event == "open" and sealed and isinstance(arguments[0], (str, bytes)):
        opened.append(os.path.realpath(os.fsdecode(arguments[0])))

sys.addaudithook(hook)
say = data.say_dataset

def split(progress, dataset):
    say(progress, dataset)
    opened.clear()
    for name in ("train", "validation", "test"):
        paths = [dataset.root / file.path for file in dataset.of(name)]
        sealed[name] = {os.path.realpath(path) for path in paths}

def seen():
    found = {name: sorted(paths.intersection(opened)) for name, paths in sealed.items()}
    opened.clear()
    return found

places = ["--runs-dir", runs, "--cache-dir", cache]
with mock.patch.object(data, "say_dataset", split):
    done = tune(
        "search", photos, "--run", "watched", *SEARCH, "--fix", "unfreeze_blocks=0",
        "--fix", "head_layers=0", *places,
    )
assert done.exit_code == 0, done.output
searched = seen()
stored = sorted(map(str, cache.rglob("*.npy")))
best = tune("best", *places)
assert best.exit_code == 0, best.output
first = seen()
again = tune("best", *places)
assert again.exit_code == 0, again.output
same = again.stdout == best.stdout
found = {"searched": searched, "stored": stored, "first": first, "again": seen(), "same": same}
before = {os.path.realpath(path) for path in stored}
filled = {os.path.realpath(path) for path in cache.rglob("*.npy")} - before
with mock.patch.object(data, "say_dataset", split):
    done = tune(
        "search", photos, "--run", "later", *SEARCH, "--fix", "unfreeze_blocks=0",
        "--fix", "head_layers=0", "--seed", "1", *places,
    )
assert done.exit_code == 0, done.output
found["filled"] = sorted(filled)
found["filled and opened"] = sorted(filled.intersection(opened))
found["stored and opened"] = sorted(before.intersection(opened))
found["later"] = seen()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What a search and `tune best` opened after the split; and where they wrote."""
    folder = tmp_path_factory.mktemp("watched")
    here = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, here, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        cwd=Path(here).parent,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_no_test_file_is_opened_before_tune_best_and_each_once(
    watched: tuple[Path, dict[str, Any]],
) -> None:
    _, seen = watched
    assert seen["searched"]["test"] == []
    assert len(seen["searched"]["train"]) > 20  # the hook sees what is opened
    assert len(seen["searched"]["validation"]) == 9
    assert len(seen["first"]["test"]) == 9
    assert seen["again"]["test"] == []
    assert seen["same"]


def test_a_search_stores_no_row_of_a_test_image(watched: tuple[Path, dict[str, Any]]) -> None:
    folder, seen = watched
    dataset = open_run(folder / "runs").dataset()
    sealed = {
        np.asarray(resize(read_image(dataset.root / file.path)[np.newaxis], 32))
        .round()
        .astype(np.uint8)
        .tobytes()
        for file in dataset.of("test")
    }
    arrays = [np.load(path, mmap_mode="r") for path in seen["stored"]]
    decoded = [each for each in arrays if each.dtype == np.uint8 and each.shape[1:] == (32, 32, 3)]
    used = [len(dataset.of(split)) for split in ("train", "validation")]
    assert sorted(map(len, decoded)) == sorted(used)
    assert not {row.tobytes() for each in decoded for row in each} & sealed
    pooled = [each for each in arrays if each.ndim == 2 and each.shape[1] == 2048]
    assert sum(map(len, pooled)) == sum(map(rows_on_disk, used))
    # What `tune best` stored of them can be found so.
    later = {str(path) for path in (folder / "cache").rglob("*.npy")} - set(seen["stored"])
    rows = {row.tobytes() for path in later for row in np.load(path)}
    assert sealed <= rows


def test_a_search_on_a_cache_that_holds_rows_of_test_images_opens_none_of_them(
    watched: tuple[Path, dict[str, Any]],
) -> None:
    _, seen = watched
    shapes = {np.load(path, mmap_mode="r").shape[1:] for path in seen["filled"]}
    assert {(32, 32, 3), (2048,)} <= shapes  # the pixels and the features of the test images
    assert seen["filled and opened"] == []
    assert seen["later"]["test"] == []
    assert seen["stored and opened"]  # the hook sees that the other rows are used


def test_a_search_whose_test_files_vanish_after_the_split_runs_to_its_end() -> None:
    search = small_search()  # they lie elsewhere while it searches
    run = open_run(search.runs)
    assert search.result.exit_code == 0
    assert run.complete
    assert all(trial.score is not None for trial in run.journal.trials())


def test_a_look_is_noted_and_the_next_one_is_counted(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    run = open_run(runs)
    dataset = run.dataset(search.photos)
    with Cache(tmp_path / "cache") as cache:
        first = evaluate_winner(run, dataset, cache)
        again = evaluate_winner(run, dataset, cache)
        assert again == first
        assert [access["trial"] for access in first.accesses] == [f"{winner_of(run).id:04d}"]
        # Another run on the same images, whose winner is another's: its look is the second.
        other = runs / "other"
        shutil.copytree(run.folder, other)
        second_run = open_run(runs, "other")
        forget_looks(other)
        second = evaluate_winner(second_run, dataset, cache)
    assert [access["run"] for access in second.accesses] == ["small", "other"]
