from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from search_spaces.backbone import (
    BLOCKS,
    build_backbone,
    cut_layer,
    preprocess,
    trained_convolutions,
    unfreeze,
)
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tuner.errors import SettingsError

DEPTHS = range(17)
# A graph of a deep network takes seconds to trace, so it is traced at few depths here, the other
# depths that the space draws are trained eagerly, and all are traced in the slow tests.
TRACED, EAGER = (0, 3), (1, 2, 6, 9, 12, 16)
FITS = [
    *(pytest.param(depth, False, id=f"{depth}-graph") for depth in TRACED),
    *(pytest.param(depth, True, id=f"{depth}-eager") for depth in EAGER),
    *(
        pytest.param(depth, False, id=f"{depth}-graph", marks=pytest.mark.slow)
        for depth in DEPTHS
        if depth not in TRACED
    ),
]
LABELS = np.arange(4) % 3
# Unlike `BLOCKS`, written out: what the topmost blocks are called.
TOP_DOWN = [
    "conv5_block3",
    "conv5_block2",
    "conv5_block1",
    "conv4_block6",
    "conv4_block5",
    "conv4_block4",
    "conv4_block3",
    "conv4_block2",
    "conv4_block1",
    "conv3_block4",
    "conv3_block3",
    "conv3_block2",
    "conv3_block1",
    "conv2_block3",
    "conv2_block2",
    "conv2_block1",
]


def batchnorms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def moving_statistics(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        variable.path: variable.numpy()
        for layer in batchnorms(model)
        for variable in (layer.moving_mean, layer.moving_variance)
    }


def scales_and_shifts(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        variable.path: variable.numpy()
        for layer in batchnorms(model)
        for variable in (layer.gamma, layer.beta)
    }


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {path for path in before if not np.array_equal(before[path], after[path])}


def convolutions(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        variable.path: variable.numpy()
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        for variable in layer.variables
    }


def thaw(model: keras.Model) -> None:
    """As `model.trainable = True`, which has no effect on a model that is trainable already."""
    for layer in model.layers:
        layer.trainable = True


def relative_distance(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max() / np.abs(other).max())


# --- preprocessing and shape


def test_preprocess_is_that_of_keras(images: np.ndarray) -> None:
    expected = keras.applications.resnet50.preprocess_input(images.copy())
    np.testing.assert_allclose(preprocess(images), expected, rtol=0, atol=1e-5)
    assert not np.allclose(np.asarray(preprocess(images)), images, atol=50)


def test_gives_pooled_features(backbone: keras.Model, images: np.ndarray) -> None:
    assert backbone.input_shape == (None, 32, 32, 3)
    features = backbone.predict(images, verbose=0)
    assert features.shape == (8, 2048)
    assert features.std(axis=0).max() > 0.01


def test_has_the_layers_of_keras_resnet50(random_backbone: keras.Model) -> None:
    standard = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg")
    names = [layer.name for layer in standard.layers[1:]]
    assert [layer.name for layer in random_backbone.layers[1:]] == names


def test_has_53_batchnorms_and_16_blocks(random_backbone: keras.Model) -> None:
    assert len(batchnorms(random_backbone)) == 53
    assert len(moving_statistics(random_backbone)) == 106
    assert list(reversed(BLOCKS)) == TOP_DOWN


@pytest.mark.parametrize("size", [31, 1, 0, -32])
def test_a_small_image_size_is_refused(size: int) -> None:
    with pytest.raises(SettingsError, match=f"at least 32 pixels, but is {size}"):
        build_backbone(size, "none")


# --- freezing


@pytest.mark.parametrize("unfreeze_blocks", DEPTHS)
def test_unfreeze_trains_the_convolutions_of_the_top_blocks(
    unweighted: keras.Model, unfreeze_blocks: int
) -> None:
    unfreeze(unweighted, 16)
    unfreeze(unweighted, unfreeze_blocks)
    trained = {path.partition("/")[0] for path in (v.path for v in unweighted.trainable_variables)}
    blocks = {name.rsplit("_", 2)[0] for name in trained}
    assert blocks == set(TOP_DOWN[:unfreeze_blocks])
    assert all(name.endswith("_conv") for name in trained)
    assert trained == {layer.name for layer in trained_convolutions(unweighted, unfreeze_blocks)}
    stages = {"conv2_block1", "conv3_block1", "conv4_block1", "conv5_block1"}  # with a shortcut
    assert len(trained) == 3 * unfreeze_blocks + len(blocks & stages)


@pytest.mark.parametrize("unfreeze_blocks", [-1, 17])
@pytest.mark.parametrize("refuses", [unfreeze, trained_convolutions])
def test_a_number_of_blocks_that_is_not_there_is_refused(
    unweighted: keras.Model, refuses: Callable[..., Any], unfreeze_blocks: int
) -> None:
    message = f"from 0 to 16, but is {unfreeze_blocks}"
    with pytest.raises(SettingsError, match=message):
        refuses(unweighted, unfreeze_blocks)
    with pytest.raises(SettingsError, match=message):
        cut_layer(unfreeze_blocks)


@pytest.mark.parametrize("unfreeze_blocks", DEPTHS)
def test_everything_before_the_cut_is_frozen_and_after_it_nothing_is_left_out(
    unweighted: keras.Model, unfreeze_blocks: int
) -> None:
    unfreeze(unweighted, unfreeze_blocks)
    cut = unweighted.get_layer(cut_layer(unfreeze_blocks))
    prefix = keras.Model(unweighted.input, cut.output)
    assert prefix.trainable_variables == []
    if unfreeze_blocks:
        suffix = keras.Model(cut.output, unweighted.output)  # the cut closes the layers in between
        assert len(suffix.trainable_variables) == len(unweighted.trainable_variables)
        after = {layer.name.rsplit("_", 2)[0] for layer in suffix.layers[1:] if layer.weights}
        assert after == set(TOP_DOWN[:unfreeze_blocks])


# --- BatchNorm


@pytest.mark.parametrize(("unfreeze_blocks", "eager"), FITS)
def test_fit_changes_the_convolutions_of_the_top_blocks_alone(
    backbone: keras.Model, images: np.ndarray, unfreeze_blocks: int, eager: bool
) -> None:
    configuration = Configuration(
        unfreeze_blocks=unfreeze_blocks, backbone_lr_factor=1.0, learning_rate=1e-3
    )
    space = ResNet50Space(num_classes=3, image_size=32, weights="none")
    model = space.build_whole(configuration, backbone, seed=0)
    compile_classifier(model, configuration)
    model.run_eagerly = eager
    statistics, affine = moving_statistics(backbone), scales_and_shifts(backbone)
    kernels = convolutions(backbone)

    steps = 1 if eager else 2
    model.fit(images[: 2 * steps], LABELS[: 2 * steps], batch_size=2, epochs=1, verbose=0)

    assert len(statistics) == len(affine) == 106
    assert changed(statistics, moving_statistics(backbone)) == set()
    assert changed(affine, scales_and_shifts(backbone)) == set()
    moved = changed(kernels, convolutions(backbone))
    tops = tuple(f"{block}_" for block in TOP_DOWN[:unfreeze_blocks])
    assert moved == {path for path in kernels if tops and path.startswith(tops)}

    features = np.asarray(backbone(images, training=True))
    assert np.isfinite(features).all()
    alone = np.concatenate([backbone(image[None], training=True) for image in images[:2]])
    assert relative_distance(features[:2], alone) < 1e-5
    assert np.array_equal(features, backbone(images, training=False))


def test_training_false_alone_does_not_stop_the_statistics(
    backbone: keras.Model, images: np.ndarray
) -> None:
    """The wrong twin, as tutorials show it; if Keras ever mends it, this test says so."""
    thaw(backbone)
    inputs = keras.Input((32, 32, 3))
    outputs = keras.layers.Dense(3, activation="softmax")(backbone(inputs, training=False))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = moving_statistics(backbone)
    model.fit(images[:2], LABELS[:2], batch_size=2, epochs=1, verbose=0)
    assert len(changed(before, moving_statistics(backbone))) == 106


def test_a_thawed_batchnorm_depends_on_its_batch(backbone: keras.Model, images: np.ndarray) -> None:
    """The wrong twin of the independence that is tested above."""
    thaw(backbone)
    together = np.asarray(backbone(images, training=True))[:1]
    alone = np.asarray(backbone(images[:1], training=True))
    assert relative_distance(together, alone) > 1e-2
    assert relative_distance(together, backbone(images, training=False)[:1]) > 1e-2
