"""Backbones and head are found by names and nesting."""

from collections.abc import Iterable
from typing import Any

import keras
import pytest

from search_spaces.backbone import unfreeze
from tuner.model_check.parts import Backbone, all_layers, find_parts
from tuner.model_check.trainable_layers import trainable_layers


def names(layers: Iterable[Any]) -> list[str]:
    return [layer.name for layer in layers]


def small_convolution(name: str) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, name=f"{name}_conv")(inputs)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name=name)


def only_backbone(model: keras.Model) -> Backbone:
    (backbone,) = find_parts(model).backbones
    return backbone


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
    for model in (with_head(random_backbone), flat):
        backbone = only_backbone(model)
        assert backbone.is_resnet
        assert len(backbone.batchnorms) == 53
        assert backbone.input_layer.name == "conv1_pad"
        assert backbone.output_layer.name == "conv5_block3_out"
        assert backbone.layers[-1] is backbone.output_layer
        assert len([layer for layer in backbone.layers if layer.weights]) == 106


def test_a_resnet_cut_in_two_is_one_backbone(random_backbone: keras.Model) -> None:
    cut = random_backbone.get_layer("conv4_block6_out").output
    lower = keras.Model(random_backbone.input, cut)
    upper = keras.Model(cut, random_backbone.output)
    backbone = only_backbone(keras.Sequential([lower, upper, keras.layers.Dense(2)]))
    assert len(backbone.batchnorms) == 53
    assert (backbone.input_layer.name, backbone.output_layer.name) == (
        "conv1_pad",
        "conv5_block3_out",
    )


@pytest.mark.parametrize(
    "names",
    [
        ("conv1_conv", "conv2_block1_preact_bn", "conv2_block1_1_conv", "conv2_block1_out"),
        ("conv1_conv", "conv1_bn", "conv2_block1_1_conv", "conv2_block1_concat"),
    ],
    ids=["ResNetV2", "DenseNet"],
)
def test_relatives_of_the_resnets_are_other_backbones(names: tuple[str, ...]) -> None:
    layers = [keras.layers.Conv2D(2, 1, name=name) for name in names]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    assert find_parts(model).backbones == ()


def test_a_nested_model_with_convolutions_is_a_backbone() -> None:
    model = with_head(small_convolution("own"))
    backbone = only_backbone(model)
    assert backbone.name == "own"
    assert not backbone.is_resnet
    assert names(backbone.batchnorms) == ["own_bn"]
    assert names(find_parts(model).head_batchnorms) == ["head_bn"]


def test_all_backbones_of_an_ensemble_are_known(random_backbone: keras.Model) -> None:
    inputs = keras.Input((32, 32, 3))
    bases = [random_backbone, small_convolution("one"), small_convolution("other")]
    x = keras.layers.Concatenate()(
        [
            keras.layers.Flatten()(base(keras.layers.Resizing(*base.input_shape[1:3])(inputs)))
            for base in bases
        ]
    )
    parts = find_parts(keras.Model(inputs, keras.layers.Dense(2)(x)))
    assert [backbone.name for backbone in parts.backbones] == ["ResNet", "one", "other"]
    assert len(parts.batchnorms) == 55


def test_two_backbones_may_have_the_same_names() -> None:
    inputs = keras.Input((8, 8, 3))
    bases = []
    for name in ("one", "other"):
        bases.append(small_convolution("own"))
        bases[-1].name = name
    model = keras.Model(inputs, keras.layers.Concatenate()([base(inputs) for base in bases]))
    assert names(find_parts(model).batchnorms) == ["own_bn", "own_bn"]
    assert len(set(map(id, find_parts(model).batchnorms))) == 2


def test_a_nested_head_is_no_backbone() -> None:
    head = keras.Sequential(
        [keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)], name="head"
    )
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, head(small_convolution("own")(inputs)))
    assert only_backbone(model).name == "own"
    assert names(only_backbone(model).batchnorms) == ["own_bn"]


def on_a_feature_map() -> keras.Model:
    """A nested base of four convolutions, a nested head of one on its last map."""
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for number in range(4):
        x = keras.layers.Conv2D(2, 3, padding="same")(x)
        x = keras.layers.BatchNormalization(name=f"base_{number}_bn")(x)
    base = keras.Model(inputs, x, name="base")
    head = keras.Sequential(
        [
            keras.layers.Conv2D(2, 1),
            keras.layers.BatchNormalization(name="head_bn"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ],
        name="head",
    )
    outside = keras.Input((8, 8, 3))
    return keras.Model(outside, head(base(outside)), name="whole")


@pytest.mark.parametrize("is_nested", [False, True])
def test_convolutions_on_a_feature_map_are_a_head(is_nested: bool) -> None:
    model = on_a_feature_map()
    if is_nested:
        scaling = keras.layers.Rescaling(1 / 255)
        model = keras.Sequential([keras.Input((8, 8, 3)), scaling, model])
    assert only_backbone(model).name == "base"
    assert names(only_backbone(model).batchnorms) == [f"base_{number}_bn" for number in range(4)]
    assert names(find_parts(model).head_batchnorms) == ["head_bn"]


def test_a_nested_stem_is_a_part_of_its_backbone() -> None:
    stem = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(2, 1),
            keras.layers.BatchNormalization(name="stem_bn"),
        ]
    )
    inputs = keras.Input((8, 8, 3))
    x = stem(inputs)
    for _ in range(2):
        x = keras.layers.Conv2D(2, 1)(x)
    x = keras.layers.BatchNormalization(name="last_bn")(x)
    base = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x), name="base")
    backbone = only_backbone(with_head(base))
    assert backbone.name == "base"
    assert set(names(backbone.batchnorms)) == {"stem_bn", "last_bn"}


def test_a_head_behind_the_pooling_of_a_nested_classifier_is_no_backbone() -> None:
    """A squeeze in between pools too, in front of a convolution."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3)(inputs)
    x *= keras.layers.Conv2D(2, 1)(keras.layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = keras.layers.BatchNormalization(name="base_bn")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    x = keras.layers.BatchNormalization(name="head_bn")(keras.layers.Dense(2)(x))
    whole = keras.Model(inputs, keras.layers.Dense(2, name="scores")(x), name="whole")
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), whole])
    backbone = only_backbone(model)
    assert (backbone.input_layer, backbone.output_layer.name) == (whole, "pooling")
    assert names(backbone.batchnorms) == ["base_bn"]
    assert "scores" not in names(backbone.layers)


class Holder(keras.layers.Layer):
    """A layer that holds a model."""

    def __init__(self, inner: keras.Model) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


def test_a_backbone_may_stand_inside_a_layer() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), Holder(small_convolution("own"))])
    assert names(only_backbone(model).batchnorms) == ["own_bn"]


@pytest.mark.parametrize("layers", [[], [keras.layers.Conv2D(2, 3)]])
def test_without_a_backbone_all_batchnorm_is_the_heads(layers: list[keras.layers.Layer]) -> None:
    own = keras.layers.BatchNormalization()
    parts = find_parts(keras.Sequential([keras.Input((8, 8, 3)), *layers, own]))
    assert parts.backbones == ()
    assert parts.head_batchnorms == (own,)


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
def test_trainable_layers_are_summarised(
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
