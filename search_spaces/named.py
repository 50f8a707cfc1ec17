"""What `package.module:name` on the command line stands for."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from tuner.errors import InputError, first_line


def import_named(kind: str, name: str, error_class: type[InputError]) -> Any:
    """Imports what a user's own module calls so; the module may stand in the current folder.

    Args:
        kind: what it should be, for the message, such as "search space".
        name: `package.module:name`.
        error_class: what to raise.

    Raises:
        InputError: of that class: the module cannot be imported, or has no such name.
    """
    module, _, attribute = name.partition(":")
    try:
        _make_findable(module)
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is a user's program and raises what it likes
        raise error_class(f"the {kind} {name!r} cannot be loaded: {first_line(error)}.") from error


def is_named(name: str) -> bool:
    """Whether a name has the form `package.module:name`."""
    module, _, attribute = name.partition(":")
    return bool(attribute) and all(part.isidentifier() for part in module.split("."))


def _make_findable(module: str) -> None:
    """Puts the current folder last on the path, for a module that is found nowhere else.

    It stays there, since that module may import its neighbours later.
    """
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        sys.path.append(str(Path.cwd()))
        importlib.invalidate_caches()
