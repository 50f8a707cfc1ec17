"""A copy shows what its BatchNorm layers did; the original is only read."""

import keras
import numpy as np
import pytest

from tuner.errors import ModelError
from tuner.model_check.probe import Probe, difference


def model_of(*layers: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    for layer in layers:
        x = layer(x)
    base = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="base")
    outside = keras.Input((8, 8, 3))
    return keras.Model(outside, keras.layers.Dense(2)(base(outside)))


@pytest.mark.parametrize("options", [{}, {"scale": False, "center": False}])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_layer_shows_by_what_it_normalised(options: dict[str, bool], trainable: bool) -> None:
    batchnorm = keras.layers.BatchNormalization(name="bn", trainable=trainable, **options)
    probe = Probe(model_of(batchnorm))
    assert probe.run(probe.images).by_batch == set()
    assert probe.run(probe.images, training=True).by_batch == ({batchnorm} if trainable else set())
    assert probe.moved == {batchnorm: 2 if trainable else 0}


def test_channels_may_stand_elsewhere() -> None:
    batchnorm = keras.layers.BatchNormalization(axis=1, name="bn")
    probe = Probe(model_of(batchnorm))
    assert probe.run(probe.images, training=True).by_batch == {batchnorm}
    assert probe.run(probe.images).by_batch == set()


def test_layers_of_one_name_are_distinguished() -> None:
    thawed, frozen = (
        keras.layers.BatchNormalization(name="bn", trainable=trainable)
        for trainable in (True, False)
    )
    inputs = keras.Input((8, 8, 3))
    scores = [model_of(each)(inputs) for each in (thawed, frozen)]
    probe = Probe(keras.Model(inputs, keras.layers.Add()(scores)))
    assert probe.run(probe.images, training=True).by_batch == {thawed}
    assert probe.moved == {thawed: 2, frozen: 0}
    assert len(probe.run(probe.images).backbone_outputs) == 2


def test_every_run_starts_from_the_same_state() -> None:
    probe = Probe(model_of(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)))
    first = probe.run(probe.images, training=True)
    assert probe.moved
    again = probe.run(probe.images, training=True)
    np.testing.assert_array_equal(first.outputs, again.outputs)


def test_what_was_observed_does_not_change_later() -> None:
    probe = Probe(model_of(keras.layers.BatchNormalization()))
    (backbone,) = probe.parts.backbones
    observed = probe.run(probe.images)
    end = observed.backbone_outputs[backbone.output_layer].copy()
    assert probe.moved
    np.testing.assert_array_equal(observed.backbone_outputs[backbone.output_layer], end)
    np.testing.assert_array_equal(observed.backbone_inputs[backbone.input_layer], probe.images)


def test_the_original_keeps_its_state_and_flags() -> None:
    model = model_of(keras.layers.BatchNormalization(trainable=False))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(np.ones((2, 8, 8, 3)), np.array([0, 1]))
    variables = [*model.variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    assert Probe(model).moved
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert model.predict(np.ones((2, 8, 8, 3)), verbose=0).shape == (2, 2)
    assert "call" not in vars(model.get_layer("base"))


def test_whole_numbers_and_many_images_are_taken() -> None:
    images = np.arange(20 * 8 * 8 * 3, dtype="uint8").reshape(20, 8, 8, 3)
    probe = Probe(model_of(), images)
    np.testing.assert_array_equal(probe.images, images[:8].astype("float32"))


def test_images_that_are_made_up_differ_in_colour() -> None:
    images = Probe(model_of()).images
    assert images.shape == (8, 8, 8, 3)
    assert images.min() >= 0
    assert images.max() <= 255
    assert images.mean(axis=(1, 2)).std(axis=0).min() > 20


def test_a_model_that_fails_is_reported_in_a_sentence() -> None:
    probe = Probe(model_of())
    with pytest.raises(ModelError, match=r"does not run on images of shape \(8, 8, 4\)"):
        probe.run(np.zeros((2, 8, 8, 4), "float32"))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([1.0, 4.0], [1.0, 4.0], 0), ([1, 4], [1, 4.001], 0), ([1, 4], [1, 2], 0.5), ([0], [0], 0)],
)
def test_differences_are_shares_of_the_largest(
    one: list[float], other: list[float], expected: float
) -> None:
    assert difference(np.array(one), np.array(other)) == expected
