"""The step size of an optimizer is that of its highest rate, or unknown."""

from typing import Any

import keras
import pytest
from keras.optimizers import SGD, Adam, AdamW, Lion, LossScaleOptimizer
from keras.optimizers.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

from tuner.model_check.step_size import is_scheduled, step_size, why_unjudged


class OnesOwn(LearningRateSchedule):
    """Cannot be saved."""

    def __call__(self, step: Any) -> float:
        return 0.1


def network(optimizer: keras.optimizers.Optimizer | None, step: int = 0) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    if optimizer is not None:
        model.compile(optimizer, "mse")
        getattr(optimizer, "inner_optimizer", optimizer).iterations.assign(step)
    return model


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (Adam(2e-4), 2e-4),
        (AdamW(0.1), 0.1),
        (LossScaleOptimizer(Adam(0.1)), 0.1),
        (Lion(0.1), 0.1),
        (SGD(0.1), None),
        (Adam(0.0), None),
        (None, None),
    ],
)
def test_steps_of_adam_and_lion_are_as_long_as_the_rate(
    optimizer: keras.optimizers.Optimizer | None, expected: float | None
) -> None:
    model = network(optimizer)
    assert step_size(model) == (expected and pytest.approx(expected))
    assert not is_scheduled(model)
    assert step_size(None) is None


@pytest.mark.parametrize("step", [0, 100, 1000])
@pytest.mark.parametrize(
    "schedule",
    [
        CosineDecay(0.0, 1000, warmup_target=1e-3, warmup_steps=100),
        CosineDecay(1e-3, 100),
        CosineDecayRestarts(1e-3, 100),
        ExponentialDecay(1e-3, 100, 0.1),
        InverseTimeDecay(1e-3, 100, 0.5),
        PiecewiseConstantDecay([10, 20], [1e-4, 1e-3, 1e-5]),
        PolynomialDecay(1e-3, 100),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_a_schedule_has_its_highest_rate_at_any_step(
    schedule: LearningRateSchedule, step: int
) -> None:
    model = network(Adam(schedule), step)
    assert step_size(model) == pytest.approx(1e-3)
    assert is_scheduled(model)
    assert not why_unjudged(model)


@pytest.mark.parametrize(
    "rate",
    [OnesOwn(), lambda: 0.1, ExponentialDecay(1e-6, 100, 10.0)],
    ids=["one's own", "a function", "growing"],
)
def test_what_a_schedule_reaches_may_be_unknown(rate: Any) -> None:
    model = network(Adam(rate))
    assert step_size(model) is None
    assert is_scheduled(model)
    assert "follows a schedule" in why_unjudged(model)


@pytest.mark.parametrize(
    ("optimizer", "why"),
    [
        (None, "the model is not compiled"),
        (SGD(0.1), "steps of SGD grow with the gradients"),
        (Lion(1e-4), "the range test uses Adam, and good rates for Lion"),
        (keras.optimizers.Adadelta(1.0), "the range test uses Adam"),
        (Adam(0.0), "it is 0 now"),
        (Adam(1e-3), ""),
    ],
)
def test_why_a_rate_is_not_judged(optimizer: keras.optimizers.Optimizer | None, why: str) -> None:
    reason = why_unjudged(network(optimizer))
    assert reason.startswith(why)
    assert bool(reason) is bool(why)
