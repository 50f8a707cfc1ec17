"""Mistakes of the user's model get the price that they have on these images."""

import numpy as np
import pytest

from tuner.checkup import INPUT_SCALING, LAGGING_HEAD, LEARNING_RATE, ModelFinding
from tuner.findings import Finding
from tuner.inputs import SCALED_INPUT
from tuner.ladder import Treatment
from tuner.pricing import BATCHNORM_IN_TRAINING, mistakes


def finding(cause: str, gain: float, p_value: float | None) -> Finding:
    return Finding(cause, f"{cause} was tried.", gain, p_value, f"Mend {cause}.")


def treatment(name: str, accuracy: float) -> Treatment:
    right = np.arange(20) < round(20 * accuracy)
    return Treatment(name, right[np.newaxis], (accuracy,), (0.9,), 0, 106, 12, name == "usual")


def test_a_models_mistakes_get_their_price_here() -> None:
    treatments = {name: treatment(name, accuracy) for name, accuracy in (
        ("frozen", 0.9), ("legacy", 0.6), ("tutorial", 0.7), ("own_input_batch", 0.5))}  # fmt: skip
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
        BATCHNORM_IN_TRAINING, SCALED_INPUT, "lagging head BatchNorm"
    ]  # fmt: skip
    assert found[0].gain == pytest.approx(0.3)
    assert found[0].sentence.startswith("It does.")
    assert [each.certain for each in found] == [True, True, False]
    assert found[0].remedy == "Repair: mend()"
    assert found[2].remedy == "Mend lagging head BatchNorm."


def test_a_fault_that_no_experiment_prices_is_a_cause_too() -> None:
    mates = ModelFinding("batch mates", "error", "in fit, features change.")
    (found,) = mistakes((mates,), {}, {})
    assert (found.cause, found.certain) == ("batch mates", True)
    assert found.sentence.startswith("In fit, features change. ")


def test_fine_tuning_in_training_mode_is_priced_against_fine_tuning_without() -> None:
    treatments = {name: treatment(name, accuracy) for name, accuracy in (
        ("frozen", 0.6), ("tutorial", 0.7), ("fine_tuned", 0.9))}  # fmt: skip
    checked = (ModelFinding("batch statistics in fit", "error", "It moves."),)
    assert mistakes(checked, treatments, {})[0].gain == pytest.approx(0.2)


def test_a_wild_learning_rate_gets_the_price_of_the_range_test() -> None:
    prices = {"learning rate": finding("learning rate", 0.4, 0.001)}
    wild = (ModelFinding(LEARNING_RATE, "error", "It is wild.", "Adam(1e-3)"),)
    (found,) = mistakes(wild, {"frozen": treatment("frozen", 0.9)}, prices)
    assert found.gain == 0.4
    assert mistakes((), {}, prices) == []
