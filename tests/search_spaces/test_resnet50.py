import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from search_spaces.head import build_head, head_batchnorms
from search_spaces.resnet50 import (
    BACKBONE_LR_FACTORS,
    HEAD_WIDTHS,
    UNFREEZE_BLOCKS,
    Configuration,
    CurrentStatistics,
    ResNet50Space,
    compile_classifier,
)
from tuner.errors import SettingsError

NAMES = {
    "unfreeze_blocks",
    "backbone_lr_factor",
    "head_layers",
    "head_width",
    "head_batchnorm",
    "dropout",
    "l2",
    "learning_rate",
}


@pytest.fixture(scope="module")
def space() -> ResNet50Space:
    return ResNet50Space(num_classes=10, image_size=32, weights="none")


def declared(space: ResNet50Space) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    space.declare_hyperparameters(hp)
    return hp


# --- hyperparameters


def test_declares_these_hyperparameters(space: ResNet50Space) -> None:
    by_name = {hp.name: hp for hp in declared(space).space}
    assert set(by_name) == NAMES
    assert by_name["unfreeze_blocks"].values == UNFREEZE_BLOCKS == [0, 1, 2, 3, 6, 9, 16]
    assert by_name["backbone_lr_factor"].values == BACKBONE_LR_FACTORS == [1.0, 0.3, 0.1, 0.03]
    assert by_name["head_layers"].values == [0, 1, 2]
    assert by_name["head_width"].values == HEAD_WIDTHS == [128, 256, 512, 1024, 2048]
    assert isinstance(by_name["head_batchnorm"], keras_tuner.engine.hyperparameters.Boolean)
    ranges = {
        name: (by_name[name].min_value, by_name[name].max_value, by_name[name].sampling)
        for name in ("dropout", "l2", "learning_rate")
    }
    assert ranges == {
        "dropout": (0.0, 0.6, "linear"),
        "l2": (1e-6, 1e-2, "log"),
        "learning_rate": (1e-5, 1e-2, "log"),
    }


def test_defaults_are_the_default_configuration(space: ResNet50Space) -> None:
    hp = declared(space)
    assert Configuration.of(hp.values) == Configuration()
    assert "backbone_lr_factor" not in hp.values  # nothing is unfrozen by default


@pytest.mark.parametrize(
    "values",
    [
        {"unfreeze_blocks": 3, "learning_rate": 1e-4},
        {"unfreeze_blocks": 3, "tuner/epochs": 4, "tuner/bracket": 1},
    ],
)
def test_a_configuration_takes_the_values_it_knows(values: dict[str, Any]) -> None:
    configuration = Configuration.of(values)
    assert configuration.unfreeze_blocks == 3
    assert configuration.learning_rate == values.get("learning_rate", 1e-3)
    assert configuration.head_width == 256


def expected_names(values: Mapping[str, Any]) -> set[str]:
    absent = set()
    if values["unfreeze_blocks"] == 0:
        absent |= {"backbone_lr_factor"}
    if values["head_layers"] == 0:
        absent |= {"head_width", "head_batchnorm"}
    return NAMES - absent


@pytest.mark.parametrize(
    "oracle",
    [
        keras_tuner.oracles.RandomSearchOracle,
        keras_tuner.oracles.HyperbandOracle,
        keras_tuner.oracles.BayesianOptimizationOracle,
    ],
)
def test_keras_tuner_draws_active_hyperparameters_alone(
    space: ResNet50Space, oracle: Callable[..., Any], tmp_path: Path
) -> None:
    extras = {} if oracle is keras_tuner.oracles.HyperbandOracle else {"max_trials": 40}
    drawing = oracle(
        objective=keras_tuner.Objective("val_accuracy", "max"),
        hyperparameters=declared(space),
        seed=3,
        **extras,
    )
    drawing._set_project_dir(tmp_path, "draws")
    drawn = [drawing.create_trial(f"tuner{number}") for number in range(40)]
    values = [
        {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/")}
        for trial in drawn
        if trial.status == "RUNNING"
    ]
    assert len(values) == 40
    assert all(set(each) == expected_names(each) for each in values)
    for parent in ("unfreeze_blocks", "head_layers"):  # both cases have come up
        assert {each[parent] == 0 for each in values} == {True, False}


# --- building


def test_a_default_build_classifies_images(space: ResNet50Space, images: np.ndarray) -> None:
    model = space.build(keras_tuner.HyperParameters())
    assert model.input_shape == (None, 32, 32, 3)
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (8, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert model.compiled
    assert model.loss == "sparse_categorical_crossentropy"
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


def test_build_uses_the_values(space: ResNet50Space) -> None:
    hp = keras_tuner.HyperParameters()
    hp.values = {
        "unfreeze_blocks": 2,
        "backbone_lr_factor": 0.3,
        "head_layers": 2,
        "head_width": 128,
        "head_batchnorm": True,
        "dropout": 0.5,
        "l2": 1e-3,
        "learning_rate": 2e-4,
    }
    model = space.build(hp)
    assert model.get_layer("head_dense_1").units == 128
    assert model.get_layer("head_dense_2").units == 64
    assert model.get_layer("head_dropout").rate == 0.5
    assert len(head_batchnorms(model)) == 2
    assert float(model.get_layer("head_logits").kernel_regularizer.l2) == pytest.approx(1e-3)
    assert float(model.optimizer.learning_rate) == pytest.approx(2e-4)
    assert model.optimizer.get_config()["backbone_lr_factor"] == 0.3
    trained = {variable.path for variable in model.get_layer("resnet50").trainable_variables}
    assert {path.rsplit("_", 2)[0] for path in trained} == {"conv5_block2", "conv5_block3"}


def test_build_whole_is_not_compiled(space: ResNet50Space, backbone: keras.Model) -> None:
    assert not space.build_whole(Configuration(), backbone, seed=0).compiled


def test_the_seed_decides_the_heads_weights(space: ResNet50Space, backbone: keras.Model) -> None:
    kernels = [
        space.build_whole(Configuration(), backbone, seed).get_layer("head_logits").kernel.numpy()
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize("unfreeze_blocks", [-1, 17])
def test_build_refuses_a_depth_that_is_not_there(
    space: ResNet50Space, backbone: keras.Model, unfreeze_blocks: int
) -> None:
    configuration = Configuration(unfreeze_blocks=unfreeze_blocks)
    for build in (space.build_whole, space.build_suffix):
        with pytest.raises(SettingsError, match="unfreeze_blocks must be from 0 to 16"):
            build(configuration, backbone, seed=0)


@pytest.mark.parametrize("num_classes", [1, 0, -3])
def test_less_than_two_classes_are_refused(num_classes: int) -> None:
    with pytest.raises(SettingsError, match=f"at least 2 classes, but there are {num_classes}"):
        ResNet50Space(num_classes)


def test_a_whole_model_saves_and_loads(
    space: ResNet50Space, backbone: keras.Model, images: np.ndarray, tmp_path: Path
) -> None:
    model = space.build_whole(Configuration(unfreeze_blocks=1), backbone, seed=0)
    model.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras", safe_mode=True)
    assert np.array_equal(np.asarray(loaded(images)), np.asarray(model(images)))


# --- prefix and suffix


def features_at(backbone: keras.Model, unfreeze_blocks: int, images: np.ndarray) -> np.ndarray:
    """Activations at the cut, computed by Keras's own preprocessing and a part of the backbone."""
    cuts = {0: "avg_pool", 1: "conv5_block2_out", 2: "conv5_block1_out", 3: "conv4_block6_out"}
    cuts |= {6: "conv4_block3_out", 9: "conv3_block4_out", 16: "pool1_pool"}
    prefix = keras.Model(backbone.input, backbone.get_layer(cuts[unfreeze_blocks]).output)
    prepared = keras.applications.resnet50.preprocess_input(images.copy())
    return np.asarray(prefix(prepared))


@pytest.mark.parametrize("unfreeze_blocks", UNFREEZE_BLOCKS)
def test_suffix_on_features_gives_what_the_whole_gives(
    space: ResNet50Space, backbone: keras.Model, images: np.ndarray, unfreeze_blocks: int
) -> None:
    configuration = Configuration(unfreeze_blocks=unfreeze_blocks, head_layers=2)
    features = features_at(backbone, unfreeze_blocks, images)
    whole = space.build_whole(configuration, backbone, seed=5)
    suffix = space.build_suffix(configuration, backbone, seed=5)
    assert not suffix.compiled
    assert suffix.input_shape[1:] == features.shape[1:]
    np.testing.assert_allclose(
        np.asarray(suffix(features)), np.asarray(whole(images)), rtol=0, atol=1e-6
    )
    paths = [variable.path for variable in suffix.trainable_variables]
    assert paths == [variable.path for variable in whole.trainable_variables]


def test_suffix_and_whole_share_the_backbones_variables(
    space: ResNet50Space, backbone: keras.Model, images: np.ndarray
) -> None:
    configuration = Configuration(unfreeze_blocks=1)
    features = features_at(backbone, 1, images)
    whole = space.build_whole(configuration, backbone, seed=0)
    suffix = space.build_suffix(configuration, backbone, seed=0)
    before = np.asarray(whole(images))
    kernel = backbone.get_layer("conv5_block3_3_conv").kernel
    assert any(variable is kernel for variable in suffix.trainable_variables)
    assert any(variable is kernel for variable in whole.trainable_variables)
    kernel.assign(kernel + 0.05)
    after = np.asarray(whole(images))
    assert not np.allclose(after, before, atol=1e-4)
    np.testing.assert_allclose(np.asarray(suffix(features)), after, rtol=0, atol=1e-6)


# --- fit


def head_alone(momentum: float = 0.99) -> keras.Model:
    """A body and a head with BatchNorm, which `fit` treats as it treats the whole network."""
    inputs = keras.Input((6,))
    body = keras.layers.Dense(20, activation="relu", name="body")(inputs)
    probabilities = build_head(
        body, 10, layers=1, width=16, batchnorm=True, dropout=0.0, l2=1e-4, seed=0
    )
    model = keras.Model(inputs, probabilities)
    for layer in head_batchnorms(model):
        layer.momentum = momentum
    compile_classifier(model, Configuration(unfreeze_blocks=1, learning_rate=1e-2))
    return model


def assert_statistics_of(model: keras.Model, x: np.ndarray) -> None:
    """The head's first BatchNorm holds the statistics of one full pass over the rows."""
    (layer,) = head_batchnorms(model)
    hidden = np.asarray(keras.Model(model.input, layer.input)(x), "float64")
    np.testing.assert_allclose(layer.moving_mean, hidden.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, hidden.var(axis=0), rtol=1e-3, atol=1e-6)


class Noticing(keras.callbacks.Callback):
    """A user's own callback: notes what the statistics were at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is None or np.isfinite(list(logs.values())).all()
        self.epochs.append(epoch)


ROWS = np.random.default_rng(0).normal(3, 2, (80, 6)).astype("float32")
ROW_LABELS = np.arange(80) % 10


@pytest.mark.parametrize("validated", [False, True])
def test_fit_leaves_current_statistics(space: ResNet50Space, validated: bool) -> None:
    model, hp = head_alone(), keras_tuner.HyperParameters()
    noticing = Noticing()
    extras = {"validation_data": (ROWS[:20], ROW_LABELS[:20])} if validated else {}
    history = space.fit(
        hp, model, ROWS, ROW_LABELS, epochs=2, verbose=0, callbacks=[noticing], **extras
    )
    assert_statistics_of(model, ROWS)
    assert noticing.epochs == [0, 1]
    assert len(history.history["loss"]) == 2
    if validated:
        loss, _ = model.evaluate(ROWS[:20], ROW_LABELS[:20], verbose=0)
        assert history.history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)


def test_a_plain_fit_leaves_them_behind() -> None:
    """The wrong twin."""
    model = head_alone()
    model.fit(ROWS, ROW_LABELS, epochs=2, verbose=0)
    with pytest.raises(AssertionError):
        assert_statistics_of(model, ROWS)


def as_dataset() -> dict[str, Any]:
    return {"x": tf.data.Dataset.from_tensor_slices((ROWS, ROW_LABELS)).batch(16)}


def as_arrays_by_name() -> dict[str, Any]:
    return {"x": ROWS, "y": ROW_LABELS}


def as_tensors() -> dict[str, Any]:
    return {"x": tf.constant(ROWS), "y": tf.constant(ROW_LABELS)}


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return ROWS[index * 16 : index * 16 + 16], ROW_LABELS[index * 16 : index * 16 + 16]


def as_batches() -> dict[str, Any]:
    return {"x": Batches()}


@pytest.mark.parametrize("given", [as_dataset, as_arrays_by_name, as_tensors, as_batches])
def test_fit_takes_what_keras_takes(
    space: ResNet50Space, given: Callable[[], dict[str, Any]]
) -> None:
    model = head_alone()
    space.fit(keras_tuner.HyperParameters(), model, **given(), epochs=1, verbose=0)
    assert_statistics_of(model, ROWS)


def test_fit_of_a_head_without_batchnorm_needs_no_rows(space: ResNet50Space) -> None:
    inputs = keras.Input((6,))
    model = keras.Model(
        inputs,
        build_head(inputs, 10, layers=1, width=16, batchnorm=False, dropout=0, l2=0, seed=0),
    )
    compile_classifier(model, Configuration())

    def batches() -> Any:
        yield ROWS[:16], ROW_LABELS[:16]

    history = space.fit(
        keras_tuner.HyperParameters(), model, batches(), steps_per_epoch=1, epochs=1, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


def test_fit_does_not_change_the_callers_callbacks(space: ResNet50Space) -> None:
    callbacks = [Noticing()]
    space.fit(
        keras_tuner.HyperParameters(),
        head_alone(),
        ROWS,
        ROW_LABELS,
        verbose=0,
        callbacks=callbacks,
    )
    assert [type(callback) for callback in callbacks] == [Noticing]


def test_a_copy_of_the_callback_keeps_the_rows() -> None:
    model = head_alone()
    copied = copy.deepcopy(CurrentStatistics(ROWS))
    assert copied._rows is ROWS
    model.fit(ROWS, ROW_LABELS, epochs=1, verbose=0, callbacks=[copied])
    assert_statistics_of(model, ROWS)


def test_fit_of_the_whole_network_leaves_current_statistics(
    space: ResNet50Space, backbone: keras.Model, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = digits[0][:48], digits[1][:48]
    configuration = Configuration(unfreeze_blocks=1, head_width=128, head_batchnorm=True)
    model = space.build_whole(configuration, backbone, seed=0)
    compile_classifier(model, configuration)
    history = space.fit(
        keras_tuner.HyperParameters(),
        model,
        x,
        y,
        batch_size=16,
        epochs=1,
        verbose=0,
        validation_data=(x[:16], y[:16]),
    )
    assert_statistics_of(model, x)
    loss, _ = model.evaluate(x[:16], y[:16], verbose=0)
    assert history.history["val_loss"] == pytest.approx([loss], rel=1e-4)


# --- in Keras Tuner


@pytest.mark.slow
def test_stock_hyperband_searches_the_space(
    space: ResNet50Space, digits: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    x, y = digits[0][:60], digits[1][:60]
    hp = keras_tuner.HyperParameters()
    hp.Fixed("unfreeze_blocks", 0)
    hp.Fixed("head_layers", 1)
    hp.Fixed("head_batchnorm", True)
    hp.Choice("head_width", [128, 256])
    tuner = keras_tuner.Hyperband(
        space,
        objective="val_accuracy",
        max_epochs=2,
        factor=2,
        hyperparameters=hp,
        seed=1,
        directory=tmp_path,
        project_name="search",
    )
    tuner.search(x[:40], y[:40], validation_data=(x[40:], y[40:]), verbose=0)
    trials = tuner.oracle.trials.values()
    assert {trial.status for trial in trials} == {"COMPLETED"}
    assert any(trial.hyperparameters.values["tuner/initial_epoch"] for trial in trials)  # promoted
    assert all("backbone_lr_factor" not in trial.hyperparameters.values for trial in trials)

    (best,) = tuner.get_best_models(1)
    score = tuner.oracle.get_best_trials(1)[0].score
    _, accuracy = best.evaluate(x[40:], y[40:], verbose=0)
    assert accuracy == pytest.approx(score, abs=1e-6)
    statistics = [
        weight
        for layer in best.get_layer("resnet50").layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.get_weights()[2:]
    ]
    assert len(statistics) == 106
    assert all(np.isin(weight, (0.0, 1.0)).all() for weight in statistics)  # as built
