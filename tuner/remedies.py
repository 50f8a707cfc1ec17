"""Commands in remedies, with the user's own images and options in place of DATA."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

_COMMAND = re.compile(r"tune (search|data|diagnose) DATA")
# What `tune data` takes of them.
_OF_SPLITS = frozenset(
    {"--val-fraction", "--test-fraction", "--split-seed", "--drop-leaks", "--keep-conflicts"}
)


def options_of(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """The options that were not left at their defaults.

    Args:
        values: by name, such as image_size.
        defaults: of at least these.

    Returns:
        Option to value, such as {"--image-size": "64"}; the value of a flag is empty.
    """
    return {
        f"--{name.replace('_', '-')}": "" if value is True else str(value)
        for name, value in values.items()
        if value != defaults[name]
    }


def addressed(text: str, data: str, options: Mapping[str, str]) -> str:
    """A sentence whose commands can be typed as they stand.

    Args:
        text: with commands such as `tune search DATA`.
        data: the path that takes the place of DATA.
        options: as `options_of` gives them; those that the sentence goes on with are left out.
    """

    def command(found: re.Match[str]) -> str:
        rest = text[found.end() :].partition("tune ")[0]  # the next command has options of its own
        taken = [
            (name, value)
            for name, value in options.items()
            if f"{name} " not in rest and (found[1] != "data" or name in _OF_SPLITS)
        ]
        words = [word for pair in taken for word in pair if word]
        return shlex.join(["tune", found[1], data, *words])

    return _COMMAND.sub(command, text)
