"""What a report of a run in any state shows, and what it does not open."""

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.report_page import Outline, altered, evaluation_damaged, gathered
from tests.support.small_search import small_search, tune
from tuner.command_lines import search_command
from tuner.data.dataset import ImageFile
from tuner.data.pixel_store import prepare_images
from tuner.data.splits import SPLITS
from tuner.diagnose.stored import keep_diagnosis
from tuner.report.contents import _diagnosis, diagnose_command
from tuner.report.run_data import Absent, read_run_data
from tuner.report.validation import Validation
from tuner.runs.notes import Notes
from tuner.runs.run import Run, open_run
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache, default_cache_dir

opened: list[str] | None = None


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and opened is not None:
        opened.append(str(arguments[0]))


sys.addaudithook(note)  # for good: it cannot be removed


def test_the_test_set_is_not_asked_for(html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.data import pixel_store

    decoded: list[str] = []

    def noting(files: Sequence[ImageFile], *others: Any, **options: Any) -> np.ndarray:
        decoded.extend(file.path for file in files)
        return prepare_images(files, *others, **options)

    monkeypatch.setattr(pixel_store, "prepare_images", noting)
    search = small_search()
    run = open_run(search.runs)
    dataset = run.dataset(search.photos)
    gathered(run, search.cache)
    paths = {name: {file.path for file in dataset.of(name)} for name in SPLITS}
    assert paths["test"].isdisjoint(decoded)
    assert paths["train"] | paths["validation"] == set(decoded)
    assert "not yet measured" in html


def test_the_test_set_is_not_opened(synthetic: Run, tmp_path: Path) -> None:
    global opened
    dataset = synthetic.dataset()
    opened = []
    found = gathered(synthetic, tmp_path)
    seen, opened = set(opened), None
    assert isinstance(found.validation, Validation)
    assert {str(dataset.root / image.path) for image in found.validation.worst} <= seen
    assert seen.isdisjoint(str(dataset.root / file.path) for file in dataset.of("test"))


SETTINGS = [
    SearchSettings(),
    SearchSettings(
        data="/photos/of mine", fixed={"unfreeze_blocks": "0", "dropout": "0.5"}, weights="none",
        image_size=64, crop=True, batch_size=16, max_epochs=9, factor=4, iterations=2,
        objective="val_loss", seed=3, val_fraction=0.2, test_fraction=0.1, split_seed=5,
        drop_leaks=True, keep_conflicts=True, near_duplicates="warn",
        augment="light", views=6, class_weights="balanced",
        time_budget_seconds=1234567.5,
    ),
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=["defaults", "everything"])
def test_the_command_asks_for_the_same(
    settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.commands import search as search_module

    searched: list[SearchSettings] = []
    monkeypatch.setattr(
        search_module, "_search", lambda found, *rest, **options: searched.append(found)
    )
    words = shlex.split(search_command(settings, "again"))
    result = tune(*words[1:])
    assert result.exit_code == 0, result.output
    assert searched == [settings]


def test_the_diagnosis_that_is_missing_is_made_by_its_command(tmp_path: Path) -> None:
    command = diagnose_command(SETTINGS[1], tmp_path / "my cache")
    assert shlex.split(command) == [
        "tune", "diagnose", "/photos/of mine", "--weights", "none", "--image-size", "64", "--crop",
        "--val-fraction", "0.2", "--test-fraction", "0.1", "--split-seed", "5", "--drop-leaks",
        "--keep-conflicts", "--near-duplicates", "warn", "--cache-dir", str(tmp_path / "my cache"),
    ]  # fmt: skip
    plain = SearchSettings(data="photos")
    assert diagnose_command(plain, default_cache_dir()) == "tune diagnose photos"


def test_digits_cannot_be_diagnosed(synthetic: Run, tmp_path: Path) -> None:
    data = read_run_data(synthetic)
    digits = dataclasses.replace(data, settings=dataclasses.replace(data.settings, data=None))
    with Cache(tmp_path) as cache:
        found = _diagnosis(digits, cache)
    assert isinstance(found, Absent)
    assert "digits lie in no folder to diagnose" in found.reason
    assert "tune diagnose" not in found.reason


def test_a_real_run_has_every_section(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    run = open_run(runs, "small")
    price = {"cause": "scaled input", "sentence": "It was tried.", "remedy": "", "gain": 0.3,
             "cost": "costs 30.0 points", "certainty": "p 0.01"}  # fmt: skip
    older = {"cause": "learning rate", "sentence": "It was too.", "remedy": "", "gain": 0.2}
    found = {"causes": [], "excluded": [], "prices": [price, older], "model": None,
             "training_images": 42,
             "validation_images": 9, "accuracy": 0.5, "train_accuracy": 0.75,
             "majority_rate": 0.25}  # fmt: skip
    options = {"weights": "none", "image_size": 32}
    keep_diagnosis(search.cache, run.dataset().fingerprint, found, options)
    out = tmp_path / "page.html"
    result = tune("report", "--runs-dir", runs, "--cache-dir", search.cache, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    text = " ".join(Outline(out.read_text("utf-8")).text)
    assert "42 training and 9 validation images, with weights none at 32 px: a plain" in text
    assert "Nothing was found that holds accuracy back." in text
    assert "(costs 30.0 points, p 0.01). It was tried." in text
    assert "(+20.0 points). It was too." in text
    assert "Validation images by their label" in text
    assert "confident learning" in text
    assert "up to 1 epoch a trial" in text
    assert not re.search(r"\b1 (\w+ )?(trials|epochs|images|configurations|curves|answers)\b", text)
    assert " after 1 epoch</title>" in out.read_text("utf-8")
    assert "computing frozen features" in text
    for name in ("python", "keras", "keras-tuner", "numpy"):
        assert name in run.journal.notes().versions
        assert name in text
    assert "blue sky" in text
    assert run.dataset().fingerprint in text
    assert run.journal.evaluation(0) is None


def empty(run: Run) -> None:
    with run.journal._transaction() as execute:
        for table in ("outcomes", "epochs", "rungs", "trials"):
            execute(f"DELETE FROM {table}")


def all_failed(run: Run) -> None:
    empty(run)
    run.journal.begin_trial({"dropout": 0.1}, slot=(0, 0))
    run.journal.fail(0, "the loss became <b>NaN</b>")
    run.journal.set_notes(Notes(finished_iterations=0))


def no_dataset(run: Run) -> None:
    (run.folder / "dataset.json").unlink()


def outcomes_damaged(run: Run) -> None:
    altered(run, "outcomes")


def no_weights(run: Run) -> None:
    for path in run.folder.glob("trials/*/state.npz"):
        path.unlink()


def garbled(run: Run) -> None:
    run.journal.close()
    path = run.folder / "journal.db"
    data = bytearray(path.read_bytes())
    place = data.index(b"dropout")
    data[place : place + 7] = b"dr0pout"
    path.write_bytes(data)
    for leftover in path.parent.glob("journal.db-*"):
        leftover.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (empty, "No trial has begun."),
        (all_failed, "every trial failed, the last one with: the loss became <b>NaN</b>"),
        (no_dataset, "The run's description of its images is missing or damaged."),
        (outcomes_damaged, "The selection bias of its score is unknown: the journal"),
        (
            evaluation_damaged,
            "The result on the test images, if there is one, cannot be read: the journal",
        ),
        pytest.param(no_weights, "There are no heat maps", marks=pytest.mark.slow),
        pytest.param(garbled, "The journal is damaged.", marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_spoiled_run_gives_a_report_of_what_there_is(
    spoil: Callable[[Run], None], said: str, tmp_path: Path
) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    run = open_run(runs, "small")
    spoil(run)
    out = tmp_path / "page.html"
    result = tune("report", "small", "--runs-dir", runs, "--cache-dir", search.cache, "--out", out)
    assert result.exit_code == 0, result.output
    assert said in " ".join(Outline(out.read_text("utf-8")).text)
