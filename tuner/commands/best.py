"""`tune best`."""

from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.options import (
    PREFER_BEST,
    AsJson,
    CacheDir,
    ExportFormat,
    Preference,
    Quantization,
    Quiet,
    RunArgument,
    RunsDir,
)
from tuner.environment import prepare_device
from tuner.errors import InputError
from tuner.storage.cache import Cache, default_cache_dir


def best(
    run: RunArgument = None,
    runs_dir: RunsDir = Path("runs"),
    export: Annotated[
        Path | None, typer.Option(help="Export the winner to this new folder.")
    ] = None,
    export_format: Annotated[
        list[ExportFormat] | None,
        typer.Option("--format", help="Export format; default keras; repeatable."),
    ] = None,
    quantize: Annotated[
        Quantization | None,
        typer.Option(help="Number format of the LiteRT file; default float32."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Calibrate exported probabilities by temperature scaling on validation.",
        ),
    ] = False,
    prefer: Annotated[
        Preference,
        typer.Option(help="simple: the cheapest trial within one standard error of the best."),
    ] = PREFER_BEST,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Export it after retraining on training and validation images."
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="With --refit: the folder or table, which may have new images."),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Show all scores, classes and baselines.")
    ] = False,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show the winner and its accuracy on the test images; export it.

    The search neither trains on the test images nor selects by them. They are read once; the
    journal keeps the result, which later calls show.

    Each exported file is checked: in its own runtime it must predict the same for the validation
    and test images as the network.

    --refit leaves no validation images: the accuracy is that on the test images.

    Example: tune best first --export model --format keras --format onnx
    """
    needs = {"--format": export_format, "--quantize": quantize, "--calibrate": calibrate}
    for option, given in (needs | {"--refit": refit}).items():
        if given and export is None:
            raise InputError(f"{option} needs --export. Give both.")
    if data is not None and not refit:
        raise InputError("--data needs --refit. Give both.")
    if refit and calibrate:
        raise InputError(
            "--calibrate needs validation images that --refit trains on. Give one of them."
        )
    prepare_device()
    from tuner.export.files import ExportOptions
    from tuner.export.winner import ExportRequest, best_of
    from tuner.runs.run import open_run
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.tables import print_json
    from tuner.terminal.winner import best_row, print_best

    formats = tuple(name.value for name in export_format or [ExportFormat("keras")])
    options = ExportOptions(formats, quantize and quantize.value, calibrate)
    request = None if export is None else ExportRequest(export, options, refit, data)
    opened = open_run(runs_dir, run)
    cache_folder = cache_dir or default_cache_dir()
    with SearchProgress(opened.settings.objective, quiet) as progress, Cache(cache_folder) as cache:
        found = best_of(opened, cache, prefer.value, request, progress.count)
    if found.exported is not None and found.exported.warning:
        typer.echo(f"Warning: {found.exported.warning}", err=True)
    if as_json:
        print_json(best_row(found))
    else:
        print_best(found, opened, details)
