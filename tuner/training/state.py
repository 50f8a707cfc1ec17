"""Save and restore a trainer's variables."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def restore_weights(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Set the weights of a trial in a network built for its configuration.

    Raises:
        KeyError: a variable is missing in the state.
        ValueError: a variable has another shape.
    """
    assign(saved_variables(model), state)


def saved_variables(model: keras.Model) -> dict[str, Any]:
    """The variables that training changes, by layer and name: weights, statistics, seeds."""
    saved: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for layer in leaf_layers(model):
        # Keras numbers unnamed layers across the process; number them within the model instead.
        stem = re.sub(r"_\d+$", "", layer.name)
        for variable in layer.variables if layer.trainable else ():
            name = f"{stem}/{variable.name}"
            saved[f"{name}/{counts[name]}"] = variable
            counts[name] += 1
    return saved


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Layers of a model and of the models nested in it, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def assign(variables: dict[str, Any], state: dict[str, np.ndarray]) -> None:
    """Set each variable to the value of its name in the state."""
    for name, variable in variables.items():
        variable.assign(state[name])


def optimizer_variables(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """The optimizer's variables, by number."""
    return {
        f"optimizer/{number:03d}": variable for number, variable in enumerate(optimizer.variables)
    }
