"""The command line: parse, call one function, print.

What needs TensorFlow is imported inside the commands, so that `tune --help` answers at once.
"""

import dataclasses
import functools
import json
import os
import shlex
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cache import Cache, default_cache_dir, parse_age, parse_size
from tuner.environment import check_keras_config, prepare_device, versions
from tuner.errors import InputError, TuneError
from tuner.ranking import trial_name
from tuner.settings import AUGMENTATIONS, OBJECTIVES, SearchSettings, parse_fixed

if TYPE_CHECKING:
    from rich.console import Console

    from tuner.dataset import Dataset
    from tuner.evaluation import Winner
    from tuner.export import Parity
    from tuner.journal import TrialRecord
    from tuner.progress import SearchProgress
    from tuner.run import Run

app = typer.Typer(
    name="tune",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
DEFAULTS = SearchSettings()
Objective = StrEnum("Objective", list(OBJECTIVES))  # type: ignore[misc]
DEFAULT_OBJECTIVE = Objective(DEFAULTS.objective)
Augmentation = StrEnum("Augmentation", list(AUGMENTATIONS))  # type: ignore[misc]
NO_AUGMENTATION = Augmentation(DEFAULTS.augment)
TableFormat = StrEnum("TableFormat", ["table", "json", "csv"])
ExportFormat = StrEnum("ExportFormat", ["keras"])

RunArgument = Annotated[str | None, typer.Argument(help="Name of the run; left out, the newest.")]
RunsDir = Annotated[Path, typer.Option(help="Folder of the runs.")]
CacheDir = Annotated[
    Path | None, typer.Option(help="Folder of decoded images and features; left out, yours.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def main() -> None:
    """Runs the command line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    # A file's name may hold what the terminal's encoding does not.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a command of a function; errors become one sentence and an exit code."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            check_keras_config()
            function(*arguments, **options)
        except TuneError as error:
            _print_error(str(error))
            raise typer.Exit(2 if isinstance(error, InputError) else 1) from error
        except BrokenPipeError:  # of a reader that has seen enough, such as head
            raise
        except OSError as error:
            _print_error(_explanation(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            _print_error("interrupted.")
            raise typer.Exit(130) from None

    return app.command()(run)


@app.callback()
def tune(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print versions.", is_eager=True)
    ] = False,
) -> None:
    """Find the best ResNet50 transfer-learning classifier for your own photos.

    Begin with: tune search PHOTOS, where PHOTOS holds one folder for each class.
    """
    if show_version:
        typer.echo("\n".join(f"{name} {number}" for name, number in versions().items()))
        raise typer.Exit


# The version alone is no error: the callback must run without a command.
app.registered_callback.invoke_without_command = True  # type: ignore[union-attr]


@command
def search(
    data: Annotated[
        Path | None,
        typer.Argument(help="Folder of class folders, or of train/ val/ [test/] folders."),
    ] = None,
    run: Annotated[str, typer.Option(help="Name of the run.")] = "search",
    runs_dir: RunsDir = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of that name.")
    ] = False,
    space: Annotated[
        str, typer.Option(help="Search space: resnet50, or package.module:Class.")
    ] = DEFAULTS.space,
    fix: Annotated[
        list[str] | None, typer.Option(help="Pin a hyperparameter, name=value; repeatable.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Pretrained weights: imagenet, none, or a file.")
    ] = DEFAULTS.weights,
    image_size: Annotated[int, typer.Option(help="Pixels a side.")] = DEFAULTS.image_size,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = DEFAULTS.batch_size,
    max_epochs: Annotated[
        int, typer.Option(help="Epochs of a trial that is never stopped.")
    ] = DEFAULTS.max_epochs,
    factor: Annotated[
        int, typer.Option(help="Each rung keeps about one trial in FACTOR.")
    ] = DEFAULTS.factor,
    iterations: Annotated[
        int, typer.Option(help="How often Hyperband is run.")
    ] = DEFAULTS.iterations,
    objective: Annotated[
        Objective, typer.Option(help="What the search looks for.")
    ] = DEFAULT_OBJECTIVE,
    seed: Annotated[int, typer.Option(help="Seed of everything but the split.")] = DEFAULTS.seed,
    val_fraction: Annotated[
        float, typer.Option(help="Share of the images that validates.")
    ] = DEFAULTS.val_fraction,
    test_fraction: Annotated[
        float, typer.Option(help="Share of the images that takes no part in the search.")
    ] = DEFAULTS.test_fraction,
    split_seed: Annotated[int, typer.Option(help="Seed of the split.")] = DEFAULTS.split_seed,
    augment: Annotated[
        Augmentation, typer.Option(help="Vary the training images.")
    ] = NO_AUGMENTATION,
    views: Annotated[
        int | None,
        typer.Option(help="Fixed views of each image; left out, 2 for flip, 4 for others."),
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="Best trials that keep their weights.")] = 1,
    cache_dir: CacheDir = None,
    cache_limit: Annotated[
        str, typer.Option(help="Most that the cache may hold, such as 500MB.")
    ] = "20GB",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search for the best head and unfreeze depth.

    DATA left out, it searches on scikit-learn's handwritten digits.

    Example: tune search photos --run first --max-epochs 10
    """
    settings = SearchSettings(
        data=str(data.absolute()) if data else None,
        space=space,
        fixed=parse_fixed(fix or []),
        weights=weights if weights in ("imagenet", "none") else str(Path(weights).absolute()),
        image_size=image_size,
        batch_size=batch_size,
        max_epochs=max_epochs,
        factor=factor,
        iterations=iterations,
        objective=objective.value,
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        augment=augment.value,
        views={"none": 1, "flip": 2}.get(augment.value, 4) if views is None else views,
    )
    cache_limit_bytes = parse_size(cache_limit)
    device = prepare_device()
    from tuner.evaluation import winner_of
    from tuner.progress import SearchProgress
    from tuner.search import SearchFolders
    from tuner.search import search as run_search

    with SearchProgress(objective.value, quiet) as progress:
        progress.say(f"Computing on {device}.")
        finished = run_search(
            settings,
            run,
            SearchFolders(runs_dir, cache_dir or default_cache_dir(), cache_limit_bytes),
            overwrite=overwrite,
            keep=keep,
            observer=progress,
            on_dataset=functools.partial(_say_dataset, progress),
            on_progress=progress.counting,
        )
    trials, best = finished.journal.trials(), winner_of(finished)
    if as_json:
        _print_json({"run": run, "folder": str(finished.folder), "winner": best.id})
    else:
        _print_trials(finished, trials, best)
        folders = [] if runs_dir == Path("runs") else ["--runs-dir", str(runs_dir)]
        folders += ["--cache-dir", str(cache_dir)] if cache_dir else []
        typer.echo(f"Next: {shlex.join(['tune', 'best', run, *folders, '--export', 'model'])}")


@command
def trials(
    run: RunArgument = None,
    runs_dir: RunsDir = Path("runs"),
    output_format: Annotated[
        TableFormat, typer.Option("--format", help="How to print it.")
    ] = TableFormat.table,
    as_json: AsJson = False,
) -> None:
    """List the trials of a run, the best first.

    Example: tune trials first --format csv > trials.csv
    """
    from tuner.ranking import rank, rank_all
    from tuner.run import open_run

    opened = open_run(runs_dir, run)
    records = rank_all(opened.journal.trials(), opened.settings.direction)
    if as_json or output_format is TableFormat.json:
        _print_json([trial_row(record) for record in records])
    elif output_format is TableFormat.csv:
        _print_csv([trial_row(record) for record in records])
    else:
        _print_trials(opened, records, next(iter(rank(records, opened.settings.direction)), None))


@command
def best(
    run: RunArgument = None,
    runs_dir: RunsDir = Path("runs"),
    export: Annotated[
        Path | None, typer.Option(help="Write the winner to this new folder.")
    ] = None,
    export_format: Annotated[
        list[ExportFormat] | None, typer.Option("--format", help="Format; repeatable.")
    ] = None,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show the winner and its accuracy on the test images; export it.

    The test images are those that the search neither trained on nor chose by.

    Example: tune best first --export model
    """
    prepare_device()
    from tuner.evaluation import evaluate_winner, winner_of
    from tuner.export import check_target, export_winner
    from tuner.progress import SearchProgress
    from tuner.run import open_run

    if export_format and export is None:
        raise InputError("--format says how --export writes. Give both.")
    opened = open_run(runs_dir, run)
    winner_of(opened)
    if export is not None:
        check_target(export.absolute())
    cache_folder = cache_dir or default_cache_dir()
    dataset = opened.dataset()
    parity = None
    with SearchProgress(opened.settings.objective, quiet) as progress, Cache(cache_folder) as cache:
        counting = functools.partial(progress.counting, "decoding test images")
        winner = evaluate_winner(opened, dataset, cache, counting)
        if export is not None:
            progress.say("Exporting, and checking the export in another process.")
            parity = export_winner(opened, winner, dataset, export)
    if as_json:
        _print_json(_winner_row(winner) | ({"export": str(export)} if export else {}))
    else:
        _print_winner(winner, export, parity)


@command
def predict(
    export: Annotated[Path, typer.Argument(help="Folder that tune best --export wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    as_json: AsJson = False,
) -> None:
    """Name the class of images, with an exported model.

    Example: tune predict model cat.jpg dog.png
    """
    prepare_device()
    from tuner.prediction import Export

    predictions = list(Export(export).predict(images))
    if as_json:
        _print_json([dataclasses.asdict(p) | {"path": str(p.path)} for p in predictions])
    else:
        from tuner.tables import prediction_table

        _console().print(prediction_table(predictions))
    if all(prediction.error for prediction in predictions):
        raise InputError("none of the images could be read. Give JPEG or PNG files.")


@command
def cache(
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what no running search uses.")
    ] = False,
    older_than: Annotated[
        str | None, typer.Option(help="Remove only what was not used for so long, such as 30d.")
    ] = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what decoded images and features are stored; remove them.

    Example: tune cache --prune --older-than 30d
    """
    from tuner.tables import cache_table, size

    folder = cache_dir or default_cache_dir()
    age = parse_age(older_than) if older_than else None
    if age is not None and not prune:
        raise InputError("--older-than says what --prune removes. Give both.")
    with Cache(folder) as opened:
        freed = opened.prune(age) if prune else None
        entries = opened.entries()
    if as_json:
        rows = [
            dataclasses.asdict(entry) | {"last_used": entry.last_used.isoformat()}
            for entry in entries
        ]
        _print_json({"folder": str(folder), "freed_bytes": freed, "entries": rows})
        return
    if freed is not None:
        typer.echo(f"Freed {size(freed)}.")
    _console().print(cache_table(folder, entries))


def trial_row(record: "TrialRecord") -> dict[str, Any]:
    """A trial as `tune trials --format json` prints it."""
    return {
        "id": trial_name(record.id),
        "status": record.status,
        "score": record.score,
        "hyperparameters": record.hyperparameters,
        "bracket": record.bracket,
        "recipe": record.recipe,
        "rungs": [
            {"from": rung.start_epoch, "to": rung.end_epoch, "score": rung.score}
            for rung in record.rungs
        ],
        "epochs": record.epochs,
        "seconds": round(record.seconds, 3),
        "message": record.message,
    }


def _winner_row(winner: "Winner") -> dict[str, Any]:
    return {
        "trial": trial_name(winner.trial.id),
        "hyperparameters": winner.trial.hyperparameters,
        "validation_accuracy": winner.validation_accuracy,
        "test_accuracy": winner.test_accuracy,
        "test_images": winner.test_images,
        "majority_rate": winner.majority_rate,
        "recipe": winner.trial.recipe,
        "epochs": winner.trial.epochs,
    }


def _say_dataset(progress: "SearchProgress", dataset: "Dataset") -> None:
    parts = ", ".join(
        f"{len(dataset.of(split))} {split}" for split in ("train", "validation", "test")
    )
    progress.say(f"{len(dataset.files)} images in {len(dataset.classes)} classes: {parts}.")
    for skipped in dataset.skipped[:10]:
        progress.say(f"Warning: {skipped.path} is left out: {skipped.reason}.")
    if len(dataset.skipped) > 10:
        progress.say(f"Warning: {len(dataset.skipped) - 10} more images are left out.")


def _print_winner(winner: "Winner", export: Path | None, parity: "Parity | None") -> None:
    from tuner.tables import percent

    trial = winner.trial
    recipe = f", the {trial.recipe}" if trial.recipe else ""
    epochs = "1 epoch" if trial.epochs == 1 else f"{trial.epochs} epochs"
    typer.echo(f"Winner: trial {trial_name(trial.id)}{recipe}, {epochs}")
    for name, value in trial.hyperparameters.items():
        typer.echo(
            f"  {name:<20}{value:.3g}" if isinstance(value, float) else f"  {name:<20}{value}"
        )
    typer.echo(f"Validation accuracy   {percent(winner.validation_accuracy)}, which chose it")
    typer.echo(
        f"Test accuracy         {percent(winner.test_accuracy)} of {winner.test_images} images "
        "that took no part in the search"
    )
    typer.echo(f"Majority class alone  {percent(winner.majority_rate)}")
    if export is not None and parity is not None:
        _print_export(export, parity)


def _print_export(export: Path, parity: "Parity") -> None:
    typer.echo(f"Exported to {export}: model.keras, labels.json, export.json")
    same = parity.correct == parity.recorded
    recorded = (
        "as recorded" if same else f"recorded {parity.recorded}, {parity.ties} too close to call"
    )
    typer.echo(
        f"Checked by another process: {parity.correct} of {parity.images} validation images right, "
        f"{recorded}"
    )
    typer.echo(f"Next: {shlex.join(['tune', 'predict', str(export), 'IMAGE'])}")


def _print_trials(run: "Run", records: "list[TrialRecord]", leader: "TrialRecord | None") -> None:
    from tuner.tables import trial_table

    console = _console()
    objective = run.settings.objective
    console.print(trial_table(records, leader, objective=objective, width=console.width))


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def _print_csv(rows: list[dict[str, Any]]) -> None:
    import csv

    names = dict.fromkeys(name for row in rows for name in row["hyperparameters"])
    fixed = ["id", "status", "score", "bracket", "recipe", "epochs", "seconds", "message"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*fixed, *names])
    for row in rows:
        values = row["hyperparameters"]
        writer.writerow([*(row[name] for name in fixed), *(values.get(name) for name in names)])


def _explanation(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename} cannot be used: {reason}." if error.filename else f"{reason}."


def _print_error(message: str) -> None:
    line = " ".join(message.split())
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
    typer.echo(f"Error: {shown}", err=True)
