from typing import Any

import keras
import numpy as np
import pytest

from search_spaces.head import (
    STATISTICS_ROWS,
    HeadStatistics,
    build_head,
    head_batchnorms,
    is_head,
    statistics_rows,
)
from search_spaces.optimizer import TransferAdam
from tuner.training.rows import Rows
from tuner.training.trainer import Trainer

CLASSES, CHANNELS = 8, 64
BN_EPSILON = 1e-3


def head(
    layers: int = 1,
    width: int = 128,
    batchnorm: bool = True,
    dropout: float = 0.0,
    l2: float = 1e-4,
    seed: int = 0,
) -> keras.Model:
    features = keras.Input((CHANNELS,))
    options: dict[str, Any] = {"batchnorm": batchnorm, "dropout": dropout, "l2": l2, "seed": seed}
    return keras.Model(
        features, build_head(features, CLASSES, layers=layers, width=width, **options)
    )


def clusters(rows: int, seed: int) -> Rows:
    """Features as pooled ReLU outputs are: positive, far from zero mean, of unequal scale."""
    centres = np.random.default_rng(0).normal(size=(CLASSES, CHANNELS))
    rng = np.random.default_rng((1, seed))
    y = rng.permutation(np.arange(rows) % CLASSES)
    scales = np.geomspace(0.2, 2.0, CHANNELS)
    x = (4.0 + centres[y] + rng.normal(size=(rows, CHANNELS))) * scales
    return Rows(np.maximum(x, 0).astype("float32"), y)


# --- structure


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers_stand_in_this_order(layers: int, batchnorm: bool, dropout: float) -> None:
    model = head(layers, width=512, batchnorm=batchnorm, dropout=dropout)
    expected = []
    for number in range(1, layers + 1):
        expected.append(f"head_dense_{number}")
        expected += [f"head_batchnorm_{number}"] if batchnorm else []
        expected.append(f"head_relu_{number}")
    expected += ["head_dropout"] if dropout else []
    expected += ["head_logits", "head_probabilities"]
    assert [layer.name for layer in model.layers[1:]] == expected
    assert all(is_head(layer.name) for layer in model.layers[1:])
    assert all(is_head(variable.path) for variable in model.weights)

    widths = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert widths == [*(512, 256)[:layers], CLASSES]
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropouts] == ([dropout] if dropout else [])


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_every_kernel_has_the_l2_penalty(layers: int) -> None:
    model = head(layers, l2=3e-3)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert len(dense) == layers + 1
    expected = sum(3e-3 * float(np.square(layer.kernel).sum()) for layer in dense)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_a_bias_stands_where_no_batchnorm_follows() -> None:
    assert not head(batchnorm=True).get_layer("head_dense_1").use_bias
    assert head(batchnorm=False).get_layer("head_dense_1").use_bias
    assert head(batchnorm=True).get_layer("head_logits").use_bias


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_gives_probabilities(layers: int) -> None:
    probabilities = np.asarray(head(layers)(clusters(16, 0).x))
    assert probabilities.shape == (16, CLASSES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_the_seed_decides_weights_and_dropout() -> None:
    rows = clusters(16, 0).x

    def outputs(seed: int) -> np.ndarray:
        return np.asarray(head(2, dropout=0.5, seed=seed)(rows, training=True))

    assert np.array_equal(outputs(1), outputs(1))
    assert not np.array_equal(outputs(1), outputs(2))


def test_kernels_of_one_head_differ() -> None:
    model = head(2, width=128)
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert len({float(kernel.numpy().ravel()[0]) for kernel in kernels}) == 3


@pytest.mark.parametrize("name", ["dense", "conv5_block3_3_conv/kernel", "my_head_dense", ""])
def test_other_names_are_not_the_heads(name: str) -> None:
    assert not is_head(name)


# --- which rows


@pytest.mark.parametrize("count", [1, 2, 600, STATISTICS_ROWS, STATISTICS_ROWS + 1, 100_000])
def test_statistics_rows_are_spread_over_all(count: int) -> None:
    rows = statistics_rows(count)
    assert rows.dtype == np.int64
    assert len(rows) == min(count, STATISTICS_ROWS)
    assert rows[0] == 0
    assert rows[-1] == count - 1
    assert (np.diff(rows) >= 1).all()
    if count <= STATISTICS_ROWS:
        assert np.array_equal(rows, np.arange(count))


# --- statistics


def by_numpy(model: keras.Model, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of the input of each BatchNorm over all rows, in one full pass."""
    x, found = rows.astype("float64"), []
    for layer in model.layers[1:]:
        weights = [weight.astype("float64") for weight in layer.get_weights()]
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = x.mean(axis=0), x.var(axis=0)
            found.append((mean, variance))
            x = (x - mean) / np.sqrt(variance + BN_EPSILON) * weights[0] + weights[1]
        elif isinstance(layer, keras.layers.Dense):
            x = x @ weights[0] + (weights[1] if layer.use_bias else 0)
        elif isinstance(layer, keras.layers.ReLU):
            x = np.maximum(x, 0)
    return found


def accuracy_by_numpy(model: keras.Model, training: np.ndarray, validation: Rows) -> float:
    """Accuracy of the model's weights with full-pass statistics in place of its own."""
    statistics = iter(by_numpy(model, training))
    x = validation.x.astype("float64")
    for layer in model.layers[1:]:
        weights = [weight.astype("float64") for weight in layer.get_weights()]
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = next(statistics)
            x = (x - mean) / np.sqrt(variance + BN_EPSILON) * weights[0] + weights[1]
        elif isinstance(layer, keras.layers.Dense):
            x = x @ weights[0] + (weights[1] if layer.use_bias else 0)
        elif isinstance(layer, keras.layers.ReLU):
            x = np.maximum(x, 0)
    return float((x.argmax(axis=1) == validation.y).mean())


def assert_current(model: keras.Model, rows: np.ndarray) -> None:
    layers = head_batchnorms(model)
    for layer, (mean, variance) in zip(layers, by_numpy(model, rows), strict=True):
        deviation = np.sqrt(variance)
        assert np.abs(layer.moving_mean - mean).max() < 1e-4 * deviation.max()
        np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-3)


def scramble(model: keras.Model) -> None:
    """Gives every weight of the head a value that no initializer gives."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(variable + rng.uniform(0.1, 0.3, variable.shape))


@pytest.mark.parametrize("layers", [1, 2])
def test_update_sets_the_statistics_of_all_rows(layers: int) -> None:
    model, rows = head(layers, dropout=0.5), clusters(300, 0).x
    scramble(model)
    before = [weight for layer in model.layers for weight in layer.get_weights()]
    HeadStatistics(model).update(rows)
    assert_current(model, rows)
    after = [weight for layer in model.layers for weight in layer.get_weights()]
    differ = sum(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert differ == 2 * layers  # nothing but the statistics


def test_update_from_rows_passes_them_through_the_body() -> None:
    """On a model with a body; in batches that do not divide the rows."""
    rows = np.random.default_rng(0).normal(size=(50, 5)).astype("float32")
    inputs = keras.Input((5,))
    body = keras.layers.Dense(CHANNELS, activation="relu", name="body")
    probabilities = build_head(
        body(inputs), CLASSES, layers=2, width=16, batchnorm=True, dropout=0.1, l2=0, seed=0
    )
    model = keras.Model(inputs, probabilities)
    statistics = HeadStatistics(model)
    assert statistics.needed
    statistics.update_from_rows(rows, batch_size=16)
    features = np.asarray(body(rows))
    mean, variance = head_batchnorms(model)[0].get_weights()[2:]
    hidden = features @ model.get_layer("head_dense_1").kernel.numpy()
    np.testing.assert_allclose(mean, hidden.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(variance, hidden.var(axis=0), rtol=1e-4)
    np.testing.assert_allclose(statistics.body.predict(rows, verbose=0), features, atol=1e-6)


@pytest.mark.parametrize(("layers", "batchnorm"), [(0, True), (0, False), (2, False)])
def test_a_head_without_batchnorm_needs_no_statistics(layers: int, batchnorm: bool) -> None:
    assert not HeadStatistics(head(layers, batchnorm=batchnorm)).needed


# --- lag

VALIDATION = clusters(2000, 1)
STEPS = 10
WIDTH = 2048  # wide enough for ten steps of 1e-4 to teach something


def compiled(model: keras.Model, learning_rate: float) -> keras.Model:
    model.compile(
        TransferAdam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


@pytest.mark.parametrize(
    ("layers", "rows", "learning_rate"),
    [
        *((layers, 320, rate) for layers in (1, 2) for rate in (1e-4, 1e-3, 1e-2)),
        (1, 9000, 1e-3),
        *(pytest.param(1, 9000, rate, marks=pytest.mark.slow) for rate in (1e-4, 1e-2)),
    ],
)
def test_statistics_are_current_after_one_short_epoch(
    layers: int, rows: int, learning_rate: float
) -> None:
    """Within a point of the same weights with the statistics of one pass over all rows."""
    training = clusters(rows, 0)
    model = compiled(head(layers, WIDTH), learning_rate)
    metrics = Trainer(model, rows // STEPS, seed=(0, 0)).run_epoch(training, VALIDATION)
    assert int(model.optimizer.iterations) == STEPS
    reference = accuracy_by_numpy(model, training.x, VALIDATION)
    assert reference > 3 / CLASSES  # it has learnt something that lagging statistics would hide
    assert metrics.val_accuracy == pytest.approx(reference, abs=0.01)


@pytest.mark.parametrize("learning_rate", [1e-4, 1e-3, 1e-2])
def test_keras_own_momentum_lags_far_behind(learning_rate: float) -> None:
    """The wrong twin: the same head with momentum 0.99 in a plain `fit`."""
    training = clusters(320, 0)
    model = compiled(head(1, WIDTH), learning_rate)
    for layer in head_batchnorms(model):
        layer.momentum = 0.99
    model.fit(training.x, training.y, batch_size=32, epochs=1, shuffle=False, verbose=0)
    _, accuracy = model.evaluate(VALIDATION.x, VALIDATION.y, verbose=0)
    assert accuracy < accuracy_by_numpy(model, training.x, VALIDATION) - 0.1
