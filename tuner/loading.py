"""A model that somebody else built, from a file or from a function."""

import re
import zipfile
from pathlib import Path
from typing import Any

from search_spaces.named import import_named, is_named
from tuner.errors import ModelError, first_line

_SUFFIX = ".keras"


def load_model(spec: str) -> Any:
    """Loads a user's own model.

    Args:
        spec: the path of a `.keras` file, which is loaded in safe mode, so that it cannot run code;
            or `package.module:function`, a function without arguments that returns the model. Its
            module is also looked for in the current folder, and is run.

    Returns:
        keras.Model, with its optimizer where the file holds one.

    Raises:
        ModelError: it is missing, damaged, holds what safe mode refuses or Keras does not know, or
            gives no model.
    """
    if spec.endswith(_SUFFIX):
        return _from_file(Path(spec))
    if not is_named(spec):
        raise ModelError(f"{spec!r} is no model. Give a {_SUFFIX} file or package.module:function.")
    return _from_function(spec)


def _from_function(spec: str) -> Any:
    import keras

    function = import_named("model", spec, ModelError)
    if not callable(function) or isinstance(function, keras.Model):
        raise ModelError(
            f"{spec} is no function, but of type {type(function).__name__}. "
            "Name a function without arguments that returns the model."
        )
    try:
        model = function()
    except Exception as error:  # a user's function raises what it likes
        raise ModelError(
            f"{spec} cannot be called without arguments to get a model: "
            f"{first_line(error)}. Let it return the model."
        ) from error
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"{spec} returns a {type(model).__name__} and no keras.Model. Let it return the model."
        )
    return model


def _from_file(path: Path) -> Any:
    import keras

    if not path.is_file():
        raise ModelError(f"there is no model file {path}. Save one with model.save({path.name!r}).")
    try:
        with path.open("rb") as file:
            is_archive = zipfile.is_zipfile(file)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not is_archive:
        raise ModelError(f"{path} is not a Keras model. Save one with model.save({path.name!r}).")
    try:
        return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers met first
        raise ModelError(_why_not_loaded(path, str(error))) from error


def _why_not_loaded(path: Path, message: str) -> str:
    from_function = "give package.module:function, a function of yours that returns the model"
    if "lambda" in message.lower() and "safe_mode" in message:
        return (
            f"{path} holds a Python lambda, which could run any code when it is loaded: "
            f"put a stock layer such as Rescaling in its place, or {from_function}."
        )
    unknown = re.search(r"Could not locate (?:class|function) '([^']+)'", message)
    if unknown:
        return f"{path} needs your own {unknown[1]}, which Keras does not know: {from_function}."
    return f"{path} is damaged, or was saved by a version of Keras that this one cannot read."
