"""Import what the user names as `package.module:name`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import InputError, first_line

if TYPE_CHECKING:
    from search_spaces.keras_settings import KerasSettings


def import_named(
    kind: str, name: str, error_class: type[InputError]
) -> "tuple[Any, KerasSettings]":
    """Import an object from a user's own module, which may be in the current folder.

    Args:
        kind: what it should be, for the message, such as "search space".
        name: `package.module:name`.
        error_class: raised if the module cannot be imported, or lacks the name.

    Returns:
        The object, and Keras's settings as the module leaves them; the process keeps those before.
    """
    from search_spaces.keras_settings import KerasSettings, has_eager_tensors

    module, _, attribute = name.partition(":")
    before = KerasSettings.current()
    try:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            sys.path.append(str(Path.cwd()))  # for good: the module may import its neighbours later
            importlib.invalidate_caches()
        found = getattr(importlib.import_module(module), attribute)
        left = KerasSettings.current()
    except Exception as error:  # the user's module may raise anything
        raise error_class(f"the {kind} {name!r} cannot be loaded: {first_line(error)}.") from error
    finally:
        before.set()
    if not has_eager_tensors():
        raise error_class(
            f"{module} switches TensorFlow's eager execution off for the whole process, which "
            "cannot be undone. Remove that line."
        )
    return found, left


def is_named(name: str) -> bool:
    """Whether a name has the form `package.module:name`."""
    module, _, attribute = name.partition(":")
    return bool(attribute) and all(part.isidentifier() for part in module.split("."))
