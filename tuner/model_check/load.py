"""Load a user's own model from a file or a function, and check that it fits the images."""

import re
from pathlib import Path
from typing import Any

from search_spaces.named import import_named, is_named
from tuner.errors import ModelError, first_line
from tuner.untrusted.keras_archive import ArchiveError, CodeError, OwnClassError, check_keras_file
from tuner.untrusted.model_process import rehearse

_SUFFIX = ".keras"
_FROM_FUNCTION = "give package.module:function, a function that returns the model"


def load_model(spec: str) -> Any:
    """Load a user's own model.

    Args:
        spec: the path of a `.keras` file, which is loaded in safe mode, so that it cannot run code;
            or `package.module:function`, a function without arguments that returns the model. Its
            module is imported, also from the current folder.

    Returns:
        keras.Model, with its optimizer where the file holds one.

    Raises:
        ModelError: it is missing or damaged, holds what safe mode refuses or Keras does not know,
            or returns no model.
    """
    if spec.endswith(_SUFFIX):
        return _from_file(Path(spec))
    if not is_named(spec):
        raise ModelError(
            f"{spec!r} is not a model. Give a {_SUFFIX} file or package.module:function."
        )
    return _from_function(spec)


def check_image_size(model: Any, image_size: int) -> None:
    """Check that a model takes square images of that size.

    Args:
        model: keras.Model; one that takes any size, or has no known input, passes.
        image_size: height and width in pixels.

    Raises:
        ModelError: it takes images of another size.
    """
    shape = tuple(model.inputs[0].shape) if getattr(model, "inputs", None) else ()
    if len(shape) != 4 or all(side in (None, image_size) for side in shape[1:3]):
        return
    height, width = shape[1:3]
    remedy = f"Give --image-size {height}" if height == width else "Give a model of square images"
    raise ModelError(
        f"the model takes images of {height} x {width} px, but --image-size is {image_size}. "
        f"{remedy}."
    )


def check_classes(model: Any, num_classes: int) -> None:
    """Check that a model has an output for each class, or one for two classes.

    Args:
        model: keras.Model; one without a known output passes.
        num_classes: of the images.

    Raises:
        ModelError: it has another number of outputs.
    """
    outputs = model.outputs[0].shape[-1] if getattr(model, "outputs", None) else None
    if outputs in (None, num_classes) or (outputs, num_classes) == (1, 2):
        return
    raise ModelError(
        f"the model has {outputs} outputs, but the images have {num_classes} classes. Give the "
        "images it was made for."
    )


def _from_function(spec: str) -> Any:
    import keras

    function, settings = import_named("model", spec, ModelError)
    if not callable(function) or isinstance(function, keras.Model):
        raise ModelError(
            f"{spec} is of type {type(function).__name__}, and not a function. "
            "Name a function without arguments that returns the model."
        )
    try:
        with settings.held():
            model = function()
    except Exception as error:  # a user's function may raise anything
        raise ModelError(
            f"{spec} cannot be called without arguments to get a model: "
            f"{first_line(error)}. Let it return the model."
        ) from error
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"{spec} returns a {type(model).__name__}, and not a keras.Model. "
            "Let it return the model."
        )
    return model


def _from_file(path: Path) -> Any:
    import keras

    if not path.is_file():
        raise ModelError(f"there is no model file {path}. Save one with model.save({path.name!r}).")
    try:
        check_keras_file(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    except CodeError as error:
        raise ModelError(
            f"{path} {error}: put a stock layer such as Rescaling in its place, or "
            f"{_FROM_FUNCTION}."
        ) from error
    except OwnClassError as error:
        raise ModelError(_needs_own(path, error.name)) from error
    except ArchiveError as error:
        raise _unsafe(path, error) from error
    try:
        rehearse(path)
        return keras.models.load_model(path, safe_mode=True)
    except ArchiveError as error:
        raise _unsafe(path, error) from error
    except Exception as error:  # Keras's parsers may raise anything
        raise ModelError(_why_not_loaded(path, str(error))) from error


def _unsafe(path: Path, error: ArchiveError) -> ModelError:
    return ModelError(f"{path} {error}. Save one with model.save({path.name!r}).")


def _why_not_loaded(path: Path, message: str) -> str:
    unknown = re.search(r"Could not locate (?:class|function) '([^']+)'", message)
    if unknown:
        return _needs_own(path, unknown[1])
    return f"{path} is damaged, or was saved by a version of Keras that this one cannot read."


def _needs_own(path: Path, name: str) -> str:
    return f"{path} needs your own {name}, which Keras does not know: {_FROM_FUNCTION}."
