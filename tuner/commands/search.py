"""`tune search` and `tune resume`."""

import dataclasses
import functools
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.commands.options import (
    DEFAULT_OBJECTIVE,
    DEFAULTS,
    GROUP,
    NO_AUGMENTATION,
    NO_CLASS_WEIGHTS,
    Augmentation,
    Budget,
    CacheDir,
    CacheLimit,
    ClassLevel,
    ClassWeights,
    Crop,
    DropLeaks,
    EventsAsJson,
    GroupBy,
    ImageSize,
    Keep,
    KeepConflicts,
    LabelColumn,
    NearDuplicatesChoice,
    Objective,
    PathColumn,
    Quiet,
    RunArgument,
    RunsDir,
    SplitColumn,
    SplitSeed,
    TestFraction,
    ValFraction,
    Weights,
)
from tuner.environment import prepare_device
from tuner.errors import InputError, StoppedError
from tuner.interrupt import StopRequest, stop_on_signals
from tuner.settings import DEFAULT_VIEWS, SearchFolders, SearchSettings, parse_fixed
from tuner.storage.cache import default_cache_dir, folder_size
from tuner.text import parse_size, parse_time

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.runs.run import Run
    from tuner.terminal.json_lines import JsonLines

_STOPPING = "Stopping: this epoch is finished and saved. Ctrl-C again stops at once."
_BEGUN = time.monotonic()  # when a time budget begins to run: before TensorFlow's import


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
        bool, typer.Option("--resume/--no-resume", help="Resume a run of that name.")
    ] = False,
    space: Annotated[
        str, typer.Option(help="Search space: resnet50, or package.module:Class.")
    ] = DEFAULTS.space,
    fix: Annotated[
        list[str] | None, typer.Option(help="Pin a hyperparameter: name=value; repeatable.")
    ] = None,
    weights: Weights = DEFAULTS.weights,
    image_size: ImageSize = DEFAULTS.image_size,
    crop: Crop = DEFAULTS.crop,
    batch_size: Annotated[
        int, typer.Option(help="Images per training step.")
    ] = DEFAULTS.batch_size,
    max_epochs: Annotated[
        int, typer.Option(help="Epochs of a trial that is never stopped early.")
    ] = DEFAULTS.max_epochs,
    factor: Annotated[
        int, typer.Option(help="Each step of Hyperband keeps about one trial in FACTOR.")
    ] = DEFAULTS.factor,
    iterations: Annotated[int, typer.Option(help="Hyperband iterations.")] = DEFAULTS.iterations,
    objective: Annotated[
        Objective,
        typer.Option(help="Score that ranks trials; balanced: the mean over the classes."),
    ] = DEFAULT_OBJECTIVE,
    class_weights: Annotated[
        ClassWeights,
        typer.Option(help="balanced: every class has the same weight in the training loss."),
    ] = NO_CLASS_WEIGHTS,
    seed: Annotated[int, typer.Option(help="Seed of everything but the split.")] = DEFAULTS.seed,
    val_fraction: ValFraction = DEFAULTS.val_fraction,
    test_fraction: TestFraction = DEFAULTS.test_fraction,
    split_seed: SplitSeed = DEFAULTS.split_seed,
    drop_leaks: DropLeaks = False,
    keep_conflicts: KeepConflicts = False,
    class_level: ClassLevel = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    split_column: SplitColumn = None,
    group_by: GroupBy = None,
    near_duplicates: NearDuplicatesChoice = GROUP,
    augment: Annotated[
        Augmentation, typer.Option(help="Augmentation of the training images.")
    ] = NO_AUGMENTATION,
    views: Annotated[
        int | None,
        typer.Option(help="Fixed views of each image; default 2 for flip, 4 for others."),
    ] = None,
    time_budget: Budget = None,
    keep: Keep = 1,
    cache_dir: CacheDir = None,
    cache_limit: CacheLimit = "20GB",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the schedule and the time it would take.")
    ] = False,
    quiet: Quiet = False,
    as_json: EventsAsJson = False,
) -> None:
    """Search for the best head and unfreeze depth.

    Without DATA it searches on scikit-learn's handwritten digits. Ctrl-C saves and ends; the same
    command with --resume continues, and begins a run if there is none.

    Example: tune search photos --run first --max-epochs 10 --time-budget 2h --resume
    """
    if overwrite and resume:
        raise InputError("--overwrite starts over and --resume continues. Give one of them.")
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
        class_level=class_level,
        path_column=path_column,
        label_column=label_column,
        split_column=split_column,
        group_by=group_by,
        near_duplicates=near_duplicates.value,
        augment=augment.value,
        views=DEFAULT_VIEWS[augment.value] if views is None else views,
        class_weights=class_weights.value,
        time_budget_seconds=_seconds(time_budget),
    )
    folders = _folders(runs_dir, cache_dir, cache_limit)
    if dry_run:
        _print_estimate(settings, folders, quiet, as_json)
    else:
        options = {"overwrite": overwrite, "resume": resume, "keep": keep}
        _search(settings, run, folders, quiet, as_json, **options)


def resume(
    run: RunArgument = None,
    runs_dir: RunsDir = Path("runs"),
    iterations: Annotated[
        int | None, typer.Option(help="Total Hyperband iterations; more than before adds some.")
    ] = None,
    time_budget: Budget = None,
    keep: Keep = 1,
    cache_dir: CacheDir = None,
    cache_limit: CacheLimit = "20GB",
    quiet: Quiet = False,
    as_json: EventsAsJson = False,
) -> None:
    """Resume an interrupted search with its own settings, or add to a finished one.

    Example: tune resume first --iterations 2
    """
    from tuner.runs.run import open_run

    opened = open_run(runs_dir, run)
    changes: dict[str, Any] = {}
    if iterations is not None:
        if iterations < opened.settings.iterations:
            raise InputError(
                f"--iterations must be at least the run's {opened.settings.iterations}, but is "
                f"{iterations}."
            )
        changes["iterations"] = iterations
    if time_budget is not None:
        changes["time_budget_seconds"] = _seconds(time_budget)
    settings = dataclasses.replace(opened.settings, **changes)
    folders = _folders(runs_dir, cache_dir, cache_limit)
    with opened.reading_images():
        _search(settings, opened.name, folders, quiet, as_json, resume=True, keep=keep)


def _search(
    settings: SearchSettings,
    name: str,
    folders: SearchFolders,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Search, or resume, and print the trials; `options` are those of `run_search`."""
    device = prepare_device()
    from tuner.observer import Observers
    from tuner.search.pipeline import run_search
    from tuner.terminal.data import say_dataset
    from tuner.terminal.json_lines import JsonLines
    from tuner.terminal.search_progress import SearchProgress

    lines = JsonLines(sys.stdout, settings.objective)
    in_use = functools.partial(folder_size, folders.cache_dir)
    # On a terminal the lines themselves would break the screen.
    plain = as_json and sys.stdout.isatty()
    stop = StopRequest()
    with SearchProgress(settings.objective, quiet, in_use, plain) as progress:
        observer = Observers(progress, lines) if as_json else progress
        progress.say(f"Computing on {device}.")
        options |= {"observer": observer, "on_dataset": functools.partial(say_dataset, observer)}
        try:
            with stop_on_signals(stop, lambda: progress.say(_STOPPING)):
                run = run_search(settings, name, folders, stop=stop, begun=_BEGUN, **options)
        except StoppedError as error:
            again = _how_to_resume(name, folders, error.begun, options["resume"])
            what = f"and saved{progress.saved()}" if error.begun else "before the training began"
            raise StoppedError(f"Stopped {what}. Continue with: {again}") from error
    _print_result(run, folders, lines if as_json else None)


def _print_result(run: "Run", folders: SearchFolders, lines: "JsonLines | None") -> None:
    from tuner.runs.records import trial_name
    from tuner.runs.run import winner_of
    from tuner.terminal.trials import print_trials

    best = winner_of(run)
    if lines is not None:
        trial = {"winner": best.id, "trial": trial_name(best.id)}
        lines.write("result", {"run": run.name, "folder": str(run.folder)} | trial)
        return
    print_trials(run, run.journal.trials(), best)
    command = ["tune", "best", run.name, *_options(folders), "--export", "model"]
    typer.echo(f"Next: {shlex.join(command)}")


def _print_estimate(
    settings: SearchSettings, folders: SearchFolders, quiet: bool, as_json: bool
) -> None:
    prepare_device()
    from tuner.search.estimate import estimate
    from tuner.terminal.data import say_dataset
    from tuner.terminal.schedule import schedule_lines
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.tables import print_json
    from tuner.text import duration, size

    with SearchProgress(settings.objective, quiet) as progress:
        say = functools.partial(say_dataset, progress)
        found = estimate(settings, folders, say, progress.count)
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


def _seconds(time_budget: str | None) -> float | None:
    return None if time_budget is None else parse_time(time_budget).total_seconds()


def _folders(runs_dir: Path, cache_dir: Path | None, cache_limit: str) -> SearchFolders:
    return SearchFolders(runs_dir, cache_dir or default_cache_dir(), parse_size(cache_limit))


def _options(folders: SearchFolders) -> list[str]:
    """The options that name these folders to another command."""
    runs = [] if folders.runs_dir == Path("runs") else ["--runs-dir", str(folders.runs_dir)]
    default = folders.cache_dir == default_cache_dir()
    return runs + ([] if default else ["--cache-dir", str(folders.cache_dir)])


def _how_to_resume(name: str, folders: SearchFolders, begun: bool, resume: bool) -> str:
    from tuner.runs.run import existing_run

    # A run to be overwritten is still there until the new one begins.
    begun = begun or (resume and existing_run(folders.runs_dir, name) is not None)
    return shlex.join(["tune", *(["resume", name, *_options(folders)] if begun else sys.argv[1:])])
