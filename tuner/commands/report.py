"""`tune report`."""

from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.options import DEFAULTS, CacheDir, Quiet, RunsDir
from tuner.environment import prepare_device
from tuner.storage.cache import Cache, default_cache_dir


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Names of runs, to compare several; default: the newest."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: report.html in the run's folder.")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
) -> None:
    """Write a run as one HTML page that works offline.

    It does not read the test images; it shows what tune best measured.

    Example: tune report first

    Example: tune report first second --out both.html
    """
    prepare_device()
    from tuner.report.write import (
        COMPARISON_NAME,
        FILE_NAME,
        check_page,
        write_comparison,
        write_report,
    )
    from tuner.runs.run import open_run
    from tuner.terminal.search_progress import SearchProgress

    names: list[str | None] = [*runs] if runs else [None]
    opened = [open_run(runs_dir, name) for name in names]
    path = out or opened[0].folder / (FILE_NAME if len(opened) == 1 else COMPARISON_NAME)
    check_page(path)
    with (
        SearchProgress(DEFAULTS.objective, quiet) as progress,
        Cache(cache_dir or default_cache_dir()) as cache,
    ):
        if len(opened) == 1:
            write_report(opened[0], path, cache, progress.count)
        else:
            write_comparison(opened, path)
    typer.echo(str(path))
