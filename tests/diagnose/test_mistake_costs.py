"""Mistakes of the user's model are priced on these images."""

from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest

from search_spaces.backbone import unfreeze
from tests.support.diagnosed import finding, treatment
from tuner.diagnose.finding import BATCHNORM_IN_TRAINING, SCALED_INPUT, Finding
from tuner.diagnose.learning_rate import RateCurve
from tuner.diagnose.mistake_costs import (
    mistakes,
    prices,
    trains_a_head_alone,
    treatments_for,
    unjudged_rate,
)
from tuner.model_check.findings import INPUT_SCALING, LAGGING_HEAD, LEARNING_RATE, ModelFinding
from tuner.model_check.pixel_mapping import UNIT, PixelMapping


def test_a_models_mistakes_get_their_price_here() -> None:
    treatments = {
        name: treatment(name, accuracy)
        for name, accuracy in (
            ("frozen", 0.9),
            ("legacy", 0.6),
            ("tutorial", 0.7),
            ("own_input_batch", 0.5),
        )
    }
    prices = {
        SCALED_INPUT: finding(SCALED_INPUT, 0.5, 0.001),
        "lagging head BatchNorm": finding("lagging head BatchNorm", 0.2, 0.001),
    }
    checked = (
        ModelFinding("batch statistics of frozen layers", "error", "It does.", "mend()"),
        ModelFinding(INPUT_SCALING, "error", "It scales.", "rescale()"),
        ModelFinding(LAGGING_HEAD, "warning", "It lags.", ""),
        ModelFinding("unknown backbone", "warning", "Unknown."),
    )
    found = mistakes(checked, treatments, prices)
    assert [each.cause for each in found] == [
        BATCHNORM_IN_TRAINING,
        SCALED_INPUT,
        "lagging head BatchNorm",
    ]
    assert found[0].gain == pytest.approx(0.3)
    assert found[0].sentence.startswith("It does.")
    assert [each.certain for each in found] == [True, True, False]
    assert str(found[0].remedy) == "Repair: mend()"
    assert str(found[2].remedy) == "Fix lagging head BatchNorm."


@pytest.mark.parametrize(("initial_share", "certain"), [(0.75, True), (0.3, False)])
def test_statistics_that_are_mostly_initial_lag_for_certain(
    initial_share: float, certain: bool
) -> None:
    lag = finding("lagging head BatchNorm", 0.0, 0.5)
    lag = replace(lag, numbers={"initial_share": initial_share})
    checked = (ModelFinding(LAGGING_HEAD, "warning", "It lags.", ""),)
    (found,) = mistakes(checked, {}, {"lagging head BatchNorm": lag})
    assert found.certain is certain


def test_a_fault_that_no_experiment_prices_is_a_cause_too() -> None:
    mates = ModelFinding("batch mates", "error", "in fit, features change.")
    (found,) = mistakes((mates,), {}, {})
    assert (found.cause, found.certain) == ("batch mates", True)
    assert found.sentence.startswith("In fit, features change. ")


def test_fine_tuning_in_training_mode_is_priced_against_fine_tuning_without() -> None:
    treatments = {
        name: treatment(name, accuracy)
        for name, accuracy in (("frozen", 0.6), ("tutorial", 0.7), ("fine_tuned", 0.9))
    }
    checked = (ModelFinding("batch statistics in fit", "error", "It moves."),)
    assert mistakes(checked, treatments, {})[0].gain == pytest.approx(0.2)


def test_a_wild_learning_rate_gets_the_price_of_the_range_test() -> None:
    prices = {"learning rate": finding("learning rate", 0.4, 0.001)}
    wild = (ModelFinding(LEARNING_RATE, "error", "It is wild.", "Adam(1e-3)"),)
    (found,) = mistakes(wild, {"frozen": treatment("frozen", 0.9)}, prices)
    assert found.gain == 0.4
    assert mistakes((), {}, prices) == []


def network(optimizer: keras.optimizers.Optimizer | None) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    if optimizer is not None:
        model.compile(optimizer, "mse")
    return model


def test_a_learning_rate_that_the_range_test_cannot_judge() -> None:
    found = unjudged_rate(network(keras.optimizers.SGD(0.01)))
    assert found is not None
    assert "was not judged: steps of SGD grow" in found.sentence
    assert unjudged_rate(network(keras.optimizers.Adam(2e-4))) is None


def classifier(*, trainable: bool) -> keras.Model:
    """A nested backbone with one BatchNorm, and a head."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(2, 3)(images))
    base = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="base")
    base.trainable = trainable
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Dense(2)(base(inputs)))


def test_a_head_is_trained_alone_where_no_weight_of_a_backbone_is() -> None:
    assert trains_a_head_alone(classifier(trainable=False))
    assert not trains_a_head_alone(classifier(trainable=True))
    model = classifier(trainable=True)
    model.get_layer("base").get_layer("bn").trainable = False
    assert not trains_a_head_alone(model)
    assert not trains_a_head_alone(network(None))
    assert not trains_a_head_alone(None)


@pytest.mark.parametrize("unfreeze_blocks", [0, 1, 16])
def test_a_flat_resnet_ends_with_its_last_block(
    unweighted: keras.Model, unfreeze_blocks: int
) -> None:
    unfreeze(unweighted, unfreeze_blocks)  # every BatchNorm of it stays frozen
    model = keras.Model(unweighted.input, keras.layers.Dense(2)(unweighted.output))
    assert trains_a_head_alone(model) is (unfreeze_blocks == 0)


def test_a_fault_needs_the_treatments_that_price_it() -> None:
    assert treatments_for(()) == set()
    tutorial = ModelFinding("batch statistics in fit", "error", "It moves.")
    assert treatments_for((tutorial,)) == {"tutorial", "fine_tuned"}
    prediction = ModelFinding("batch statistics in prediction", "error", "It depends.")
    assert treatments_for((prediction,)) == {"own_input_batch"}


@pytest.mark.parametrize("own", [False, True])
def test_a_low_rate_is_tried_longer_unless_a_model_trains_its_backbone_too(
    monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Every experiment is a stand-in; rates below 0.01 are too low in the short test."""
    right = np.stack([np.arange(200) < count for count in (100, 160, 150)])
    curve = RateCurve((1e-3, 1e-2, 1e-1), right, (1.0, 0.1, 0.2))
    longer: list[float] = []

    def trained_longer(*given: object) -> np.ndarray:
        longer.append(given[3])  # type: ignore[arg-type]
        return right[1]

    monkeypatch.setattr(
        "tuner.diagnose.mistake_costs.scaled_input", lambda *_: finding(SCALED_INPUT, 0.3, 0.001)
    )
    monkeypatch.setattr("tuner.diagnose.mistake_costs.lagging_batchnorm", lambda *_, **given: None)
    monkeypatch.setattr(
        "tuner.diagnose.mistake_costs.learning_rate_curve", lambda *_, **given: curve
    )
    monkeypatch.setattr("tuner.diagnose.mistake_costs.trained_longer", trained_longer)
    treatments = {name: treatment(name, 0.9) for name in ("frozen", "legacy")}
    model = classifier(trainable=True) if own else None
    *_, rate = prices(mock.Mock(), mock.Mock(), treatments, model, mock.Mock(), 0)
    assert longer == ([] if own else [1e-3])
    assert ("was not judged" in rate.sentence) is own


@pytest.mark.parametrize(
    ("optimizer", "used", "note"),
    [
        (keras.optimizers.Adam(2e-2), 2e-2, ""),
        (
            keras.optimizers.Adam(
                keras.optimizers.schedules.CosineDecay(0.0, 9, warmup_target=0.02, warmup_steps=3)
            ),
            2e-2,
            "The highest rate of your schedule was tried. ",
        ),
        (keras.optimizers.Lion(0.1), 1e-1, "It was tried with Adam, whose steps are as long. "),
        (keras.optimizers.SGD(0.1), 1e-3, ""),
    ],
    ids=["Adam", "warm-up", "Lion", "SGD"],
)
def test_the_rate_of_the_users_model_is_tried(
    monkeypatch: pytest.MonkeyPatch,
    optimizer: keras.optimizers.Optimizer,
    used: float,
    note: str,
) -> None:
    """Every experiment is a stand-in; rates above 0.001 are too high."""
    right = np.stack([np.arange(200) < count for count in (160, 100, 90)])
    curve = RateCurve((1e-3, 1e-2, 1e-1), right, (0.1, 1.0, 2.0))
    monkeypatch.setattr("tuner.diagnose.mistake_costs.mapping_at_backbone", lambda model: None)
    monkeypatch.setattr(
        "tuner.diagnose.mistake_costs.scaled_input", lambda *_: finding(SCALED_INPUT, 0.3, 0.001)
    )
    monkeypatch.setattr("tuner.diagnose.mistake_costs.lagging_batchnorm", lambda *_, **given: None)
    monkeypatch.setattr(
        "tuner.diagnose.mistake_costs.learning_rate_curve", lambda *_, **given: curve
    )
    treatments = {name: treatment(name, 0.9) for name in ("frozen", "legacy")}
    *_, rate = prices(mock.Mock(), mock.Mock(), treatments, network(optimizer), mock.Mock(), 0)
    assert rate.numbers["used"] == pytest.approx(used)
    assert rate.sentence.startswith((f"{note}A learning rate", f"{note}With a learning rate"))
    assert rate.harmless.startswith(f"{note}A learning rate")


@pytest.mark.parametrize("affine", [True, False])
def test_a_note_says_if_scaling_is_not_priced_as_it_arrives(
    monkeypatch: pytest.MonkeyPatch, affine: bool
) -> None:
    """Every experiment is a stand-in that records its arguments."""
    arriving = PixelMapping(np.eye(3) / 100, np.ones(3), affine)
    asked: list[PixelMapping] = []

    def scaled(*given: object) -> Finding:
        asked.append(given[5])  # type: ignore[arg-type]
        return finding(SCALED_INPUT, 0.3, 0.001)

    monkeypatch.setattr("tuner.diagnose.mistake_costs.mapping_at_backbone", lambda model: arriving)
    monkeypatch.setattr("tuner.diagnose.mistake_costs.scaled_input", scaled)
    data, treatments = (
        mock.Mock(),
        {"frozen": treatment("frozen", 0.9), "legacy": treatment("legacy", 0.6)},
    )
    found = prices(data, data, treatments, network(None), mock.Mock(), 0)
    next(found)
    price = next(found)
    assert asked == [arriving if affine else UNIT]
    assert ("the price is that of the commonest mistake" in price.sentence) is not affine


def with_batchnorm(x: keras.KerasTensor, momentum: float) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(momentum=momentum)(x)


def flat_classifier() -> keras.Model:
    """A backbone that is not recognised, and a head."""
    images = keras.Input((8, 8, 3))
    x = with_batchnorm(keras.layers.Conv2D(2, 3)(images), 0.999)
    x = with_batchnorm(keras.layers.GlobalAveragePooling2D()(x), 0.5)
    return keras.Model(images, keras.layers.Dense(2)(x))


def nested_classifier() -> keras.Model:
    images, inputs = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    x = with_batchnorm(keras.layers.Conv2D(2, 3)(images), 0.999)
    base = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(2)(with_batchnorm(base(inputs), 0.5)))


@pytest.mark.parametrize(
    ("model", "momentum"), [(nested_classifier(), 0.5), (flat_classifier(), 0.99), (None, 0.99)]
)
def test_a_lag_is_priced_by_the_momentum_of_a_known_head(
    monkeypatch: pytest.MonkeyPatch, model: keras.Model | None, momentum: float
) -> None:
    """Every experiment is a stand-in that records its arguments."""
    asked: list[float] = []
    monkeypatch.setattr("tuner.diagnose.mistake_costs.mapping_at_backbone", lambda model: None)
    monkeypatch.setattr(
        "tuner.diagnose.mistake_costs.scaled_input", lambda *_: finding(SCALED_INPUT, 0.3, 0.001)
    )
    monkeypatch.setattr(
        "tuner.diagnose.mistake_costs.lagging_batchnorm",
        lambda *_, **given: asked.append(given["momentum"]),
    )
    treatments = {name: treatment(name, 0.9) for name in ("frozen", "legacy")}
    found = prices(mock.Mock(), mock.Mock(), treatments, model, mock.Mock(), 0)
    for _ in range(3):
        next(found)
    assert asked == [momentum]
