"""The command that repeats a search."""

import shlex
from typing import Any

from tuner.settings import SearchSettings

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
