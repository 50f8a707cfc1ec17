from typing import Any

import keras
import numpy as np
import pytest

from search_spaces.optimizer import TransferAdam


def variables() -> tuple[keras.Variable, keras.Variable]:
    """One variable of the backbone and one of the head, with the same values."""
    values = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
    body, head = keras.layers.Dense(3, name="conv5_block1"), keras.layers.Dense(3, name="head_x")
    for layer in (body, head):
        layer.build((None, 2))
        layer.kernel.assign(values)
    return body.kernel, head.kernel


def steps(optimizer: keras.optimizers.Optimizer, count: int) -> list[np.ndarray]:
    """How far each of `variables()` moves in `count` steps with the same gradients."""
    trained = variables()
    before = [variable.numpy() for variable in trained]
    rng = np.random.default_rng(0)
    for _ in range(count):
        gradient = rng.normal(size=(2, 3)).astype("float32")
        optimizer.apply([gradient, gradient], trained)
    return [
        variable.numpy().astype("float64") - old
        for variable, old in zip(trained, before, strict=True)
    ]


@pytest.mark.parametrize("factor", [1.0, 0.3, 0.1, 0.03])
@pytest.mark.parametrize("count", [1, 5])
def test_the_factor_scales_the_step_of_the_backbone(factor: float, count: int) -> None:
    body, head = steps(TransferAdam(1e-2, factor), count)
    assert np.abs(head).min() > 0
    np.testing.assert_allclose(body, factor * head, rtol=1e-3, atol=1e-7)


def test_the_head_moves_as_with_keras_adam() -> None:
    _, head = steps(TransferAdam(1e-2, 0.1), 5)
    _, expected = steps(keras.optimizers.Adam(1e-2), 5)
    assert np.array_equal(head, expected)


def test_a_factor_of_one_is_keras_adam() -> None:
    assert np.array_equal(steps(TransferAdam(1e-2, 1.0), 5), steps(keras.optimizers.Adam(1e-2), 5))


def test_a_scaled_gradient_would_not_scale_the_step() -> None:
    """Why the update is scaled: Adam takes the same step for a gradient a hundredth the size."""
    (kernel, _), (other, _) = variables(), variables()
    before = kernel.numpy()
    gradient = np.full((2, 3), 0.5, "float32")
    keras.optimizers.Adam(1e-2).apply([gradient], [kernel])
    keras.optimizers.Adam(1e-2).apply([gradient * 0.01], [other])
    np.testing.assert_allclose(kernel.numpy() - before, other.numpy() - before, rtol=1e-3)


@pytest.mark.parametrize("arguments", [{}, {"learning_rate": 3e-4, "backbone_lr_factor": 0.03}])
def test_config_makes_the_same_optimizer(arguments: dict[str, Any]) -> None:
    optimizer = TransferAdam(**arguments)
    again = TransferAdam.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["backbone_lr_factor"] == arguments.get("backbone_lr_factor", 1.0)
    assert float(again.learning_rate) == pytest.approx(arguments.get("learning_rate", 1e-3))


def test_keras_serializes_it() -> None:
    config = keras.saving.serialize_keras_object(TransferAdam(3e-4, 0.03))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is TransferAdam
    assert again.get_config()["backbone_lr_factor"] == 0.03


def test_the_factor_can_be_set_anew() -> None:
    """It is a variable, so that a compiled program need not be traced again for another one."""
    body, head = variables()
    optimizer = TransferAdam(1e-2, 1.0)
    optimizer.build([body, head])
    optimizer.backbone_lr_factor.assign(0.3)
    before = [body.numpy(), head.numpy()]
    gradient = np.linspace(0.1, 1, 6, dtype="float32").reshape(2, 3)
    optimizer.apply([gradient, gradient], [body, head])
    moved, expected = body.numpy() - before[0], head.numpy() - before[1]
    np.testing.assert_allclose(moved, 0.3 * expected, rtol=1e-3)
    rates = [float(optimizer.learning_rate_of(variable)) for variable in (body, head)]
    assert rates == pytest.approx([3e-3, 1e-2])
