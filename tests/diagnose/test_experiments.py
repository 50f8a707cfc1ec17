"""A diagnosis runs every experiment on a folder and shows the result on one screen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tests.support.diagnosed import DROP_LEAKS, diagnosis, finding
from tuner.data.dataset import Dataset, ImageFile
from tuner.diagnose.experiments import prepare, run_diagnosis, sampled
from tuner.diagnose.finding import BATCHNORM_IN_TRAINING
from tuner.diagnose.result import Diagnosis, Options
from tuner.errors import ModelError
from tuner.model_check.findings import ModelFinding
from tuner.model_check.trainable_layers import TrainableLayers
from tuner.terminal.diagnosis import diagnosis_report

if TYPE_CHECKING:
    import keras


def text(shown: Diagnosis, width: int = 100, details: bool = False) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(diagnosis_report(shown, width, details))
    return capture.get()


def test_a_certain_fault_is_shown_as_seen() -> None:
    certain = replace(finding("BatchNorm in training mode", -0.01, 0.8), certain=True)
    shown = " ".join(text(diagnosis(certain)).split())
    assert "costs too little to measure here, p 0.8, seen in your model" in shown


def test_the_report_shows_the_cause_and_its_remedy_first() -> None:
    shown = text(diagnosis(finding("wrong labels", 0.08, 0.001)))
    assert "1. wrong labels (+8.0 points, p 0.001). wrong labels was tried." in shown
    assert "Fix wrong labels." in shown
    assert "a/0.jpg (rather b)" in shown
    assert "2 more with --json" in shown
    assert "No cause, or not judged: class imbalance." in shown
    assert "scaled input costs 30.0 points" in shown
    assert "legacy" not in shown
    assert "--details" in shown
    assert len(shown.splitlines()) < 24


def test_details_come_before_the_verdict() -> None:
    shown = text(diagnosis(finding("wrong labels", 0.08, 0.001)), details=True)
    assert "usual =" in shown
    assert "legacy =" not in shown
    assert "class imbalance was tried" in shown
    assert "scaled input: costs 30.0 points. scaled input was tried." in shown
    assert shown.index("scaled input was tried") < shown.index("1. wrong labels")


def test_commands_name_the_users_own_images() -> None:
    leak = replace(finding("leak", 0.1, None), remedy=DROP_LEAKS)
    shown = diagnosis(leak).on("my photos", {"--image-size": "64"})
    command = "tune search 'my photos' --image-size 64 --drop-leaks"
    assert shown.to_json()["causes"][0]["remedy"] == f"{command} leaves them out."


def test_nothing_found_is_an_answer() -> None:
    shown = text(diagnosis(model=()))
    assert "Nothing found" in shown
    assert "Your model: nothing wrong was found." in shown
    assert "a/0.jpg" not in shown


def test_a_narrow_terminal_loses_no_word() -> None:
    narrow = text(diagnosis(), 50, details=True)
    assert "training" not in narrow.split("One head over")[-1].split("= is the same")[0]
    assert max(map(len, narrow.splitlines())) <= 50


def test_json_holds_all_numbers() -> None:
    row = json.loads(json.dumps(diagnosis(finding("leak", 0.1, None)).to_json()))
    assert row["causes"][0]["cause"] == "leak"
    assert row["ladder"][1]["val_accuracy"] == 0.7
    assert "right" not in row["ladder"][0]
    assert "Keras before 2.2.5" in row["ladder"][1]["history"]


def test_large_sets_are_sampled_by_content() -> None:
    files = tuple(
        ImageFile(f"{number}.jpg", "ab"[number % 2], "train", f"{number:05}")
        for number in range(4100)
    )
    small = sampled(Dataset(Path(), ("a", "b"), files))
    assert len(small.files) == 4000
    assert small.of("train")[0].sha256 == "00000"


def test_a_sample_keeps_the_copies_of_its_validation_images() -> None:
    files = [ImageFile(f"{n}.jpg", "ab"[n % 2], "train", f"{n:05}", f"g{n}") for n in range(4100)]
    files.append(ImageFile("v.jpg", "a", "validation", "v", "g4050"))
    small = sampled(Dataset(Path(), ("a", "b"), tuple(files)))
    assert "4050.jpg" in small.paths
    assert "4051.jpg" not in small.paths


def test_a_sample_and_a_fault_are_mentioned() -> None:
    assert "images, of 5,000:" in text(replace(diagnosis(), images_in_all=5000))
    fault = ModelFinding("batch mates", "error", "It depends.")
    assert "but your model has a fault" in text(diagnosis(model=(fault,)))


def test_the_trainable_layers_of_a_users_model_are_shown() -> None:
    trainable = TrainableLayers(("scores",), 107, "scores (1 of 107 layers with weights)")
    shown = replace(diagnosis(model=()), trainable=trainable)
    assert "Trainable: scores (1 of 107 layers with weights)." in text(shown)
    assert shown.to_json()["trainable"]["names"] == ("scores",)
    assert "Trainable" not in text(diagnosis())


@pytest.mark.slow
def test_a_folder_is_diagnosed(tmp_path: Path) -> None:
    from tests.support.small_search import write_photos
    from tuner.data.load import load_dataset
    from tuner.storage.cache import Cache

    write_photos(tmp_path / "photos", per_class=24)
    steps: set[str] = set()
    with Cache(tmp_path / "cache") as cache:
        dataset = load_dataset(tmp_path / "photos", cache=cache)
        found = run_diagnosis(
            dataset, cache, Options("none", 32), on_progress=lambda what, *_: steps.add(what)
        )
    assert {"BatchNorm treatments", "wrong labels", "learning curve", "overfitting"} <= steps
    examined = {each.cause for each in (*found.causes, *found.excluded)}
    assert {"leak", "wrong labels", "too few images", "image size"} <= examined
    assert len(found.ladder) == 9
    assert found.training_images + found.validation_images == found.images_in_all
    json.dumps(found.to_json())
    assert "No cause, or not judged" in text(found)


@pytest.mark.slow
def test_a_model_is_diagnosed_with_a_sample_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from tests.support.small_search import write_photos
    from tuner.data.load import load_dataset
    from tuner.storage.cache import Cache

    base = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    inputs = keras.Input((32, 32, 3))
    pixels = keras.applications.resnet50.preprocess_input(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(base(pixels, training=False)))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    monkeypatch.setattr("tuner.diagnose.experiments._MOST_TRAINING", 24)
    write_photos(tmp_path / "photos", per_class=16)
    steps: set[str] = set()
    with Cache(tmp_path / "cache") as cache:
        dataset = load_dataset(tmp_path / "photos", cache=cache)
        options = Options("none", 32, treatments=("frozen",))
        found = run_diagnosis(
            dataset, cache, options, model, on_progress=lambda what, *_: steps.add(what)
        )
        with pytest.raises(ModelError, match="4 outputs"):
            run_diagnosis(dataset, cache, options, with_outputs(4))
    assert [each.name for each in found.model or ()] == ["batch statistics in fit"]
    assert BATCHNORM_IN_TRAINING in {cause.cause for cause in found.causes}
    (rate,) = (each for each in found.excluded if each.cause == "learning rate")
    assert "steps of SGD" in rate.sentence
    assert {"tutorial", "fine_tuned"} <= {each.name for each in found.ladder}
    examined = {each.cause: each for each in (*found.causes, *found.excluded)}
    assert found.images_in_all > found.training_images + found.validation_images
    few = examined["too few images"]
    assert "with all" in few.sentence
    assert few.numbers["images"] == len(dataset.of("train"))
    assert {"plain heads", "wrongly scaled input", "lagging BatchNorm"} <= steps


def with_outputs(outputs: int) -> "keras.Model":
    import keras

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(x))


def test_a_model_of_another_size_is_refused_before_weights_are_read() -> None:
    with pytest.raises(ModelError, match=r"32 x 32 px.*Give --image-size 32"):
        prepare(Options("missing.weights.h5", 64), with_outputs(3))


@pytest.mark.parametrize(
    ("image_size", "few"),
    [(32, (900, 600)), (64, (900, 600)), (96, (400, 267)), (224, (300, 150))],
)
def test_larger_images_are_fewer(image_size: int, few: tuple[int, int]) -> None:
    assert Options("none", image_size).few_images == few
    assert Options("none", image_size, network_images=(7, 3)).few_images == (7, 3)


@pytest.mark.slow
def test_recalibrated_weights_are_written_for_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.small_search import SEARCH, tune, write_photos

    for name, found in (
        ("_treatment_names", ["frozen"]),
        ("_examine_data", ((), [])),
    ):
        monkeypatch.setattr(
            f"tuner.diagnose.experiments._Experiments.{name}", lambda *_, found=found: found
        )
    monkeypatch.setattr("tuner.diagnose.experiments.prices", lambda *_: ())
    photos, own = tmp_path / "photos", tmp_path / "mine.weights.h5"
    write_photos(photos)
    cached = ("--cache-dir", tmp_path / "cache", "--quiet")
    diagnose = ("diagnose", photos, "--image-size", 32, "--save-recalibrated", own, *cached)
    first = tune(*diagnose, "--weights", "none")
    assert first.exit_code == 0, first.output
    again = tune(*diagnose, "--weights", own)
    assert again.exit_code == 2
    assert "mine.weights.h5 exists" in again.stderr
    searched = tune(
        "search",
        photos,
        *SEARCH,
        "--weights",
        own,
        *cached,
        "--runs-dir",
        tmp_path / "runs",
        "--fix",
        "unfreeze_blocks=0",
        "--fix",
        "head_layers=0",
    )
    assert searched.exit_code == 0, searched.output
