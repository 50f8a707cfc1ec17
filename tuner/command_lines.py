"""Commands in remedies, with the user's own images and options in place of DATA."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from tuner.settings import SearchSettings

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


_FLAGS = ("crop", "drop_leaks", "keep_conflicts")


def search_command(settings: SearchSettings, name: str) -> str:
    """The `tune search` that does the same again, with every option that is no default.

    Args:
        settings: of the search.
        name: of the run.
    """
    words = ["tune", "search"]
    if settings.data is not None:
        words.append(settings.data)
    words += ["--run", name]
    defaults = SearchSettings()
    for field in settings.__dataclass_fields__:
        value = getattr(settings, field)
        if field != "data" and value != getattr(defaults, field):
            words += _words(field, value)
    return shlex.join(words)


def _words(field: str, value: Any) -> list[str]:
    option = f"--{field.replace('_', '-')}"
    if field == "fixed":
        return [word for pair in value.items() for word in ("--fix", "=".join(pair))]
    if field == "time_budget_seconds":
        return ["--time-budget", f"{value:f}".rstrip("0").rstrip(".") + "s"]
    return [option] if field in _FLAGS else [option, str(value)]
