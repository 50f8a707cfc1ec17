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
    """Print what rich renders, as wide as the terminal."""
    stdout_console().print(table)


def print_report(report: Callable[[int], RenderableType]) -> None:
    """Print a report that is made for the width of the terminal, in characters."""
    console = stdout_console()
    console.print(report(console.width))


def print_json(value: Any) -> None:
    """Print a JSON document."""
    typer.echo(json.dumps(value, indent=2))


def stdout_console() -> Console:
    """A console on standard output without highlighting."""
    return Console(highlight=False)


def plain(text: str) -> Text:
    """Text in which markup and control characters mean nothing, such as a file name."""
    return Text(printable(text))


def plain_table(gap: int = 1) -> Table:
    """A table with a line below its headings alone, and `gap` spaces between columns."""
    padding = (0, gap - 1, 0, 0)
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=padding, show_edge=False)
