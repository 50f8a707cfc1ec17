"""Temperatures that are known, and where they are folded in."""

import keras
import numpy as np
import pytest

from tuner.errors import ExportError
from tuner.export.temperature import fit_temperature, fold_temperature
from tuner.metrics.scores import calibration_error, log_losses


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_labels_drawn_from_it(temperature: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 4))
    labels = (softmax(logits).cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    shown = softmax(logits * temperature)
    assert fit_temperature(shown, labels) == pytest.approx(temperature, rel=0.05)
    mended = softmax(np.log(shown) / fit_temperature(shown, labels))
    assert calibration_error(mended, labels) < 0.02
    assert temperature == 1 or calibration_error(shown, labels) > 0.05


def drawn(random: np.random.Generator, images: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of four classes, and labels that are drawn from their softmax."""
    logits = random.normal(0, spread, (images, 4))
    sums = softmax(logits).cumsum(axis=1)
    return logits, (sums < random.random((images, 1)) * sums[:, -1:]).sum(axis=1)


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(log_losses(softmax(logits), labels).mean())


@pytest.mark.parametrize("images", [10, 40, 150])
@pytest.mark.parametrize("spread", [2.0, 8.0])
def test_few_images_do_not_spoil_what_is_well_calibrated(images: int, spread: float) -> None:
    random = np.random.default_rng(images)
    logits, labels = drawn(random, 20_000, spread)
    fitted = []
    for _ in range(60):
        few, of_few = drawn(random, images, spread)
        fitted.append(fit_temperature(softmax(few), of_few))
    after = np.mean([mean_loss(logits / temperature, labels) for temperature in fitted])
    assert after < 1.03 * mean_loss(logits, labels) + 0.01


@pytest.mark.parametrize("images", [40, 150])
def test_few_images_mend_what_is_sure_of_too_much(images: int) -> None:
    random = np.random.default_rng(images)
    logits, labels = drawn(random, 20_000, 3.0)
    best, before = mean_loss(logits, labels), mean_loss(3 * logits, labels)
    after = []
    for _ in range(60):
        few, of_few = drawn(random, images, 3.0)
        after.append(mean_loss(3 * logits / fit_temperature(softmax(3 * few), of_few), labels))
    assert np.mean(after) - best < 0.2 * (before - best)


def test_images_that_are_all_named_rightly_leave_doubt() -> None:
    random = np.random.default_rng(0)
    named = softmax(drawn(random, 40, 4.0)[0])
    assert 0.4 < fit_temperature(named, named.argmax(axis=1)) < 1
    assert np.isfinite(fit_temperature(np.array([[1.0, 0.0]], np.float32), np.array([1])))


def test_the_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    assert calibration_error(probabilities, np.array([0, 1, 1, 1])) == pytest.approx(
        (abs(0.5 - 0.9) + abs(1 - 0.6)) / 2
    )


def network(kind: str) -> keras.Model:
    layers: dict[str, list[keras.layers.Layer]] = {
        "Softmax": [keras.layers.Dense(3), keras.layers.Softmax()],
        "Activation": [keras.layers.Dense(3), keras.layers.Activation("softmax")],
        "in the Dense": [keras.layers.Dense(3, activation="softmax")],
        "a Dense alone": [keras.layers.Dense(3)],
        "sigmoid": [keras.layers.Dense(3, activation="sigmoid")],
        "something between": [
            keras.layers.Dense(3), keras.layers.LayerNormalization(), keras.layers.Softmax()
        ],
    }  # fmt: skip
    return keras.Sequential([keras.Input((5,)), *layers[kind]])


@pytest.mark.parametrize("kind", ["Softmax", "Activation", "in the Dense"])
def test_folding_is_dividing_the_logits(kind: str) -> None:
    keras.utils.set_random_seed(0)
    model, rows = network(kind), np.random.default_rng(0).normal(0, 3, (6, 5)).astype("float32")
    model.layers[0].bias.assign([0.5, -1.0, 2.0])
    before = np.asarray(model(rows))
    fold_temperature(model, 2.5)
    np.testing.assert_allclose(model(rows), softmax(np.log(before) / 2.5), atol=1e-6)


@pytest.mark.parametrize("kind", ["a Dense alone", "sigmoid", "something between"])
def test_a_network_that_has_no_logits(kind: str) -> None:
    model = network(kind)
    before = model.get_weights()
    with pytest.raises(ExportError, match="ends in a Dense layer and a softmax"):
        fold_temperature(model, 2.0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
