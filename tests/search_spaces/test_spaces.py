import subprocess
import sys

import keras_tuner
import pytest

from search_spaces import SPACES, load_space
from search_spaces.resnet50 import ResNet50Space
from tests.support.repository import ROOT
from tuner.errors import SettingsError


class OwnSpace(keras_tuner.HyperModel):
    def __init__(self, num_classes: int, image_size: int, weights: str) -> None:
        super().__init__()
        self.arguments = (num_classes, image_size, weights)


def test_resnet50_is_found_by_name() -> None:
    space = load_space("resnet50", num_classes=3, image_size=64, weights="none")
    assert type(space) is ResNet50Space
    assert (space.num_classes, space.image_size, space.weights) == (3, 64, "none")


def test_defaults_are_those_of_the_space() -> None:
    space = load_space("resnet50", num_classes=3)
    assert (space.image_size, space.weights) == (224, "imagenet")


@pytest.mark.parametrize("name", SPACES)
def test_every_name_makes_a_space(name: str) -> None:
    assert isinstance(load_space(name, num_classes=2), keras_tuner.HyperModel)


def test_a_class_is_found_by_module_and_name() -> None:
    space = load_space("search_spaces.resnet50:ResNet50Space", num_classes=3)
    assert type(space) is ResNet50Space


def test_a_class_of_ones_own_gets_every_argument() -> None:
    space = load_space(f"{__name__}:OwnSpace", num_classes=3, image_size=64, weights="none")
    assert type(space) is OwnSpace
    assert space.arguments == (3, 64, "none")


def test_an_unknown_name_lists_the_choices() -> None:
    with pytest.raises(SettingsError) as caught:
        load_space("resnet51", num_classes=3)
    assert "'resnet51'" in str(caught.value)
    assert all(name in str(caught.value) for name in SPACES)
    assert "package.module:Class" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["no_such_package:Space", "search_spaces.resnet50:NoSuchSpace", "search_spaces.nothing:Space"],
)
def test_a_class_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_space(name, num_classes=3)


@pytest.mark.parametrize("name", ["", ":", ":Space", "search_spaces.resnet50:", ".resnet50:Space"])
def test_half_a_name_is_a_settings_error(name: str) -> None:
    with pytest.raises(SettingsError):
        load_space(name, num_classes=3)


def test_a_space_refuses_one_class() -> None:
    with pytest.raises(SettingsError, match="at least 2 classes"):
        load_space("resnet50", num_classes=1)


def test_the_package_imports_no_keras_before_a_space_is_made() -> None:
    code = "import sys, search_spaces; print('keras' in sys.modules)"
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


class Failing(keras_tuner.HyperModel):
    """A space whose `__init__` fails."""

    def __init__(self, **arguments: object) -> None:
        raise RuntimeError("no weights here")


def build(num_classes: int, image_size: int, weights: str) -> str:
    """A function in the place of a class."""
    return "a model"


class Tutorial(keras_tuner.HyperModel):
    """A space without arguments."""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Failing", "cannot be created: RuntimeError: no weights here"),
        ("Tutorial", "unexpected keyword argument"),
        ("build", "makes str, no search space"),
    ],
)
def test_what_makes_no_space_is_refused_with_the_repair(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_space(f"{__name__}:{name}", num_classes=3)
    assert "whose __init__ takes num_classes, image_size and weights" in str(caught.value)
