"""Commands can be pasted into a shell, and name the user's own data and options."""

import shlex

from tests.support.diagnosed import treatment
from tuner.command_lines import Command, changed_options
from tuner.diagnose.batchnorm_statistics import recalibration_finding

OPTIONS = {"--weights": "my weights.h5", "--image-size": "64", "--crop": "", "--split-seed": "3"}


def test_options_are_those_that_are_not_the_defaults() -> None:
    values = {"image_size": 64, "crop": True, "drop_leaks": False, "weights": "imagenet"}
    defaults = {"image_size": 224, "crop": False, "drop_leaks": False, "weights": "imagenet"}
    assert changed_options(values, defaults) == {"--image-size": "64", "--crop": ""}


def test_a_command_gets_the_data_and_the_options() -> None:
    assert str(Command("search")) == "tune search DATA"
    assert shlex.split(str(Command("search").on("my photos", OPTIONS))) == [
        "tune",
        "search",
        "my photos",
        "--weights",
        "my weights.h5",
        "--image-size",
        "64",
        "--crop",
        "--split-seed",
        "3",
    ]


def test_an_option_that_the_command_sets_is_not_added() -> None:
    command = str(Command("search", ("--image-size", "224")).on("a", OPTIONS))
    assert command.count("--image-size") == 1
    assert command.endswith("--image-size 224")


def test_each_command_of_a_remedy_has_its_own_options() -> None:
    remedy = recalibration_finding(treatment("frozen", 0.6), treatment("recalibrated", 0.8)).remedy
    assert str(remedy.on("photos", {"--weights": "mine.h5", "--image-size": "64"})) == (
        "tune diagnose photos --weights mine.h5 --image-size 64 --save-recalibrated "
        "mine.weights.h5 writes such weights, and tune search photos --image-size 64 "
        "--weights mine.weights.h5 uses them."
    )


def test_tune_data_gets_the_options_of_the_split_alone() -> None:
    assert str(Command("data", ("--json",)).on("a", OPTIONS)) == "tune data a --split-seed 3 --json"
