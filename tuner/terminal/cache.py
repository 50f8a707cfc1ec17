"""The table of `tune cache`."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from tuner.storage.cache import CacheEntry
from tuner.terminal.tables import plain
from tuner.text import size


def cache_table(folder: Path, entries: Sequence[CacheEntry]) -> RenderableType:
    """One row a kind of entry, and what all of them take.

    Args:
        folder: the cache folder.
        entries: what is in it.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for header, justify in (("kind", "left"), ("entries", "right"), ("in use", "right")):
        table.add_column(header, justify=justify)  # type: ignore[arg-type]
    table.add_column("size", justify="right")
    table.add_column("last used")
    for kind in sorted({entry.kind for entry in entries}):
        group = [entry for entry in entries if entry.kind == kind]
        used = max(entry.last_used for entry in group).astimezone()
        table.add_row(
            kind,
            str(len(group)),
            str(sum(entry.held for entry in group)),
            size(sum(entry.size_bytes for entry in group)),
            f"{used:%Y-%m-%d %H:%M}",
        )
    total = size(sum(entry.size_bytes for entry in entries))
    line = plain(f"{total} in {folder}")
    return Group(table, line) if entries else line
