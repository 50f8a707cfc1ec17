"""Networks of a user's own space: what is refused before the first trial."""

from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import pytest

from tuner.errors import SettingsError
from tuner.training.network_check import check_network

SPARSE = "sparse_categorical_crossentropy"


class Space(keras_tuner.HyperModel):
    """One layer on the pixels of 8 x 8 images."""

    def __init__(self, units: int, activation: str | None, loss: Any) -> None:
        super().__init__()
        self.layer, self.loss = keras.layers.Dense(units, activation=activation), loss

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        inputs = keras.Input((8, 8, 3))
        pixels = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(inputs))
        model = keras.Model(inputs, self.layer(pixels))
        if self.loss is not None:
            model.compile("adam", self.loss)
        return model


def check(space: Any, num_classes: int = 3, **options: bool) -> None:
    check_network(space, keras_tuner.HyperParameters(), (8, 8, 3), num_classes, **options)


@pytest.mark.parametrize(
    ("space", "fault"),
    [
        (lambda: Space(1, "sigmoid", "binary_crossentropy"), "ends in one unit"),
        (lambda: Space(10, "softmax", SPARSE), "ends in 10 units for 3 classes"),
        (
            lambda: Space(3, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
            "gives no probabilities",
        ),
        (lambda: Space(3, "sigmoid", SPARSE), "gives no probabilities"),
        (lambda: Space(3, "softmax", None), "is not compiled"),
        (
            lambda: Space(3, "softmax", keras.losses.SparseCategoricalCrossentropy(True)),
            "its loss has from_logits=True",
        ),
        (lambda: Space(3, "softmax", "categorical_crossentropy"), "its loss"),
        (lambda: Space(3, "softmax", "binary_crossentropy"), "its loss"),
        (lambda: Space(3, "softmax", "mse"), "its loss"),
    ],
)
def test_networks_that_cannot_be_searched(space: Callable[[], Space], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as caught:
        check(space())
    assert 'End its networks in Dense(3, activation="softmax")' in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_classifier_passes_and_may_have_more_outputs_than_labels_were_seen() -> None:
    check(Space(3, "softmax", SPARSE))
    check(Space(5, "softmax", SPARSE), at_least=True)


def test_what_is_no_model_and_other_images_are_refused() -> None:
    class Other(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> Any:
            return "a model"

    with pytest.raises(SettingsError, match="build returns str, not"):
        check(Other())
    with pytest.raises(SettingsError, match="does not take images of"):
        check_network(Space(3, "softmax", SPARSE), keras_tuner.HyperParameters(), (16, 16, 3), 3)


def test_a_network_that_cannot_be_built_is_left_to_its_trial() -> None:
    class Broken(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> Any:
            raise ValueError("no network of 4 units")

    check(Broken())
