"""Import what the user names as `package.module:name`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from tuner.errors import InputError, first_line


def import_named(kind: str, name: str, error_class: type[InputError]) -> Any:
    """Import an object from a user's own module, which may be in the current folder.

    Args:
        kind: what it should be, for the message, such as "search space".
        name: `package.module:name`.
        error_class: raised if the module cannot be imported, or lacks the name.
    """
    module, _, attribute = name.partition(":")
    try:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            sys.path.append(str(Path.cwd()))  # for good: the module may import its neighbours later
            importlib.invalidate_caches()
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's module may raise anything
        raise error_class(f"the {kind} {name!r} cannot be loaded: {first_line(error)}.") from error


def is_named(name: str) -> bool:
    """Whether a name has the form `package.module:name`."""
    module, _, attribute = name.partition(":")
    return bool(attribute) and all(part.isidentifier() for part in module.split("."))
