"""Training from features is training the whole network: how equal, at every depth.

Three things are compared, none of them with a smaller step or fewer epochs than the others:
stored features with recomputed ones, bit for bit; the suffix with the whole network, in the
gradients of the first step and, where rounding is not amplified, in what comes out; and, where it
is amplified, the spread over seeds.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from search_spaces.backbone import (
    CUTS,
    PretrainedBackbone,
    build_backbone,
    cut_layer,
    trained_convolutions,
)
from search_spaces.head import initialize_head
from search_spaces.resnet50 import (
    Configuration,
    CurrentStatistics,
    ResNet50Space,
    compile_classifier,
)
from tuner.features.shards import StoredRows
from tuner.features.store import FeatureSet, FeatureStore, RecomputedRows
from tuner.storage.cache import Cache
from tuner.training import trainer as trainer_module
from tuner.training.compiled import Programs
from tuner.training.rows import Rows
from tuner.training.trainer import Trainer

CLASSES, BATCH, SIZE = 4, 16, 32
SPACE = ResNet50Space(CLASSES, SIZE, "none")
TRAINING, VALIDATION = slice(0, 52), slice(52, 80)  # 3 x 16 + 4
CONFIGURATION = Configuration(
    head_width=128, head_batchnorm=True, dropout=0.3, learning_rate=1e-3, backbone_lr_factor=0.3
)
WEIGHTS_SEED, ORDER = 21, (0, 4)


@pytest.fixture(scope="module")
def pretrained(backbone_weights: list[np.ndarray]) -> PretrainedBackbone:
    model = build_backbone(SIZE, "none")
    model.set_weights(backbone_weights)
    return PretrainedBackbone(model)


@pytest.fixture(scope="module")
def pixels(digits: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    x, y = digits
    chosen = np.flatnonzero(y < CLASSES)[:80]
    return x[chosen].astype(np.uint8), y[chosen]


@pytest.fixture(scope="module")
def store(
    pretrained: PretrainedBackbone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeatureStore]:
    with Cache(tmp_path_factory.mktemp("cache")) as cache:
        yield FeatureStore(pretrained.lend(0), cache)


@pytest.fixture(scope="module")
def programs(pretrained: PretrainedBackbone) -> Programs:
    return Programs(SPACE, pretrained, BATCH)


def split(x: Any, y: np.ndarray) -> tuple[Rows, Rows]:
    return Rows(x[TRAINING], y[TRAINING]), Rows(x[VALIDATION], y[VALIDATION])


def opened(store: FeatureStore, stored: tuple[int, ...], pixels: np.ndarray) -> FeatureSet:
    store.stored = stored
    return store.open(pixels)


# Stored and recomputed: bit for bit


def epochs_from(
    programs: Programs, configuration: Configuration, sets: list[FeatureSet], y: np.ndarray
) -> tuple[Any, dict[str, np.ndarray], np.ndarray]:
    """Two epochs on rows that are read, or computed, in every epoch anew."""
    training, validation = (features.rows(configuration.unfreeze_blocks) for features in sets)
    trainer = programs.trainer(configuration, WEIGHTS_SEED, ORDER)
    metrics = [
        trainer.run_epoch(Rows(training, y[TRAINING]), Rows(validation, y[VALIDATION]))
        for _ in range(2)
    ]
    return metrics, trainer.state(), trainer.predict(validation)


@pytest.mark.parametrize(
    "depth",
    [pytest.param(cut, marks=() if cut in (0, 3) else pytest.mark.slow) for cut in sorted(CUTS)],
)
def test_stored_and_recomputed_features_train_bit_for_bit_alike(
    store: FeatureStore,
    programs: Programs,
    pixels: tuple[np.ndarray, np.ndarray],
    depth: int,
) -> None:
    x, y = pixels
    configuration = dataclasses.replace(CONFIGURATION, unfreeze_blocks=depth)
    results = []
    for stored in ((depth,), ()):
        sets = [opened(store, stored, x[part]) for part in (TRAINING, VALIDATION)]
        kind = StoredRows if stored else RecomputedRows
        assert all(isinstance(features.rows(depth), kind) for features in sets)
        results.append(epochs_from(programs, configuration, sets, y))
    (metrics, state, probabilities), (other_metrics, other_state, other_probabilities) = results
    assert metrics[1].loss < metrics[0].loss, "nothing was learnt: it compares nothing"
    assert any("_conv/" in name for name in state) == bool(depth)
    assert other_metrics == metrics
    assert other_state.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(array, other_state[name], strict=True, err_msg=name)
    np.testing.assert_array_equal(other_probabilities, probabilities)


# The whole network, trained in the ordinary way: the first step


def far_from_kinks(
    backbone: keras.Model, depth: int, x: np.ndarray, activations: np.ndarray, count: int
) -> np.ndarray:
    """The images whose trained ReLUs are all far from switching.

    A ReLU whose input is nothing but rounding switches with it, and the gradient jumps: that says
    nothing about either way of computing it.
    """
    if depth == 0:
        return np.arange(count)
    cut = backbone.get_layer(cut_layer(depth))
    above = backbone.layers[backbone.layers.index(cut) + 1 :]
    relus = [layer for layer in above if isinstance(layer, keras.layers.Activation)]
    assert len(relus) == 3 * depth
    inputs = keras.Model(cut.output, [layer.input for layer in relus])
    margins = [
        np.abs(values).reshape(len(x), -1).min(axis=1) / values.std()
        for values in inputs.predict(activations, verbose=0)
    ]
    return np.argsort(-np.min(margins, axis=0))[:count]


def gradients(model: keras.Model, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Of the loss that training takes, penalties included, with dropout and BatchNorm on."""
    with tf.GradientTape() as tape:
        probabilities = model(x, training=True)
        loss = model.compute_loss(x, y, probabilities)
    return [gradient.numpy() for gradient in tape.gradient(loss, model.trainable_variables)]


def relative_distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize(
    "depth",
    [pytest.param(cut, marks=pytest.mark.slow if cut in (6, 9) else ()) for cut in sorted(CUTS)],
)
def test_the_first_gradients_are_those_of_the_whole_network(
    store: FeatureStore,
    pretrained: PretrainedBackbone,
    pixels: tuple[np.ndarray, np.ndarray],
    depth: int,
) -> None:
    x, y = pixels
    configuration = dataclasses.replace(CONFIGURATION, unfreeze_blocks=depth)
    backbone = pretrained.lend(depth)
    activations = opened(store, (), x).rows(depth)[:]
    chosen = far_from_kinks(backbone, depth, x, activations, BATCH)
    found, paths = [], []
    for build, rows in ((SPACE.build_suffix, activations), (SPACE.build_whole, x)):
        model = build(configuration, backbone, WEIGHTS_SEED)
        compile_classifier(model, configuration)
        found.append(gradients(model, rows[chosen].astype(np.float32), y[chosen]))
        paths.append([variable.path for variable in model.trainable_variables])
    assert paths[0] == paths[1]
    trained = trained_convolutions(backbone, depth)
    assert len(paths[0]) == sum(len(layer.weights) for layer in trained) + 5
    distances = dict(zip(paths[0], map(relative_distance, *found), strict=True))
    assert max(distances.values()) < 1e-4, distances


# The whole network: after several epochs of `fit`


def logits_of(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    body = keras.Model(model.inputs, model.get_layer("head_logits").output)
    return body.predict(rows, batch_size=BATCH, verbose=0)


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers take the rows as they come, as one `fit` without shuffling does."""
    monkeypatch.setattr(trainer_module, "shuffled", lambda count, *_: np.arange(count))


def head_only_distance(
    space: ResNet50Space,
    pretrained: PretrainedBackbone,
    features: Any,
    x: np.ndarray,
    y: Any,
    class_weights: np.ndarray | None = None,
) -> tuple[float, float]:
    """Of the validation logits after four epochs; and how far those epochs have moved them."""
    rows, validation = split(features, y)
    programs = Programs(space, pretrained, BATCH, class_weights)
    trainer = programs.trainer(CONFIGURATION, WEIGHTS_SEED, ORDER)
    before = logits_of(trainer.model, validation.x)
    for _ in range(4):
        trainer.run_epoch(rows, validation)
    found = logits_of(trainer.model, validation.x)
    whole = space.build_whole(CONFIGURATION, pretrained.lend(0), WEIGHTS_SEED)
    compile_classifier(whole, CONFIGURATION)
    whole.fit(
        x[TRAINING],
        y[TRAINING],
        batch_size=BATCH,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[CurrentStatistics(x[TRAINING])],
        class_weight=None if class_weights is None else dict(enumerate(class_weights.tolist())),
    )
    expected = logits_of(whole, x[VALIDATION])
    return float(np.abs(found - expected).max()), float(np.abs(found - before).max())


@pytest.mark.parametrize(
    "class_weights",
    [
        pytest.param(None, id="none"),
        # tests/training/test_compiled.py compares class weights with those of a stock network.
        pytest.param(
            np.array([0.2, 1.0, 3.0, 0.7], np.float32), id="class weights", marks=pytest.mark.slow
        ),
    ],
)
def test_head_only_logits_are_those_of_fit_on_the_images(
    store: FeatureStore,
    pretrained: PretrainedBackbone,
    pixels: tuple[np.ndarray, np.ndarray],
    in_order: None,
    class_weights: np.ndarray | None,
) -> None:
    x, y = pixels
    pretrained.lend(0)
    features = opened(store, (0,), x).rows(0)[:]
    images = x.astype(np.float32)
    distance, moved = head_only_distance(SPACE, pretrained, features, images, y, class_weights)
    assert distance < 1e-3
    assert moved > 1


@pytest.mark.slow
def test_head_only_logits_with_trained_weights_and_drawings(
    pretrained_weights: Path, emoji_folder: Path, tmp_path: Path, in_order: None
) -> None:
    classes = sorted(path for path in emoji_folder.iterdir() if path.is_dir())[:CLASSES]
    files = [
        (sorted(path.iterdir())[n], label) for n in range(20) for label, path in enumerate(classes)
    ]
    x = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files])
    y = np.array([label for _, label in files])
    space = ResNet50Space(CLASSES, 64, pretrained_weights)
    pretrained = PretrainedBackbone(space.build_backbone())
    with Cache(tmp_path) as cache:
        store = FeatureStore(pretrained.lend(0), cache)
        features = opened(store, (0,), x).rows(0)[:]
    distance, moved = head_only_distance(space, pretrained, features, x.astype(np.float32), y)
    assert distance < 1e-3
    assert moved > 1


# The whole network: where rounding is amplified, as a distribution

SEEDS = range(10)
# Two distributions of ten distances each; a median of ten is known to about this factor.
FACTOR = 3.0


@pytest.mark.slow
def test_trained_blocks_are_no_further_from_the_whole_network_than_rounding_carries(
    store: FeatureStore,
    pretrained: PretrainedBackbone,
    programs: Programs,
    pixels: tuple[np.ndarray, np.ndarray],
) -> None:
    """Two epochs of one block at 1e-3: against runs whose features differ by 1e-6 of themselves."""
    configuration = dataclasses.replace(CONFIGURATION, unfreeze_blocks=1, backbone_lr_factor=1.0)
    assert configuration.learning_rate == 1e-3
    x, y = pixels
    backbone = pretrained.lend(1)
    features = opened(store, (1,), x).rows(1)[:]
    whole = SPACE.build_whole(configuration, backbone, 0)
    compile_classifier(whole, configuration)
    on_images = Trainer(whole, BATCH, ())
    images = split(x.astype(np.float32), y)

    def logits(trainer: Trainer, rows: tuple[Rows, Rows]) -> np.ndarray:
        for _ in range(2):
            trainer.run_epoch(*rows)
        return logits_of(trainer.model, rows[1].x)

    apart: dict[str, list[float]] = {"whole network": [], "noise": [], "another seed": []}
    for seed in SEEDS:
        noise = np.random.default_rng(seed).normal(0, 1e-6, features.shape)
        noisy = (features * (1 + noise)).astype(np.float32)
        suffix = logits(programs.trainer(configuration, seed, (0, seed)), split(features, y))
        disturbed = logits(programs.trainer(configuration, seed, (0, seed)), split(noisy, y))
        pretrained.lend(1)
        initialize_head(whole, seed)
        on_images.begin((0, seed))
        ordinary = logits(on_images, images)
        another = logits(programs.trainer(configuration, seed + 1, (0, seed)), split(features, y))
        for name, other in zip(apart, (ordinary, disturbed, another), strict=True):
            apart[name].append(float(np.abs(other - suffix).max()))
    medians = {name: float(np.median(distances)) for name, distances in apart.items()}
    assert medians["whole network"] <= FACTOR * medians["noise"], apart
    assert 0 < FACTOR * medians["noise"] < medians["another seed"], "it would notice nothing"
