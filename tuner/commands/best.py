"""`tune best`."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.data.dataset import Dataset
    from tuner.export.files import Exported
    from tuner.export.refit import Refit
    from tuner.runs.records import TrialRecord
    from tuner.runs.run import Run
    from tuner.terminal.search_progress import SearchProgress


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
    prepare_device()
    from tuner.evaluate.evaluation import chosen_trial, evaluate_winner
    from tuner.export.files import ExportOptions
    from tuner.export.winner import check_target, export_winner
    from tuner.runs.run import open_run, winner_of
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.tables import print_json
    from tuner.terminal.winner import print_winner, winner_row

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
    options = ExportOptions(
        tuple(name.value for name in export_format or [ExportFormat("keras")]),
        quantize and quantize.value,
        calibrate,
    )
    opened = open_run(runs_dir, run)
    winner_of(opened)
    dataset = opened.dataset()
    chosen_trial(opened, dataset, prefer.value)
    if export is not None:
        check_target(export.absolute())
    cache_folder = cache_dir or default_cache_dir()
    exported = refitted = None
    with SearchProgress(opened.settings.objective, quiet) as progress, Cache(cache_folder) as cache:
        counting = functools.partial(progress.count, "decoding test images")
        winner = evaluate_winner(
            opened, dataset, cache, counting, prefer.value, on_counting=progress.count
        )
        if export is not None:
            if refit:
                refitted = _refitted(opened, winner.trial, dataset, data, cache, progress)
            progress.say("Exporting, and checking each file in another process.")
            exported = export_winner(
                opened, winner, dataset, export, cache, options, progress.count, refitted
            )
    if exported is not None and exported.warning:
        typer.echo(f"Warning: {exported.warning}", err=True)
    if as_json:
        print_json(winner_row(winner) | _export_row(export, exported, refitted))
    else:
        print_winner(winner, opened.settings.objective, export, exported, refitted)


def _export_row(
    folder: Path | None, exported: "Exported | None", refitted: "Refit | None"
) -> dict[str, Any]:
    from tuner.export.description import check_row
    from tuner.export.refit import refit_row

    row: dict[str, Any] = {"export": str(folder)} if folder else {}
    if exported is not None:
        row |= check_row(exported)
    if refitted is not None:
        row["refit"] = refit_row(refitted)
    return row


def _refitted(
    run: "Run",
    trial: "TrialRecord",
    dataset: "Dataset",
    data: Path | None,
    cache: Cache,
    progress: "SearchProgress",
) -> "Refit":
    from tuner.export.refit import grown_dataset, refit

    if data is not None:
        dataset = grown_dataset(run, data, cache.folder, progress.count)
    return refit(run, trial, dataset, cache, progress.count)
