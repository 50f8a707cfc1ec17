"""The command line: parse, call one function, print.

What needs TensorFlow is imported inside the commands, so that `tune --help` answers at once.
"""

import dataclasses
import functools
import os
import shlex
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.cache import Cache, default_cache_dir
from tuner.environment import check_keras_config, prepare_device, versions
from tuner.errors import DamagedJournalError, DataError, InputError, StoppedError, TuneError
from tuner.quantities import parse_size, parse_time
from tuner.settings import AUGMENTATIONS, CLASS_WEIGHTS, OBJECTIVES, SearchSettings, parse_fixed
from tuner.stopping import EXIT_CODE, StopRequest, stop_on_signals

if TYPE_CHECKING:
    from tuner.dataset import Dataset
    from tuner.progress import SearchProgress

app = typer.Typer(
    name="tune",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_STOPPING = "Stopping: this epoch is finished and saved. Ctrl-C again stops at once."
_BEGUN = time.monotonic()  # when a time budget begins to run: before TensorFlow's import
DEFAULTS = SearchSettings()
Objective = StrEnum("Objective", list(OBJECTIVES))  # type: ignore[misc]
DEFAULT_OBJECTIVE = Objective(DEFAULTS.objective)
Augmentation = StrEnum("Augmentation", list(AUGMENTATIONS))  # type: ignore[misc]
NO_AUGMENTATION = Augmentation(DEFAULTS.augment)
ClassWeights = StrEnum("ClassWeights", list(CLASS_WEIGHTS))  # type: ignore[misc]
NO_CLASS_WEIGHTS = ClassWeights(DEFAULTS.class_weights)
TableFormat = StrEnum("TableFormat", ["table", "json", "csv"])
ExportFormat = StrEnum("ExportFormat", ["keras"])

RunArgument = Annotated[str | None, typer.Argument(help="Name of the run; left out, the newest.")]
RunsDir = Annotated[Path, typer.Option(help="Folder of the runs.")]
CacheDir = Annotated[
    Path | None, typer.Option(help="Folder of decoded images and features; left out, yours.")
]
ValFraction = Annotated[float, typer.Option(help="Share of the images that validates.")]
TestFraction = Annotated[
    float, typer.Option(help="Share of the images that takes no part in the search.")
]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split.")]
DropLeaks = Annotated[
    bool, typer.Option("--drop-leaks", help="Leave out training images that others show too.")
]
KeepConflicts = Annotated[
    bool, typer.Option("--keep-conflicts", help="Train on images that stand under two labels.")
]
Weights = Annotated[str, typer.Option(help="Pretrained weights: imagenet, none, or a file.")]
ImageSize = Annotated[int, typer.Option(help="Pixels a side.")]
Crop = Annotated[
    bool,
    typer.Option("--crop/--no-crop", help="Take each image's centre square, not a squashed whole."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Keep = Annotated[int, typer.Option(min=1, help="Best trials that keep their weights.")]
CacheLimit = Annotated[str, typer.Option(help="Most that the cache may hold, such as 500MB.")]
Budget = Annotated[
    str | None,
    typer.Option("--time-budget", help="Time that the search may take in all, such as 30m."),
]


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
        except StoppedError as error:
            _print_error(str(error))
            raise typer.Exit(EXIT_CODE) from error
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
            raise typer.Exit(EXIT_CODE) from None

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
        typer.Argument(
            help="Folder of class folders, or of train/ val/ [test/] folders; or a CSV table."
        ),
    ] = None,
    run: Annotated[str, typer.Option(help="Name of the run.")] = "search",
    runs_dir: RunsDir = Path("runs"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of that name.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a run of that name.")
    ] = False,
    space: Annotated[
        str, typer.Option(help="Search space: resnet50, or package.module:Class.")
    ] = DEFAULTS.space,
    fix: Annotated[
        list[str] | None, typer.Option(help="Pin a hyperparameter, name=value; repeatable.")
    ] = None,
    weights: Weights = DEFAULTS.weights,
    image_size: ImageSize = DEFAULTS.image_size,
    crop: Crop = DEFAULTS.crop,
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
        Objective,
        typer.Option(help="What trials are compared by; balanced: the mean over the classes."),
    ] = DEFAULT_OBJECTIVE,
    class_weights: Annotated[
        ClassWeights,
        typer.Option(help="balanced: all classes weigh the same in the training loss."),
    ] = NO_CLASS_WEIGHTS,
    seed: Annotated[int, typer.Option(help="Seed of everything but the split.")] = DEFAULTS.seed,
    val_fraction: ValFraction = DEFAULTS.val_fraction,
    test_fraction: TestFraction = DEFAULTS.test_fraction,
    split_seed: SplitSeed = DEFAULTS.split_seed,
    drop_leaks: DropLeaks = False,
    keep_conflicts: KeepConflicts = False,
    augment: Annotated[
        Augmentation, typer.Option(help="Vary the training images.")
    ] = NO_AUGMENTATION,
    views: Annotated[
        int | None,
        typer.Option(help="Fixed views of each image; left out, 2 for flip, 4 for others."),
    ] = None,
    time_budget: Budget = None,
    keep: Keep = 1,
    cache_dir: CacheDir = None,
    cache_limit: CacheLimit = "20GB",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the schedule and how long it would take.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search for the best head and unfreeze depth.

    DATA left out, it searches on scikit-learn's handwritten digits. Ctrl-C saves and ends; the
    same command with --resume goes on, and begins where there is nothing to go on with.

    Example: tune search photos --run first --max-epochs 10 --time-budget 2h --resume
    """
    if overwrite and resume:
        raise InputError("--overwrite begins again and --resume goes on. Give one of them.")
    settings = SearchSettings(
        data=str(data.absolute()) if data else None,
        space=space,
        fixed=parse_fixed(fix or []),
        weights=weights if weights in ("imagenet", "none") else str(Path(weights).absolute()),
        image_size=image_size,
        crop=crop,
        batch_size=batch_size,
        max_epochs=max_epochs,
        factor=factor,
        iterations=iterations,
        objective=objective.value,
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        drop_leaks=drop_leaks,
        keep_conflicts=keep_conflicts,
        augment=augment.value,
        views={"none": 1, "flip": 2}.get(augment.value, 4) if views is None else views,
        class_weights=class_weights.value,
        time_budget_seconds=_seconds(time_budget),
    )
    places = _Places(runs_dir, cache_dir, parse_size(cache_limit))
    if dry_run:
        _print_estimate(settings, places, quiet, as_json)
    else:
        _search(
            settings, run, places, overwrite=overwrite, resume=resume, keep=keep, quiet=quiet,
            as_json=as_json,
        )  # fmt: skip


@command
def resume(
    run: RunArgument = None,
    runs_dir: RunsDir = Path("runs"),
    iterations: Annotated[
        int | None, typer.Option(help="Add Hyperband iterations, up to so many in all.")
    ] = None,
    time_budget: Budget = None,
    keep: Keep = 1,
    cache_dir: CacheDir = None,
    cache_limit: CacheLimit = "20GB",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Go on with an interrupted search, from its own settings; or add to a finished one.

    Example: tune resume first --iterations 2
    """
    from tuner.run import open_run

    opened = open_run(runs_dir, run)
    settings, changes = opened.settings, dict[str, Any]()
    if iterations is not None:
        if iterations < settings.iterations:
            raise InputError(
                f"--iterations must be at least the run's {settings.iterations}, but is "
                f"{iterations}."
            )
        changes["iterations"] = iterations
    if time_budget is not None:
        changes["time_budget_seconds"] = _seconds(time_budget)
    settings = dataclasses.replace(settings, **changes)
    places = _Places(runs_dir, cache_dir, parse_size(cache_limit))
    _search(settings, opened.name, places, resume=True, keep=keep, quiet=quiet, as_json=as_json)


@command
def runs(
    runs_dir: RunsDir = Path("runs"),
    delete: Annotated[str | None, typer.Option(help="Delete the run of this name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs, the newest first; delete one.

    Example: tune runs --delete first
    """
    from tuner.printing import print_json, print_table
    from tuner.run import delete_run, open_run, summaries
    from tuner.tables import run_table

    if delete is not None:
        doomed = open_run(runs_dir, delete)
        if not yes and not typer.confirm(f"Delete {doomed.folder} with everything in it?"):
            raise InputError("nothing was deleted.")
        delete_run(doomed)
        typer.echo(f"Deleted {doomed.folder}.", err=True)
        return
    found = summaries(runs_dir)
    if as_json:
        print_json([dataclasses.asdict(summary) for summary in found])
    elif found:
        print_table(run_table(found))
    else:
        typer.echo(f"There are no runs in {runs_dir}.")


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
    from tuner.printing import print_csv, print_json, print_trials, trial_row
    from tuner.ranking import rank, rank_all
    from tuner.run import open_run

    opened = open_run(runs_dir, run)
    try:
        found, damage = opened.journal.trials(), None
    except DamagedJournalError as error:
        found, damage = opened.salvaged(), error
    records = rank_all(found, opened.settings.direction)
    if as_json or output_format is TableFormat.json:
        print_json([trial_row(record) for record in records])
    elif output_format is TableFormat.csv:
        print_csv([trial_row(record) for record in records])
    else:
        print_trials(opened, records, next(iter(rank(records, opened.settings.direction)), None))
    if damage is not None:
        raise damage


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
    from tuner.printing import print_json, print_winner, winner_row
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
        print_json(winner_row(winner) | ({"export": str(export)} if export else {}))
    else:
        print_winner(winner, opened.settings.objective, export, parity)


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
    from tuner.printing import print_json, print_table

    predictions = list(Export(export).predict(images))
    if as_json:
        print_json([dataclasses.asdict(p) | {"path": str(p.path)} for p in predictions])
    else:
        from tuner.tables import prediction_table

        print_table(prediction_table(predictions))
    if all(prediction.error for prediction in predictions):
        raise InputError(
            "none of the images could be read. Give JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF files."
        )


@command
def data(
    data: Annotated[Path, typer.Argument(help="Folder or table, as for tune search.")],
    val_fraction: ValFraction = DEFAULTS.val_fraction,
    test_fraction: TestFraction = DEFAULTS.test_fraction,
    split_seed: SplitSeed = DEFAULTS.split_seed,
    drop_leaks: DropLeaks = False,
    keep_conflicts: KeepConflicts = False,
    export_csv: Annotated[
        Path | None, typer.Option(help="Write the images with their splits to this table.")
    ] = None,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show what images there are, what is wrong, and the split.

    Example: tune data photos --export-csv photos.csv
    """
    from tuner.dataset import SplitOptions, check_table, split_survey, write_table
    from tuner.datatable import data_report, data_row
    from tuner.printing import print_json, print_report
    from tuner.progress import SearchProgress
    from tuner.survey import survey

    options = SplitOptions(val_fraction, test_fraction, split_seed, drop_leaks, keep_conflicts)
    if export_csv is not None:
        check_table(export_csv)
    with (
        SearchProgress(DEFAULTS.objective, quiet) as progress,
        Cache(cache_dir or default_cache_dir()) as cache,
    ):
        counting = functools.partial(progress.counting, "reading images")
        found = survey(data, cache, counting)
    dataset, problem = None, None
    try:
        dataset = split_survey(found, options)
        if export_csv is not None:
            write_table(dataset, export_csv)
    except DataError as error:
        problem = error
    if as_json:
        print_json(data_row(found, dataset))
    else:
        print_report(functools.partial(data_report, found, dataset))
    if problem is not None:
        raise problem


@command
def diagnose(
    data: Annotated[Path, typer.Argument(help="Folder or table, as for tune search.")],
    model: Annotated[
        str | None,
        typer.Option(help="Your own model: FILE.keras, or package.module:function."),
    ] = None,
    weights: Weights = DEFAULTS.weights,
    image_size: ImageSize = DEFAULTS.image_size,
    crop: Crop = DEFAULTS.crop,
    val_fraction: ValFraction = DEFAULTS.val_fraction,
    test_fraction: TestFraction = DEFAULTS.test_fraction,
    split_seed: SplitSeed = DEFAULTS.split_seed,
    drop_leaks: DropLeaks = False,
    keep_conflicts: KeepConflicts = False,
    seed: Annotated[int, typer.Option(help="Seed of everything but the split.")] = DEFAULTS.seed,
    full: Annotated[
        bool, typer.Option("--full", help="Give what is trained end to end three seeds too.")
    ] = False,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Explain why accuracy is stuck, by experiments on your images.

    Example: tune diagnose photos --model my_model.keras
    """
    prepare_device()
    from tuner.dataset import SplitOptions, load_dataset
    from tuner.diagnosis import Options, run_diagnosis
    from tuner.diagnosistable import diagnosis_report
    from tuner.loading import load_model
    from tuner.printing import print_json, print_report
    from tuner.progress import SearchProgress

    split = SplitOptions(val_fraction, test_fraction, split_seed, drop_leaks, keep_conflicts)
    options = Options(weights, image_size, crop, full, seed)
    own = None if model is None else load_model(model)
    with (
        SearchProgress(DEFAULTS.objective, quiet) as progress,
        Cache(cache_dir or default_cache_dir()) as cache,
    ):
        reading = functools.partial(progress.counting, "reading images")
        dataset = load_dataset(data, split, cache=cache, on_progress=reading)
        _say_dataset(progress, dataset)
        found = run_diagnosis(dataset, cache, options, own, progress.counting)
    if as_json:
        print_json(found.to_json())
    else:
        print_report(functools.partial(diagnosis_report, found))


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
    from tuner.printing import print_json, print_table
    from tuner.quantities import size
    from tuner.tables import cache_table

    folder = cache_dir or default_cache_dir()
    age = parse_time(older_than) if older_than else None
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
        print_json({"folder": str(folder), "freed_bytes": freed, "entries": rows})
        return
    if freed is not None:
        typer.echo(f"Freed {size(freed)}.")
    print_table(cache_table(folder, entries))


@dataclasses.dataclass(frozen=True)
class _Places:
    """Where a search reads and writes, as the options say it."""

    runs_dir: Path
    cache_dir: Path | None
    cache_limit_bytes: int

    def options(self) -> list[str]:
        """The options that name the same places to another command."""
        named = [] if self.runs_dir == Path("runs") else ["--runs-dir", str(self.runs_dir)]
        return named + (["--cache-dir", str(self.cache_dir)] if self.cache_dir else [])


def _search(
    settings: SearchSettings,
    name: str,
    places: _Places,
    *,
    overwrite: bool = False,
    resume: bool,
    keep: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Searches, or goes on, and prints the trials."""
    stop = StopRequest()
    device = prepare_device()
    from tuner.evaluation import winner_of
    from tuner.printing import print_json, print_trials
    from tuner.progress import SearchProgress
    from tuner.search import SearchControl, SearchFolders, existing_run
    from tuner.search import search as run_search

    cache_dir = places.cache_dir or default_cache_dir()
    with SearchProgress(settings.objective, quiet) as progress:
        progress.say(f"Computing on {device}.")
        try:
            with stop_on_signals(stop, lambda: progress.say(_STOPPING)):
                finished = run_search(
                    settings,
                    name,
                    SearchFolders(places.runs_dir, cache_dir, places.cache_limit_bytes),
                    overwrite=overwrite,
                    resume=resume,
                    keep=keep,
                    observer=progress,
                    on_dataset=functools.partial(_say_dataset, progress),
                    on_progress=progress.counting,
                    control=SearchControl(stop, _BEGUN),
                )
        except StoppedError as error:
            # Before that, what is to be overwritten is still there.
            begun = error.begun or (resume and existing_run(places.runs_dir, name) is not None)
            command = ["resume", name, *places.options()] if begun else sys.argv[1:]
            raise StoppedError(
                f"interrupted. Go on with: {shlex.join(['tune', *command])}"
            ) from error
    trials, best = finished.journal.trials(), winner_of(finished)
    if as_json:
        print_json({"run": name, "folder": str(finished.folder), "winner": best.id})
    else:
        print_trials(finished, trials, best)
        command = ["tune", "best", name, *places.options(), "--export", "model"]
        typer.echo(f"Next: {shlex.join(command)}")


def _seconds(time_budget: str | None) -> float | None:
    return None if time_budget is None else parse_time(time_budget).total_seconds()


def _print_estimate(settings: SearchSettings, places: _Places, quiet: bool, as_json: bool) -> None:
    prepare_device()
    from tuner.estimate import estimate
    from tuner.printing import print_json
    from tuner.progress import SearchProgress
    from tuner.quantities import duration, size
    from tuner.search import SearchFolders
    from tuner.tables import schedule_lines

    cache_dir = places.cache_dir or default_cache_dir()
    folders = SearchFolders(places.runs_dir, cache_dir, places.cache_limit_bytes)
    with SearchProgress(settings.objective, quiet) as progress:
        say = functools.partial(_say_dataset, progress)
        found = estimate(settings, folders, say, progress.counting)
        if found.imbalance is not None:
            progress.note(found.imbalance)
    if as_json:
        print_json(dataclasses.asdict(found) | {"trials": found.schedule.total_trials})
        return
    typer.echo("\n".join(schedule_lines(found.schedule, found.training_seconds)))
    if found.preparation_seconds is not None:
        typer.echo(
            f"Before it, unless they are stored: features, about "
            f"{duration(found.preparation_seconds)} and {size(found.stored_bytes)}."
        )


def _say_dataset(progress: "SearchProgress", dataset: "Dataset") -> None:
    from tuner.tables import data_warnings

    parts = ", ".join(
        f"{len(dataset.of(split))} {split}" for split in ("train", "validation", "test")
    )
    progress.say(f"{len(dataset.files)} images in {len(dataset.classes)} classes: {parts}.")
    found = (dataset.skipped, dataset.conflicts, dataset.leaks)
    for line in data_warnings(*found, dataset.paths):
        progress.say(f"Warning: {line}")


def _explanation(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename} cannot be used: {reason}." if error.filename else f"{reason}."


def _print_error(message: str) -> None:
    line = " ".join(message.split())
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
    typer.echo(f"Error: {shown}", err=True)
