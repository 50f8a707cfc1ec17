"""`tune` commands as text that can be pasted into a shell."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.settings import SearchSettings

# The options of `tune search` that `tune data` has too.
_SPLIT_OPTIONS = {
    *("--val-fraction", "--test-fraction", "--split-seed", "--drop-leaks", "--keep-conflicts"),
    *("--class-level", "--path-column", "--label-column", "--split-column"),
    *("--group-by", "--near-duplicates"),
}
_FLAGS = ("crop", "drop_leaks", "keep_conflicts")


@dataclass(frozen=True)
class Command:
    """A `tune` command on a dataset: its name, options with their values, and the dataset's path.

    Example:
        >>> str(Command("search", ("--image-size", "224")).on("my photos", {"--crop": ""}))
        "tune search 'my photos' --crop --image-size 224"
    """

    name: str
    arguments: tuple[str, ...] = ()
    data: str = "DATA"

    def on(self, data: str, options: Mapping[str, str]) -> "Command":
        """The command on the user's data, with the user's `changed_options` that it lacks."""
        added = [
            word
            for option, value in options.items()
            if option not in self.arguments and (self.name != "data" or option in _SPLIT_OPTIONS)
            for word in (option, value)
            if word
        ]
        return Command(self.name, (*added, *self.arguments), data)

    def __str__(self) -> str:
        """Quoted for a shell."""
        return shlex.join(["tune", self.name, self.data, *self.arguments])


def changed_options(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """The options that differ from their defaults: {"--image-size": "64", "--crop": ""}."""
    return {
        f"--{name.replace('_', '-')}": "" if value is True else str(value)
        for name, value in values.items()
        if value != defaults[name]
    }


def search_command(settings: SearchSettings, name: str) -> str:
    """The `tune search` command that repeats a search as a run of this name."""
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
