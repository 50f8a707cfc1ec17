"""Fix hyperparameters of a search space (`--fix name=value`)."""

from collections.abc import Mapping
from typing import Any

import keras_tuner

from tuner.errors import SettingsError, TuneError, first_line


def declared_space(space: keras_tuner.HyperModel) -> keras_tuner.HyperParameters:
    """The hyperparameters of a space; one that does not declare them is built once.

    Raises:
        SettingsError: it cannot be built.
    """
    hyperparameters = keras_tuner.HyperParameters()
    space.declare_hyperparameters(hyperparameters)
    if not hyperparameters.space:
        try:
            space.build(hyperparameters)
        except TuneError:
            raise
        except Exception as error:  # a user's own space may raise anything
            raise SettingsError(
                f"{type(space).__name__} cannot build a network: {first_line(error)}."
            ) from error
    return hyperparameters


def pin(space: keras_tuner.HyperParameters, fixed: Mapping[str, str]) -> dict[str, Any]:
    """Parse fixed hyperparameters to values of the declared type.

    Args:
        space: the declared hyperparameters.
        fixed: name to the value as text.

    Raises:
        SettingsError: a name or a value is not in the space; the message lists the choices.

    Example:
        >>> pin(declared_space(ResNet50Space(num_classes=5)), {"unfreeze_blocks": "0"})
        {'unfreeze_blocks': 0}
    """
    declared = {hyperparameter.name: hyperparameter for hyperparameter in space.space}
    for name in fixed:
        if name not in declared:
            raise SettingsError(
                f"there is no hyperparameter {name!r} to fix. Choose {', '.join(declared)}."
            )
    return {name: _parse(declared[name], text) for name, text in fixed.items()}


def _parse(declared: Any, text: str) -> Any:
    if hasattr(declared, "min_value"):
        return _parse_number(declared, text)
    for value in declared.values:
        if text.lower() == str(value).lower() or _same_number(text, str(value)):
            return value
    raise SettingsError(
        f"{declared.name} cannot be {text!r}. Choose {', '.join(map(str, declared.values))}."
    )


def _parse_number(declared: Any, text: str) -> int | float:
    whole = isinstance(declared, keras_tuner.engine.hyperparameters.Int)
    value = _as_number(text)
    if (
        value is None
        or not declared.min_value <= value <= declared.max_value
        or (whole and value % 1)
    ):
        raise SettingsError(
            f"{declared.name} must be {'a whole number ' if whole else ''}from "
            f"{declared.min_value:g} to {declared.max_value:g}, not {text!r}."
        )
    return int(value) if whole else value


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _same_number(text: str, other: str) -> bool:
    return _as_number(text) is not None and _as_number(text) == _as_number(other)
