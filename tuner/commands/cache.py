"""`tune cache`: show or prune stored images and features."""

import dataclasses
from typing import Annotated

import typer

from tuner.commands.options import AsJson, CacheDir
from tuner.errors import InputError
from tuner.storage.cache import Cache, default_cache_dir
from tuner.text import parse_time


def cache(
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove entries that no running search uses.")
    ] = False,
    older_than: Annotated[
        str | None, typer.Option(help="Remove only entries unused for this long, such as 30d.")
    ] = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
) -> None:
    """Show or remove stored images and features.

    Example: tune cache --prune --older-than 30d
    """
    from tuner.terminal.cache import cache_table
    from tuner.terminal.tables import print_json, print_table
    from tuner.text import size

    folder = cache_dir or default_cache_dir()
    age = parse_time(older_than) if older_than else None
    if age is not None and not prune:
        raise InputError("--older-than needs --prune. Give both.")
    with Cache(folder) as opened:
        freed = opened.prune(age) if prune else None
        entries = opened.entries()
    if as_json:
        rows = [
            dataclasses.asdict(entry) | {"last_used": entry.last_used.isoformat()}
            for entry in entries
        ]
        print_json({"folder": str(folder), "freed_bytes": freed, "entries": rows})
        return
    if freed is not None:
        typer.echo(f"Freed {size(freed)}.")
    print_table(cache_table(folder, entries))
