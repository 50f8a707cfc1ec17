"""Training: the same numbers as `fit`, the same bits after an interruption."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.optimizer import TransferAdam
from tuner.metrics.scores import balanced_accuracy, score
from tuner.storage.atomic import read_arrays, write_arrays
from tuner.training import trainer as trainer_module
from tuner.training.class_weights import balanced_weights
from tuner.training.rows import Rows
from tuner.training.state import restore_weights
from tuner.training.trainer import EpochMetrics, Trainer, shuffled

CLASSES, BATCH, SEED = 4, 16, (3, 1)
RNG = np.random.default_rng(0)


def rows(count: int) -> Rows:
    """Noisy 8 x 8 images whose brightest quadrant is their class."""
    y = RNG.integers(0, CLASSES, count)
    x = RNG.normal(size=(count, 8, 8, 3)).astype(np.float32)
    for number, label in enumerate(y):
        top, left = 4 * (label // 2), 4 * (label % 2)
        x[number, top : top + 4, left : left + 4] += 0.8
    return Rows(x, y)


TRAINING, VALIDATION = rows(92), rows(50)  # 92 = 5 x 16 + 12: the last batch is a partial one


def network(seed: int = 0, head_batchnorm: bool = True) -> keras.Model:
    """A frozen layer, a trained body with BatchNorm, and a head as `build_head` names it."""
    initializer = keras.initializers.GlorotUniform
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(
        6, 3, kernel_initializer=initializer(7), trainable=False, name="frozen"
    )(inputs)
    # No bias in front of a BatchNorm: its gradient is rounding, and Adam makes whole steps of it.
    x = keras.layers.Conv2D(
        8, 3, strides=2, use_bias=False, kernel_initializer=initializer(seed), name="conv"
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.8, name="bn")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(
        16,
        use_bias=not head_batchnorm,
        kernel_initializer=initializer(seed + 1),
        kernel_regularizer=keras.regularizers.L2(1e-2),
        name="head_dense_1",
    )(x)
    if head_batchnorm:
        x = keras.layers.BatchNormalization(momentum=0.9, name="head_batchnorm_1")(x)
    x = keras.layers.ReLU(name="head_relu_1")(x)
    x = keras.layers.Dropout(0.4, seed=seed + 5, name="head_dropout")(x)
    x = keras.layers.Dense(
        CLASSES,
        kernel_initializer=initializer(seed + 2),
        kernel_regularizer=keras.regularizers.L2(1e-2),
        name="head_logits",
    )(x)
    return keras.Model(inputs, keras.layers.Softmax(name="head_probabilities")(x))


def compiled(optimizer: keras.optimizers.Optimizer | None = None, **options: Any) -> keras.Model:
    model = network(**options)
    model.compile(
        optimizer or TransferAdam(1e-2, backbone_lr_factor=0.3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy", "sparse_categorical_crossentropy"],
        jit_compile=False,
    )
    return model


def tiny() -> keras.Model:
    """A softmax on the pixels, where the network itself is not the point."""
    inputs = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten(name="flatten")(inputs)
    dropped = keras.layers.Dropout(0.1, seed=1, name="head_dropout")(flat)
    initializer = keras.initializers.GlorotUniform(1)
    outputs = keras.layers.Dense(
        CLASSES, activation="softmax", kernel_initializer=initializer, name="head_logits"
    )(dropped)
    model = keras.Model(inputs, outputs)
    model.compile(TransferAdam(1e-2), loss="sparse_categorical_crossentropy")
    return model


def trained(
    model: keras.Model, epochs: int, class_weights: np.ndarray | None = None
) -> tuple[Trainer, list[EpochMetrics]]:
    trainer = Trainer(model, BATCH, SEED, class_weights)
    return trainer, [trainer.run_epoch(TRAINING, VALIDATION) for _ in range(epochs)]


def assert_same_state(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], strict=True, err_msg=name)


# Against fit

OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    # one update_step for each variable
    "transfer": lambda: TransferAdam(1e-2, backbone_lr_factor=0.3),
    "transfer with a schedule": lambda: TransferAdam(
        keras.optimizers.schedules.ExponentialDecay(1e-2, 6, 0.7), backbone_lr_factor=0.3
    ),
    # optimizer.apply
    "transfer with clipnorm": lambda: TransferAdam(1e-2, clipnorm=0.05),
    "transfer with weight decay": lambda: TransferAdam(1e-2, weight_decay=0.1),
    "adam with clipnorm": lambda: keras.optimizers.Adam(1e-2, clipnorm=0.05),
    "sgd with momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
}


def fitted(model: keras.Model, epochs: int, **options: Any) -> list[dict[str, float]]:
    """What `fit` reports when it meets the rows in the order in which a Trainer takes them."""
    history = []
    for epoch in range(epochs):
        order = np.random.default_rng((*SEED, epoch)).permutation(len(TRAINING.y))
        fit = model.fit(
            TRAINING.x[order],
            TRAINING.y[order],
            batch_size=BATCH,
            shuffle=False,
            validation_data=(VALIDATION.x, VALIDATION.y),
            verbose=0,
            **options,
        )
        history.append({name: values[-1] for name, values in fit.history.items()})
    return history


def assert_trains_as_fit_does(
    ours: keras.Model,
    theirs: keras.Model,
    epochs: int = 4,
    class_weights: np.ndarray | None = None,
) -> None:
    _, metrics = trained(ours, epochs, class_weights)
    class_weight = None if class_weights is None else dict(enumerate(class_weights.tolist()))
    history = fitted(theirs, epochs, class_weight=class_weight)
    entropy = "sparse_categorical_crossentropy"
    for mine, fit in zip(metrics, history, strict=True):
        np.testing.assert_allclose(
            dataclasses.astuple(mine)[:4],
            [fit[n] for n in (entropy, "accuracy", f"val_{entropy}", "val_accuracy")],
            rtol=0,
            atol=1e-5,
        )
    assert metrics[-1].loss < 0.9 * metrics[0].loss, "nothing was learnt: it compares nothing"
    for mine, variable in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine, variable, rtol=0, atol=1e-5, err_msg=variable.path)
    assert int(ours.optimizer.iterations) == int(theirs.optimizer.iterations) == epochs * 6


# The same path as "transfer with weight decay", and the same option as "adam with clipnorm".
LONG = "transfer with clipnorm"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == LONG else ()) for name in OPTIMIZERS],
)
def test_it_trains_as_fit_does(name: str) -> None:
    models = [compiled(OPTIMIZERS[name](), head_batchnorm=False) for _ in range(2)]
    assert_trains_as_fit_does(*models)


# Uneven enough that without them the comparison below fails.
UNEVEN = np.array([0.5, 1.0, 2.0, 0.8], np.float32)


@pytest.mark.parametrize("name", ["transfer", "adam with clipnorm"])
def test_class_weights_train_as_those_of_fit_and_are_in_no_metric(name: str) -> None:
    models = [compiled(OPTIMIZERS[name](), head_batchnorm=False) for _ in range(3)]
    assert_trains_as_fit_does(*models[:2], class_weights=UNEVEN)
    trained(models[2], 4)
    kernels = [model.get_layer("head_logits").kernel.numpy() for model in models]
    assert np.abs(kernels[2] - kernels[1]).max() > 1e-2, "the weights change nothing"


def test_without_class_weights_keras_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    compute_loss = keras.Model.compute_loss

    def spy(self: keras.Model, *arguments: Any, sample_weight: Any) -> Any:
        given.append(sample_weight)
        return compute_loss(self, *arguments, sample_weight=sample_weight)

    monkeypatch.setattr(keras.Model, "compute_loss", spy)
    trained(tiny(), 1)
    assert set(given) == {None}
    trained(tiny(), 1, balanced_weights(TRAINING.y))
    assert given[-1] is not None


def test_constraints_are_kept() -> None:
    model = compiled(TransferAdam(1e-2))
    kernel = model.get_layer("head_dense_1").kernel
    kernel.constraint = keras.constraints.MaxNorm(0.5)
    trained(model, 1)
    assert np.linalg.norm(kernel.numpy(), axis=0).max() <= 0.5 + 1e-6


def test_the_backbone_takes_smaller_steps() -> None:
    moved = []
    for factor in (1.0, 0.01):
        model = compiled(TransferAdam(1e-2, backbone_lr_factor=factor))
        before = [model.get_layer(name).kernel.numpy() for name in ("conv", "head_dense_1")]
        trainer = Trainer(model, 92, SEED)  # one step
        trainer.run_epoch(TRAINING, VALIDATION)
        after = [model.get_layer(name).kernel.numpy() for name in ("conv", "head_dense_1")]
        moved.append([np.abs(a - b).max() for a, b in zip(after, before, strict=True)])
    (conv, head), (scaled_conv, same_head) = moved
    np.testing.assert_allclose(scaled_conv, 0.01 * conv, rtol=1e-2)
    np.testing.assert_allclose(same_head, head, rtol=1e-6)


# The head's statistics


def test_the_head_statistics_are_those_of_the_training_rows() -> None:
    model = compiled()
    trained(model, 1)
    body = keras.Model(model.inputs, model.get_layer("head_dense_1").output)
    hidden = body.predict(TRAINING.x, batch_size=BATCH, verbose=0)
    batchnorm = model.get_layer("head_batchnorm_1")
    np.testing.assert_allclose(batchnorm.moving_mean, hidden.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batchnorm.moving_variance, hidden.var(0), rtol=1e-4, atol=1e-5)


def test_head_statistics_change_no_training_step() -> None:
    """Training-mode BatchNorm does not look at them: the weights stay those of `fit`."""
    ours, theirs = compiled(), compiled()
    trained(ours, 3)
    fitted(theirs, 3)
    for mine, variable in zip(ours.trainable_weights, theirs.trainable_weights, strict=True):
        np.testing.assert_allclose(mine, variable, rtol=0, atol=1e-5, err_msg=variable.path)


# What a state holds


def assert_holds(state: dict[str, np.ndarray], variables: list[Any]) -> None:
    """Beside the epoch and the optimizer's slots these variables, each once, and no other."""
    held = [
        array
        for name, array in state.items()
        if name != "epoch" and not name.startswith("optimizer/")
    ]
    expected = [variable.numpy() for variable in variables]
    assert sorted(a.tobytes() for a in held) == sorted(a.tobytes() for a in expected)


def test_the_state_holds_all_that_is_trained_and_nothing_that_is_frozen() -> None:
    trainer, _ = trained(compiled(), 2)
    state = trainer.state()
    layers = ("conv", "bn", "head_dense_1", "head_batchnorm_1", "head_dropout", "head_logits")
    assert_holds(state, [v for n in layers for v in trainer.model.get_layer(n).variables])
    assert len(trainer.model.get_layer("head_dropout").variables) == 1  # where the seed stands
    slots = [name for name in state if name.startswith("optimizer/")]
    assert len(slots) == len(trainer.model.optimizer.variables)
    assert len(slots) >= 2 + 2 * len(trainer.model.trainable_variables)
    assert state["epoch"] == 2
    assert trainer.parameters == sum(v.numpy().size for v in trainer.model.trainable_variables)


def test_a_final_state_is_enough_to_predict() -> None:
    trainer, _ = trained(compiled(), 2)
    final = trainer.state(final=True)
    whole = trainer.state()
    assert final.keys() == {name for name in whole if not name.startswith("optimizer/")}
    model = network(seed=99)
    restore_weights(model, final)
    theirs = model.predict(VALIDATION.x, batch_size=BATCH, verbose=0)
    np.testing.assert_allclose(trainer.predict(VALIDATION.x), theirs, rtol=0, atol=1e-6)


def test_layers_of_a_nested_model_are_in_the_state() -> None:
    inner_input = keras.Input((8, 8, 3))
    frozen = keras.layers.Dense(4, trainable=False, name="frozen")
    inner = keras.Model(
        inner_input, keras.layers.Dense(3, name="inner")(frozen(inner_input)), name="nested"
    )
    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(inner(inputs))
    model = keras.Model(
        inputs, keras.layers.Dense(CLASSES, activation="softmax", name="head_logits")(pooled)
    )
    model.compile(TransferAdam(1e-2), loss="sparse_categorical_crossentropy")
    state = Trainer(model, BATCH, SEED).state()
    assert_holds(
        state, [*inner.get_layer("inner").variables, *model.get_layer("head_logits").variables]
    )


# Interruption


@pytest.mark.parametrize(
    "name",
    [
        "transfer",
        pytest.param("transfer with a schedule", marks=pytest.mark.slow),
        "adam with clipnorm",
    ],
)
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path: Path, name: str) -> None:
    whole, expected = trained(compiled(OPTIMIZERS[name]()), 4)
    first, begun = trained(compiled(OPTIMIZERS[name]()), 2)
    write_arrays(tmp_path / "state.npz", first.state())
    # another process would build the same network; other weights and seeds must not matter
    second = Trainer(compiled(OPTIMIZERS[name](), seed=99), BATCH, SEED)
    second.restore(read_arrays(tmp_path / "state.npz"))
    assert second.epoch == 2
    assert_same_state(second.state(), first.state())
    rest = [second.run_epoch(TRAINING, VALIDATION) for _ in range(2)]
    assert [*begun, *rest] == expected
    assert_same_state(second.state(), whole.state())
    np.testing.assert_array_equal(second.predict(VALIDATION.x), whole.predict(VALIDATION.x))


def test_a_state_is_a_copy() -> None:
    trainer, _ = trained(tiny(), 1)
    state = trainer.state()
    before = {name: array.copy() for name, array in state.items()}
    trainer.run_epoch(TRAINING, VALIDATION)
    assert_same_state(state, before)
    trainer.restore(state)
    again = trainer.run_epoch(TRAINING, VALIDATION)
    trainer.restore(state)
    assert trainer.run_epoch(TRAINING, VALIDATION) == again


def test_a_state_of_another_network_is_refused() -> None:
    state = Trainer(compiled(head_batchnorm=False), BATCH, SEED).state()
    with pytest.raises(KeyError, match="head_batchnorm"):
        Trainer(compiled(), BATCH, SEED).restore(state)


def test_layers_without_names_of_their_own_go_on_too() -> None:
    def build() -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Flatten(),
                keras.layers.Dense(8, activation="relu"),
                keras.layers.Dropout(0.5, seed=1),
                keras.layers.Dense(CLASSES, activation="softmax"),
            ]
        )
        model.compile(TransferAdam(1e-2), loss="sparse_categorical_crossentropy")
        return model

    first, _ = trained(build(), 1)
    second = Trainer(build(), BATCH, SEED)
    second.restore(first.state())
    np.testing.assert_array_equal(second.predict(VALIDATION.x), first.predict(VALIDATION.x))


def test_every_variable_of_a_composite_layer_is_in_the_state() -> None:
    inputs = keras.Input((8, 8, 3))
    sequence = keras.layers.Reshape((8, 24), name="reshape")(inputs)
    x = keras.layers.Bidirectional(keras.layers.SimpleRNN(3), name="both")(sequence)
    outputs = keras.layers.Dense(CLASSES, activation="softmax", name="head_logits")(x)
    model = keras.Model(inputs, outputs)
    model.compile(TransferAdam(1e-2), loss="sparse_categorical_crossentropy")
    state = Trainer(model, BATCH, SEED).state()
    assert_holds(
        state, [*model.get_layer("both").variables, *model.get_layer("head_logits").variables]
    )


# Pieces


def test_the_size_of_a_window_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the order of the rows, which does depend on it where not all fit into one window."""
    whole, expected = trained(compiled(), 3)
    monkeypatch.setattr(trainer_module, "_WINDOW_BYTES", 1)
    monkeypatch.setattr(
        trainer_module, "shuffled", lambda count, _, random: random.permutation(count)
    )
    pieces, metrics = trained(compiled(), 3)
    assert pieces._window(TRAINING.x) == 32 < len(TRAINING.y) / 2
    assert_same_state(pieces.state(), whole.state())
    np.testing.assert_array_equal(pieces.predict(TRAINING.x), whole.predict(TRAINING.x))
    for piece, one in zip(metrics, expected, strict=True):
        assert dataclasses.replace(piece, loss=one.loss, val_loss=one.val_loss) == one
        assert piece.loss == pytest.approx(one.loss, rel=1e-6)  # a report: it is summed otherwise
        # Some processors compute a row in its last bit otherwise beside fewer rows.
        assert piece.val_loss == pytest.approx(one.val_loss, rel=1e-7)


def test_many_windows_train_on_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "_WINDOW_BYTES", 1)

    class Noting:
        """An array that records which rows are read."""

        shape, dtype = TRAINING.x.shape, TRAINING.x.dtype

        def __init__(self) -> None:
            self.asked: list[int] = []

        def __len__(self) -> int:
            return len(TRAINING.x)

        def __getitem__(self, index: Any) -> np.ndarray:
            self.asked += np.arange(92)[index].tolist()
            return TRAINING.x[index]

    noting = Noting()
    trainer = Trainer(tiny(), BATCH, SEED)
    trainer.run_epoch(Rows(noting, TRAINING.y), VALIDATION)
    assert sorted(noting.asked) == list(range(92))
    assert int(trainer.model.optimizer.iterations) == 6  # five whole batches and a partial one


@settings(deadline=None)
@given(count=st.integers(1, 700), blocks=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_an_order_takes_every_row_once_and_few_blocks_at_a_time(
    count: int, blocks: int, seed: int
) -> None:
    window = 32 * blocks
    order = shuffled(count, window, np.random.default_rng(seed))
    assert sorted(order) == list(range(count))
    if count <= window:
        plain = np.random.default_rng(seed).permutation(count)
        np.testing.assert_array_equal(order, plain)
    for start in range(0, count, window):
        # the one block that is not whole may shift the others across a border
        assert len(set(order[start : start + window] // 32)) <= blocks + 2


def test_an_order_differs_from_epoch_to_epoch() -> None:
    orders = [shuffled(640, 64, np.random.default_rng((0, 0, epoch))) for epoch in range(3)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (orders[one] == orders[other]).mean() < 0.1
    assert (np.diff(orders[0]) == 1).mean() < 0.1


def test_another_trial_begins_as_if_the_first_had_not_been() -> None:
    fresh, expected = trained(compiled(), 2)
    used = Trainer(compiled(), BATCH, (9, 9))
    initial = used.state()
    used.run_epoch(TRAINING, VALIDATION)
    for name, variable in used._saved.items():  # the caller sets the model's own variables
        variable.assign(initial[name])
    used.begin(SEED)
    assert [used.run_epoch(TRAINING, VALIDATION) for _ in range(2)] == expected
    assert_same_state(used.state(), fresh.state())


def test_rows_may_be_a_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", TRAINING.x)
    mapped = Rows(np.load(tmp_path / "x.npy", mmap_mode="r"), TRAINING.y)
    one, other = Trainer(tiny(), BATCH, SEED), Trainer(tiny(), BATCH, SEED)
    assert one.run_epoch(mapped, VALIDATION) == other.run_epoch(TRAINING, VALIDATION)
    assert_same_state(one.state(), other.state())


def test_pixels_as_bytes_are_the_same_rows() -> None:
    pixels = RNG.integers(0, 256, (40, 8, 8, 3), np.uint8)
    y = RNG.integers(0, CLASSES, 40)
    one, other = Trainer(tiny(), BATCH, SEED), Trainer(tiny(), BATCH, SEED)
    metrics = one.run_epoch(Rows(pixels, y), Rows(pixels, y))
    floats = Rows(pixels.astype(np.float32), y)
    assert other.run_epoch(floats, floats) == metrics


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    outputs = []
    for seed in ((3, 1), (3, 1), (3, 2)):
        trainer = Trainer(tiny(), BATCH, seed)
        trainer.run_epoch(TRAINING, VALIDATION)
        outputs.append(trainer.predict(VALIDATION.x))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


# Prediction and score


def test_predict_is_that_of_keras() -> None:
    model = compiled()
    trainer, metrics = trained(model, 2)
    probabilities = trainer.predict(VALIDATION.x)
    assert probabilities.shape == (50, CLASSES)
    assert probabilities.dtype == np.float32
    theirs = model.predict(VALIDATION.x, batch_size=BATCH, verbose=0)
    np.testing.assert_allclose(probabilities, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert score(probabilities, VALIDATION.y) == (metrics[-1].val_loss, metrics[-1].val_accuracy)
    balanced = balanced_accuracy(probabilities, VALIDATION.y)
    assert balanced == metrics[-1].val_balanced_accuracy != metrics[-1].val_accuracy
    np.testing.assert_array_equal(trainer.predict(VALIDATION.x), probabilities)  # no dropout in it


def test_score_by_hand() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]], np.float32)
    loss, accuracy = score(probabilities, np.array([0, 1, 2]))
    assert loss == pytest.approx(-(np.log(0.5) + np.log(0.8) + np.log(0.3)) / 3, rel=1e-6)
    assert accuracy == pytest.approx(2 / 3)


def test_score_of_what_was_thought_impossible() -> None:
    probabilities = np.array([[1.0, 0.0]], np.float32)
    assert score(probabilities, np.array([1])) == (pytest.approx(-np.log(1e-7)), 0.0)
    assert score(probabilities, np.array([0])) == (0.0, 1.0)


def test_score_of_nan() -> None:
    loss, _ = score(np.array([[np.nan, np.nan]], np.float32), np.array([0]))
    assert np.isnan(loss)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_loss_that_is_not_finite(name: str, bad: float) -> None:
    good = EpochMetrics(
        1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5, val_balanced_accuracy=0.5
    )
    assert good.finite()
    assert not dataclasses.replace(good, **{name: bad}).finite()


def test_training_on_nan_gives_metrics_that_are_not_finite() -> None:
    spoilt = Rows(TRAINING.x.copy(), TRAINING.y)
    spoilt.x[5] = np.nan
    assert not Trainer(tiny(), BATCH, SEED).run_epoch(spoilt, VALIDATION).finite()
