"""`tune board`."""

import functools
import threading
from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.options import CacheDir, RunsDir
from tuner.environment import prepare_device
from tuner.errors import InputError
from tuner.storage.cache import Cache, default_cache_dir


def board(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Names of runs, to compare several; default: the newest."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show all runs together.")] = False,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port; default: 6006, or the next free one."),
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    cache_dir: CacheDir = None,
) -> None:
    """Show runs in TensorBoard, also while they search; Ctrl-C ends it.

    Learning curves of all trials, scores by hyperparameters, and images that the winner
    misclassifies. Only this machine can open it.

    Example: tune board first second
    """
    from tuner.runs.run import open_run, run_names

    if every and runs:
        raise InputError("Give names of runs or --all, not both.")
    names: list[str | None] = [*(run_names(runs_dir) if every else dict.fromkeys(runs or ()))]
    opened = [open_run(runs_dir, name) for name in names or [None]]
    prepare_device()
    from tuner.tensorboard.server import log_folder, serve

    say = functools.partial(typer.echo, err=True)
    with Cache(cache_dir or default_cache_dir()) as cache, log_folder(opened, cache, say) as folder:
        shown = ", ".join(run.name for run in opened)
        typer.echo(f"TensorBoard shows {shown} at {serve(folder, port)} until Ctrl-C.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
