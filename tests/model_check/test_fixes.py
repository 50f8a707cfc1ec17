"""Lines that fix a model access its layers as the user does, and work when they are run."""

from typing import Any

import keras
import numpy as np
import pytest

from tuner.model_check.fixes import freeze_batchnorms_code, train_head_code
from tuner.model_check.parts import all_layers, find_parts
from tuner.model_check.trainable_layers import trainable_layers

SHAPE = (8, 8, 3)


def convolutions(x: Any, *names: str) -> Any:
    for name in names:
        x = keras.layers.Conv2D(2, 1, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return x


def base(name: str = "base") -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = convolutions(inputs, "first", "second")
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name=name)


def flat(name: str = "flat") -> keras.Model:
    """A base and a head in one graph, both with BatchNorm."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.GlobalAveragePooling2D()(convolutions(inputs, "first", "second"))
    x = keras.layers.BatchNormalization(name="head_bn")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="scores")(x), name=name)


class Held(keras.layers.Layer):
    """Layers in an attribute and in a list."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = base()
        self.several = [keras.layers.BatchNormalization(name="listed_bn")]

    def call(self, inputs: Any) -> Any:
        return self.several[0](self.inner(inputs))


class Subclass(keras.Model):
    """A model without a graph, with layers of one name."""

    def __init__(self) -> None:
        super().__init__()
        self.base = base("same")
        self.others = [base("same"), base("other")]

    def call(self, inputs: Any) -> Any:
        return sum(each(inputs) for each in (self.base, *self.others))


def subclass() -> keras.Model:
    model = Subclass()
    model(np.zeros((1, *SHAPE)))
    return model


def batchnorms(model: keras.Model, *names: str) -> list[Any]:
    every = [
        each for each in all_layers(model) if isinstance(each, keras.layers.BatchNormalization)
    ]
    return [layer for layer in every if not names or layer.name in names]


def nested(*parts: Any) -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), *parts])


@pytest.mark.parametrize(
    ("model", "frozen", "where"),
    [
        (nested(base()), (), "in model.get_layer('base').layers if"),
        (
            nested(keras.Sequential([keras.Input(SHAPE), base()], name="outer")),
            (),
            "in model.get_layer('outer').get_layer('base').layers if",
        ),
        (nested(Held(name="held")), ("first_bn",), "model.get_layer('held').inner.layers[:"),
        (nested(Held(name="held")), ("listed_bn",), "model.get_layer('held')._layers["),
        (flat(), ("first_bn", "second_bn"), "in model.layers[:5] if"),
        (flat(), ("second_bn",), "in [model.get_layer('second_bn')] if"),
        (subclass(), (), "in [*model.base.layers, *model._layers["),
    ],
    ids=["nested", "twice", "in a layer", "in a list", "flat", "after another", "subclass"],
)
def test_the_given_batchnorms_are_frozen_and_no_others(
    model: keras.Model, frozen: tuple[str, ...], where: str
) -> None:
    layers = batchnorms(model, *frozen)
    others = [layer for layer in batchnorms(model) if layer not in layers]
    line = freeze_batchnorms_code(model, layers, others)
    assert where in line
    exec(line, {"model": model, "keras": keras})
    assert not any(layer.trainable for layer in layers)
    assert all(layer.trainable for layer in others)


def test_what_was_frozen_stays_frozen() -> None:
    """A nested block is thawed, but not all of its layers."""
    inputs = keras.Input(SHAPE)
    block = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(2, 1)], name="block")
    block.layers[0].trainable = False
    outer = keras.Model(inputs, block(convolutions(inputs, "first")), name="outer")
    model = nested(outer, keras.layers.Flatten())
    exec(freeze_batchnorms_code(model, batchnorms(model)), {"model": model, "keras": keras})
    assert not block.layers[0].trainable
    assert not outer.get_layer("first_bn").trainable


def cut_in_two() -> keras.Model:
    """The beginning of a ResNet in two models inside another."""
    inputs, between = keras.Input(SHAPE), keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(2, 1, name="conv1_conv")(inputs)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.Conv2D(2, 1, name="conv2_block1_1_conv")(x)
    lower = keras.Model(inputs, keras.layers.ReLU(name="conv2_block1_out")(x))
    x = keras.layers.BatchNormalization(name="conv2_block2_1_bn")(between)
    upper = keras.Model(between, keras.layers.ReLU(name="conv2_block2_out")(x))
    joined = keras.Sequential([keras.Input(SHAPE), lower, upper])
    return nested(joined, keras.layers.Flatten(), keras.layers.Dense(2, name="scores"))


@pytest.mark.parametrize(
    ("model", "trained"),
    [
        (nested(base(), keras.layers.Dense(2, name="scores")), ("scores",)),
        (nested(keras.layers.Rescaling(1 / 255), flat("whole")), ("head_bn", "scores")),
        (nested(Held(name="held")), ("listed_bn",)),
        (cut_in_two(), ("scores",)),
        (nested(keras.layers.Flatten(), keras.layers.Dense(2, name="scores")), ("scores",)),
    ],
    ids=["nested", "whole", "in a layer", "cut in two", "no backbone"],
)
def test_the_head_alone_is_trained(model: keras.Model, trained: tuple[str, ...]) -> None:
    model.trainable = False
    exec(train_head_code(model, find_parts(model)), {"model": model, "keras": keras})
    assert trainable_layers(model).names == trained
