"""The backbone is told from the head by names and nesting."""

from collections.abc import Iterable
from typing import Any

import keras
import pytest

from search_spaces.backbone import unfreeze
from tuner.anatomy import all_layers, dissect, trainable_layers


def names(layers: Iterable[Any]) -> list[str]:
    return [layer.name for layer in layers]


def small_convolution(name: str) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, name=f"{name}_conv")(inputs)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name=name)


def with_head(base: keras.Model) -> keras.Model:
    head = keras.layers.BatchNormalization(name="head_bn")
    return keras.Sequential(
        [keras.Input(base.input_shape[1:]), base, head, keras.layers.Dense(2, name="scores")]
    )


def test_layers_stand_from_input_to_output_each_once() -> None:
    model = with_head(small_convolution("own"))
    expected = ["own_conv", "own_bn", "head_bn", "scores"]
    assert [name for name in names(all_layers(model)) if name in expected] == expected
    assert len(set(map(id, all_layers(model)))) == len(all_layers(model))


def test_a_real_resnet_is_known_nested_and_flat(random_backbone: keras.Model) -> None:
    flat = keras.Model(
        random_backbone.input, keras.layers.Dense(2)(random_backbone.output), name="flat"
    )
    for model, base in (
        (with_head(random_backbone), "model.get_layer('resnet50')"),
        (flat, "model"),
    ):
        anatomy = dissect(model)
        assert (anatomy.backbone, anatomy.base) == ("ResNet", base)
        assert anatomy.is_resnet
        assert len(anatomy.batchnorms) == 53
        assert names(anatomy.entrances) == ["conv1_pad"]
        assert names(anatomy.ends)[-1] == "conv5_block3_out"
        assert len(anatomy.ends) == 16


def test_a_resnet_v2_is_another_backbone() -> None:
    names_of_v2 = ("conv1_conv", "conv2_block1_preact_bn", "conv2_block1_1_conv")
    layers = [keras.layers.Conv2D(2, 1, name=name) for name in names_of_v2]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    assert dissect(model).backbone is None


def test_a_nested_model_with_convolutions_is_a_backbone() -> None:
    anatomy = dissect(with_head(small_convolution("own")))
    assert (anatomy.backbone, anatomy.base) == ("own", "model.get_layer('own')")
    assert not anatomy.is_resnet
    assert names(anatomy.batchnorms) == ["own_bn"]
    assert names(anatomy.head_batchnorms) == ["head_bn"]


def test_a_nested_head_is_no_backbone() -> None:
    head = keras.Sequential(
        [keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)], name="head"
    )
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, head(small_convolution("own")(inputs)))
    anatomy = dissect(model)
    assert anatomy.backbone == "own"
    assert names(anatomy.batchnorms) == ["own_bn"]


class Holder(keras.layers.Layer):
    """A layer that holds a model."""

    def __init__(self, inner: keras.Model) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


def test_where_the_batchnorm_stands_is_told_in_code() -> None:
    image = keras.Input((8, 8, 3))
    outer = keras.Sequential([image, small_convolution("own")], name="outer")
    model = keras.Sequential([image, outer])
    assert dissect(model).base == "model.get_layer('outer').get_layer('own')"
    held = keras.Sequential([image, Holder(small_convolution("own"))])
    assert dissect(held).base == "base"
    assert names(dissect(held).batchnorms) == ["own_bn"]


@pytest.mark.parametrize("layers", [[], [keras.layers.Conv2D(2, 3)]])
def test_without_a_backbone_all_batchnorm_is_the_heads(layers: list[keras.layers.Layer]) -> None:
    own = keras.layers.BatchNormalization()
    anatomy = dissect(keras.Sequential([keras.Input((8, 8, 3)), *layers, own]))
    assert anatomy.backbone is None
    assert anatomy.head_batchnorms == (own,)


def with_scores(base: keras.Model) -> keras.Model:
    return keras.Model(base.input, keras.layers.Dense(2, name="scores")(base.output))


@pytest.mark.parametrize(
    ("unfreeze_blocks", "summary"),
    [
        (0, "scores (1 of 107 layers with weights)"),
        (1, "conv5_block3_* (3 of 6 layers), scores (4 of 107 layers with weights)"),
        (
            3,
            "conv5_block1_* to conv5_block3_* (10 of 20 layers), scores (11 of 107 layers with "
            "weights)",
        ),
    ],
)
def test_trainable_layers_are_told_in_few_words(
    unweighted: keras.Model, unfreeze_blocks: int, summary: str
) -> None:
    unfreeze(unweighted, unfreeze_blocks)
    found = trainable_layers(with_scores(unweighted))
    assert found.summary == summary
    assert found.layers == 107
    assert found.names[-1] == "scores"


def test_what_is_trained_counts_and_not_a_flag() -> None:
    base = small_convolution("own")
    model = with_head(base)
    base.trainable = False
    assert trainable_layers(model).names == ("head_bn", "scores")
    base.get_layer("own_conv").trainable = True
    assert trainable_layers(model).names == ("own_conv", "head_bn", "scores")
    model.trainable = False
    model.get_layer("scores").trainable = True  # in vain
    assert trainable_layers(model).names == ()
    assert trainable_layers(model).summary == "none (0 of 4 layers with weights)"


def test_a_layer_used_twice_counts_once() -> None:
    shared = keras.layers.Dense(3, name="shared")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert trainable_layers(model).summary == "shared (1 of 1 layers with weights)"
