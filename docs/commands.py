"""Writes docs/commands: a page for each command, made from its help.

    python docs/commands.py        # or: make docs

A test compares the pages with the help, so neither can change without the other.
"""

import enum
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "commands"
INDEX = "README.md"
_SOURCE = (
    "<!-- Made from the command's help by docs/commands.py: change that, then `make docs`. -->"
)
_EXAMPLE = "Example: "
_KINDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def pages() -> dict[str, str]:
    """Every page by its file name, with an index."""
    found = {f"{name}.md": page(name, command) for name, command in commands().items()}
    return found | {INDEX: index()}


def commands() -> dict[str, Any]:
    """The commands by name, in the order of the help."""
    return dict(_group().commands)


def page(name: str, command: Any) -> str:
    """A command's page: what it does, an example, its arguments and its options."""
    summary, *rest = paragraphs(command)
    shown = [parameter for parameter in command.params if not parameter.hidden]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    usage = " ".join(["tune", name, "[OPTIONS]", *map(_placeholder, arguments)])
    blocks = [_SOURCE, f"# tune {name}", summary, _code(usage), *rest]
    blocks += [_code(example) for example in examples(command)]
    if arguments:
        blocks += ["## Arguments", _table("Argument", _argument_rows(arguments, command.callback))]
    blocks += ["## Options", _table("Option", _option_rows(options, command.callback))]
    return "\n\n".join([*blocks, f"[All commands]({INDEX})"]) + "\n"


def index() -> str:
    """The table of all commands."""
    rows = [
        f"| [`tune {name}`]({name}.md) | {_cell(paragraphs(command)[0])} |"
        for name, command in commands().items()
    ]
    general = _table("Option", _option_rows(_group().params, _group().callback))
    heads = "| Command | What it does |\n| --- | --- |\n"
    told = f"`tune COMMAND --help` says the same as these pages. {_promises()}"
    blocks = [_SOURCE, "# Commands", heads + "\n".join(rows), "`tune` itself takes:", general, told]
    return "\n\n".join(blocks) + "\n"


def paragraphs(command: Any) -> list[str]:
    """What the help says before the options, without the examples; one line a paragraph."""
    return [text for text in _help_of(command) if not text.startswith(_EXAMPLE)]


def examples(command: Any) -> list[str]:
    """The examples that the help gives."""
    return [text.removeprefix(_EXAMPLE) for text in _help_of(command) if text.startswith(_EXAMPLE)]


def write(folder: Path = FOLDER) -> None:
    """Writes the pages, and removes those of commands that are no more."""
    folder.mkdir(exist_ok=True)
    made = pages()
    for path in folder.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")


def _group() -> Any:
    import typer.main

    from tuner.cli import app

    return typer.main.get_command(app)


def _promises() -> str:
    return (
        "Results go to standard output, progress and errors to standard error. Exit codes: 0 done, "
        "2 something in the input was wrong, 1 the program failed, 130 interrupted."
    )


def _help_of(command: Any) -> list[str]:
    text = inspect.cleandoc(command.help or "")
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def _placeholder(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _argument_rows(arguments: list[Any], callback: Any) -> Iterator[tuple[str, str, str]]:
    for argument in arguments:
        _, said = _annotation(callback, argument.name)
        yield f"`{argument.name.upper()}`", _default(argument), said


def _option_rows(options: list[Any], callback: Any) -> Iterator[tuple[str, str, str]]:
    for option in options:
        names = " ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        hint, said = _annotation(callback, option.name)
        yield f"{names} {_kind(hint)}".strip(), _default(option), said


def _annotation(callback: Any, name: str) -> tuple[Any, str]:
    """A parameter's type and help: Click and Typer do not agree on where they keep these."""
    hint = typing.get_type_hints(inspect.unwrap(callback), include_extras=True)[name]
    return hint.__origin__, hint.__metadata__[0].help or ""


def _kind(hint: Any) -> str:
    """What an option is followed by: its choices, or what sort of thing it is."""
    inner = [part for part in typing.get_args(hint) if part is not type(None)]
    if inner:  # X | None, list[X]
        return _kind(inner[0])
    if issubclass(hint, bool):
        return ""
    if issubclass(hint, enum.Enum):
        return ", ".join(f"`{choice.value}`" for choice in hint)
    return _KINDS[hint]


def _default(parameter: Any) -> str:
    """Its default as a user would type it; of a pair of flags, the one that holds."""
    value = parameter.default
    if parameter.param_type_name == "argument" and parameter.required:
        return "required"
    if isinstance(value, bool):
        names = parameter.opts if value else parameter.secondary_opts
        return f"`{names[0]}`" if names else ""
    if value is None or callable(value) or value == ():
        return ""
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _table(first: str, rows: Iterator[tuple[str, str, str]]) -> str:
    lines = [f"| {first} | Default | What it does |", "| --- | --- | --- |"]
    return "\n".join(lines + [f"| {' | '.join(map(_cell, row))} |" for row in rows])


def _cell(text: str) -> str:
    return re.sub(r"([|<])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return f"```sh\n{text}\n```"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    write()
