"""How far an optimizer's steps move a weight, by its kind and its learning rate."""

import warnings
from typing import Any

import keras

# Steps of these are about as long as the learning rate, whatever the size of the gradients.
_LIKE_ADAM = (
    keras.optimizers.Adam,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
)
# So are those of Lion, which use the sign of the gradients; it needs lower rates than Adam.
_OF_KNOWN_LENGTH = (*_LIKE_ADAM, keras.optimizers.Lion)
# In the configurations of keras.optimizers.schedules: their rates, and the factors that may raise
# these on the way.
_RATES = ("initial_learning_rate", "warmup_target", "end_learning_rate")
_FACTORS = {"ExponentialDecay": "decay_rate", "CosineDecayRestarts": "m_mul"}
_SCHEDULES = "keras.optimizers.schedules"


def step_size(model: keras.Model | None) -> float | None:
    """About how far one step of `fit` moves each weight at most, or None where unknown.

    For a Keras schedule that is its highest rate: the current one may be that of a warm-up, or of
    the end.

    Args:
        model: compiled or not.
    """
    optimizer = _optimizer(model)
    if not isinstance(optimizer, _OF_KNOWN_LENGTH):
        return None
    return _highest_rate(optimizer) or None  # 0: set by a callback


def is_scheduled(model: keras.Model) -> bool:
    """Whether the learning rate is a schedule or a function, which cannot be assigned to."""
    optimizer = _optimizer(model)
    return optimizer is not None and not isinstance(optimizer.learning_rate, keras.Variable)


def why_unjudged(model: keras.Model) -> str:
    """Why a range test with Adam cannot judge the learning rate; empty where it can."""
    optimizer = _optimizer(model)
    if optimizer is None:
        return "the model is not compiled"
    kind = type(optimizer).__name__
    if isinstance(optimizer, keras.optimizers.SGD):
        return (
            f"steps of {kind} grow with the gradients, and the range test uses Adam, whose steps "
            "do not"
        )
    if not isinstance(optimizer, _LIKE_ADAM):
        return f"the range test uses Adam, and good rates for {kind} may differ"
    rate = _highest_rate(optimizer)
    if rate is None:
        return "it follows a schedule whose highest rate is not known"
    return "" if rate else "it is 0 now, perhaps set by a callback"


def _optimizer(model: keras.Model | None) -> Any:
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def _highest_rate(optimizer: Any) -> float | None:
    if isinstance(optimizer.learning_rate, keras.Variable):
        return float(optimizer.learning_rate)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of a lambda
            rate = optimizer.get_config()["learning_rate"]
    except NotImplementedError:  # a custom schedule may have no configuration
        return None
    if not isinstance(rate, dict) or rate.get("module") != _SCHEDULES:
        return None
    config = rate["config"]
    if config.get(_FACTORS.get(rate["class_name"], ""), 0) > 1:
        return None
    rates = [*config.get("values", ()), *(config.get(name) or 0 for name in _RATES)]
    return float(max(rates))
