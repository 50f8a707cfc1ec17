"""A refitted network has learnt from everything but the test images."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.small_search import COLOURS, IMAGES_PER_CLASS, small_search, tune
from tuner.data.dataset import Dataset, ImageFile
from tuner.errors import DataError
from tuner.evaluate.access_log import all_accesses
from tuner.evaluate.leaked_images import Leaked
from tuner.export.predict import Export
from tuner.export.refit import Refit, _as_before, grown_dataset, merged, refit
from tuner.runs.records import trial_name
from tuner.runs.run import Run, open_run, winner_of
from tuner.storage.cache import Cache
from tuner.training.networks import trained_model


def nothing(what: str, done: int, count: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(small_search().copy_of_runs(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def dataset(run: Run) -> Dataset:
    return run.dataset()


@pytest.fixture(scope="module")
def refitted(run: Run, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Refit:
    """Its test images lie elsewhere until the last epoch is over: a look would fail."""
    folder = tmp_path_factory.mktemp("refit")
    photos = Path(shutil.copytree(small_search().photos, folder / "photos"))
    tests = [photos / file.path for file in dataset.of("test")]
    hidden = [path.rename(folder / f"{number}.png") for number, path in enumerate(tests)]

    def show(what: str, done: int, count: int) -> None:
        if what == "refitting, epochs" and done == count:
            for path, place in zip(hidden, tests, strict=True):
                path.rename(place)

    moved = Dataset(photos, dataset.classes, dataset.files)
    with Cache(folder / "cache") as cache:
        fitted = refit(run, winner_of(run), moved, cache, show)
    assert all(path.exists() for path in tests)
    return fitted


def test_validation_trains_and_the_test_stays(refitted: Refit, dataset: Dataset) -> None:
    found = refitted.dataset
    assert {file.path for file in found.of("test")} == {file.path for file in dataset.of("test")}
    assert {file.path for file in found.of("train")} == {
        file.path for split in ("train", "validation") for file in dataset.of(split)
    }
    assert not found.of("validation")
    assert merged(found) == found


def test_its_accuracy_is_stated_as_what_it_is(refitted: Refit) -> None:
    assert refitted.added == 0
    assert refitted.sentence == (
        "Refitted for 1 epoch on 51 images, validation images included; its accuracy is measured "
        "on 9 held-out test images."
    )
    assert refitted.test_accuracy * 9 == pytest.approx(round(refitted.test_accuracy * 9))
    assert 0 <= refitted.test_balanced_accuracy <= 1
    assert refitted.leaked.accuracy == pytest.approx(refitted.test_accuracy)  # none of them leaked


def test_a_refit_on_copies_of_test_images_says_so(refitted: Refit) -> None:
    sentence = replace(refitted, leaked=Leaked(2, 9, 2, 0, 0.5, (0.2, 0.8))).sentence
    assert "on 9 test images. 2 of the 9 test images have a copy" in sentence
    assert "held-out" not in sentence


def test_its_test_is_a_look_at_the_test_images(run: Run, refitted: Refit, dataset: Dataset) -> None:
    assert [access.trial for access in all_accesses(run, dataset)] == [
        trial_name(refitted.trial.id)
    ]
    assert [number for number, _ in run.journal.evaluation_log()] == [refitted.trial.id]


def test_the_network_is_another(run: Run, refitted: Refit) -> None:
    winner = trained_model(run, winner_of(run), len(COLOURS))
    assert [v.shape for v in winner.variables] == [v.shape for v in refitted.network.variables]
    logits = [
        model.get_layer("head_logits").get_weights()[0] for model in (winner, refitted.network)
    ]
    assert np.abs(logits[0] - logits[1]).max() > 1e-4


@pytest.mark.slow
def test_it_comes_out_the_same_again(run: Run, dataset: Dataset, refitted: Refit) -> None:
    with Cache(small_search().cache) as cache:
        again = refit(run, winner_of(run), dataset, cache, nothing)
    for one, other in zip(refitted.network.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """The photos with ten more of each class."""
    photos = Path(shutil.copytree(small_search().photos, tmp_path / "photos"))
    random = np.random.default_rng(1)
    for name, colour in COLOURS.items():
        for number in range(10):
            pixels = (random.normal(0, 30, (40, 30, 3)) + colour).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(photos / name / f"new-{number}.png")
    return photos


def test_a_folder_that_has_grown(run: Run, dataset: Dataset, grown: Path, tmp_path: Path) -> None:
    found = grown_dataset(run, grown, tmp_path / "cache", nothing)
    before = {file.path: file.split for file in dataset.files}
    now = {file.path: file.split for file in found.files}
    assert len(now) == len(COLOURS) * (IMAGES_PER_CLASS + 10)
    for path, split in before.items():
        assert (now[path] == "test") == (split == "test")
    new_tests = [path for path in now if now[path] == "test" and path not in before]
    assert new_tests


@pytest.mark.slow
def test_what_was_added_is_trained_on(run: Run, grown: Path, tmp_path: Path) -> None:
    found = grown_dataset(run, grown, tmp_path / "cache", nothing)
    new_tests = [file for file in found.of("test") if "new-" in file.path]
    with Cache(tmp_path / "cache") as cache:
        fitted = refit(run, winner_of(run), found, cache, nothing)
    assert fitted.added == 30 - len(new_tests)
    assert f"{fitted.added} of them added since the search" in fitted.sentence
    assert len(fitted.dataset.of("test")) == 9 + len(new_tests)


def test_a_copy_of_a_test_image_tests_too(
    run: Run, dataset: Dataset, grown: Path, tmp_path: Path
) -> None:
    """Recompressed, and put among the new images: it must not be trained on."""
    for number, file in enumerate(dataset.of("test")):
        with Image.open(grown / file.path) as image:
            image.save(grown / file.label / f"copy-{number}.jpg", quality=95)
    found = grown_dataset(run, grown, tmp_path / "cache", nothing)
    copies = [file for file in found.files if "copy-" in file.path]
    assert len(copies) == 9
    tests = {file.group for file in found.of("test")}
    together = [file for file in copies if file.group in tests]
    assert together
    assert all(file.split == "test" for file in together)


def test_no_image_changes_sides(run: Run) -> None:
    """One new picture that resembles two old ones joins their groups."""
    were = {"a": {"train"}, "b": {"validation"}, "c": {"test"}, "d": {"train", "test"}}
    now = [
        ("a", "test", "train"), ("b", "train", "train"), ("c", "train", "test"),
        ("d", "train", "train"), ("d", "test", "test"), ("new", "train", "test"),
    ]  # fmt: skip
    files = [
        ImageFile(f"{n}.png", "x", split, name, "one") for n, (name, split, _) in enumerate(now)
    ]
    files += [
        ImageFile("beside.png", "x", "test", "beside", "other"),
        ImageFile("old.png", "x", "train", "a", "other"),
        ImageFile("alone.png", "x", "test", "alone"),
    ]
    sides = [file.split for file in _as_before(tuple(files), were)]
    assert sides == [*(side for _, _, side in now), "train", "train", "test"]


def test_folders_that_are_not_of_the_run(
    run: Run, dataset: Dataset, grown: Path, tmp_path: Path
) -> None:
    shutil.copytree(grown / "red brick", grown / "violet")
    for number, path in enumerate(sorted((grown / "violet").iterdir())):
        Image.new("RGB", (30, 30), (90 + number, 7 * number, 200)).save(path)
    with pytest.raises(DataError, match="has other classes than the run small, such as violet"):
        grown_dataset(run, grown, tmp_path / "cache", nothing)
    shutil.rmtree(grown / "violet")
    for file in dataset.of("test"):
        (grown / file.path).unlink()
    with pytest.raises(DataError, match="none of the test images of the run small"):
        grown_dataset(run, grown, tmp_path / "cache", nothing)
    for file in dataset.files:
        (grown / file.path).unlink(missing_ok=True)
    with pytest.raises(DataError, match="none of the images of the run small"):
        grown_dataset(run, grown, tmp_path / "cache", nothing)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    runs = ("--runs-dir", small_search().runs)
    for options, expected in {
        ("--data", tmp_path): "--data needs --refit",
        ("--refit",): "--refit needs --export",
        ("--refit", "--calibrate", "--export", tmp_path / "model"): "--calibrate needs validation",
    }.items():
        result = tune("best", *runs, *options)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert expected in line
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_the_export_is_the_refitted_network(grown: Path, tmp_path: Path) -> None:
    runs, folder = small_search().copy_of_runs(tmp_path), tmp_path / "model"
    result = tune(
        "best", "--runs-dir", runs, "--cache-dir", tmp_path / "cache", "--export", folder,
        "--refit", "--data", grown, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)["refit"]
    assert said["validation_accuracy"] is None
    described = json.loads((folder / "export.json").read_text())
    assert described["refit"] == said
    assert described["name"] == f"trial {described['trial']}, refitted"
    assert described["validation_accuracy"] is None
    assert described["images"]["validation"] == 0
    assert described["test_accuracy"] == said["test_accuracy"]
    assert said["sentence"] in (folder / "MODEL_CARD.md").read_text()
    tests = [grown / file.path for file in grown_dataset(
        open_run(runs), grown, tmp_path / "cache", nothing).of("test")]  # fmt: skip
    predicted = list(Export(folder).predict(tests))
    right = sum(found.label == found.path.parent.name for found in predicted)
    assert right == round(said["test_accuracy"] * said["test_images"])
