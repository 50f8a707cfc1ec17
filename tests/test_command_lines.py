"""Commands in remedies can be typed: they name the user's own images and options."""

import shlex

from tests.support.diagnosed import treatment
from tuner.command_lines import addressed, options_of
from tuner.diagnose.experiments import _recalibration

OPTIONS = {"--weights": "my weights.h5", "--image-size": "64", "--crop": "", "--split-seed": "3"}


def test_options_are_those_that_are_not_the_defaults() -> None:
    values = {"image_size": 64, "crop": True, "drop_leaks": False, "weights": "imagenet"}
    defaults = {"image_size": 224, "crop": False, "drop_leaks": False, "weights": "imagenet"}
    assert options_of(values, defaults) == {"--image-size": "64", "--crop": ""}


def test_a_command_gets_the_images_and_the_options() -> None:
    told = addressed("Search heads with tune search DATA.", "my photos", OPTIONS)
    command = told.removeprefix("Search heads with ").removesuffix(".")
    assert shlex.split(command) == [
        "tune", "search", "my photos", "--weights", "my weights.h5", "--image-size", "64", "--crop",
        "--split-seed", "3",
    ]  # fmt: skip


def test_an_option_that_the_sentence_gives_itself_is_not_given_twice() -> None:
    told = addressed("tune search DATA --image-size 224 takes them larger.", "a", OPTIONS)
    assert told.count("--image-size") == 1
    assert "--image-size 224 takes" in told


def test_an_option_of_the_next_command_is_no_option_of_the_first() -> None:
    remedy = _recalibration(treatment("frozen", 0.6), treatment("recalibrated", 0.8)).remedy
    told = addressed(remedy, "photos", {"--weights": "mine.h5", "--image-size": "64"})
    assert told == (
        "tune diagnose photos --weights mine.h5 --image-size 64 --save-recalibrated "
        "mine.weights.h5 writes such weights, and tune search photos --image-size 64 "
        "--weights mine.weights.h5 takes them."
    )


def test_a_command_gets_only_what_it_takes() -> None:
    assert addressed("tune data DATA --json lists them.", "a", OPTIONS) == (
        "tune data a --split-seed 3 --json lists them."
    )


def test_other_words_stay() -> None:
    sentence = "DATA and tune cache stay."
    assert addressed(sentence, "a", OPTIONS) == sentence
