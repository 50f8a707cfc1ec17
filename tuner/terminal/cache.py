"""The table of `tune cache`."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType

from tuner.storage.cache import CacheEntry
from tuner.terminal.tables import plain, plain_table
from tuner.text import size


def cache_table(folder: Path, entries: Sequence[CacheEntry]) -> RenderableType:
    """One row per kind of entry, and the total size.

    Args:
        folder: the cache folder.
        entries: its entries.
    """
    table = plain_table(gap=3)
    table.add_column("kind")
    for header in ("entries", "in use", "size"):
        table.add_column(header, justify="right")
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
    total = plain(f"{size(sum(entry.size_bytes for entry in entries))} in {folder}")
    return Group(table, total) if entries else total
