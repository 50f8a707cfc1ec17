"""Print tables, plain or with Rich, and JSON."""

import json
from collections.abc import Callable
from typing import Any

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.text import printable


def print_table(table: RenderableType) -> None:
    """Prints what rich renders, as wide as the terminal."""
    stdout_console().print(table)


def print_report(report: Callable[[int], RenderableType]) -> None:
    """Prints what is made for the width of the terminal, in characters."""
    console = stdout_console()
    console.print(report(console.width))


def print_json(value: Any) -> None:
    """Prints a JSON document."""
    typer.echo(json.dumps(value, indent=2))


def stdout_console() -> Console:
    """A console on standard output that highlights nothing."""
    return Console(highlight=False)


def plain(text: str) -> Text:
    """Text from a user's disk: markup and control characters in it mean nothing."""
    return Text(printable(text))


def plain_table() -> Table:
    """A table of headings above columns, without lines between them."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
