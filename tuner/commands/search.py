"""`tune search` and `tune resume`."""

import dataclasses
import functools
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.commands.options import (
    DEFAULT_OBJECTIVE,
    DEFAULTS,
    NO_AUGMENTATION,
    NO_CLASS_WEIGHTS,
    Augmentation,
    Budget,
    CacheDir,
    CacheLimit,
    ClassWeights,
    Crop,
    DropLeaks,
    EventsAsJson,
    ImageSize,
    Keep,
    KeepConflicts,
    Objective,
    Quiet,
    RunArgument,
    RunsDir,
    SplitSeed,
    TestFraction,
    ValFraction,
    Weights,
)
from tuner.environment import prepare_device
from tuner.errors import InputError, StoppedError
from tuner.interrupt import StopRequest, stop_on_signals
from tuner.settings import SearchSettings, parse_fixed
from tuner.storage.cache import default_cache_dir, folder_size
from tuner.text import parse_size, parse_time

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
    as_json: EventsAsJson = False,
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
    as_json: EventsAsJson = False,
) -> None:
    """Go on with an interrupted search, from its own settings; or add to a finished one.

    Example: tune resume first --iterations 2
    """
    from tuner.runs.run import open_run

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
    from tuner.observer import Observers
    from tuner.runs.records import trial_name
    from tuner.runs.run import existing_run, winner_of
    from tuner.search.pipeline import SearchControl, SearchFolders, run_search
    from tuner.terminal.data import say_dataset
    from tuner.terminal.json_lines import JsonLines
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.trials import print_trials

    cache_dir = places.cache_dir or default_cache_dir()
    in_use = functools.partial(folder_size, cache_dir)
    lines = JsonLines(sys.stdout, settings.objective)
    # On a terminal the lines themselves would break the screen.
    plain = as_json and sys.stdout.isatty()
    with SearchProgress(settings.objective, quiet, in_use, plain) as progress:
        told = Observers(progress, lines) if as_json else progress
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
                    observer=told,
                    on_dataset=functools.partial(say_dataset, told),
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
        result = {
            "run": name, "folder": str(finished.folder),
            "winner": best.id, "trial": trial_name(best.id),
        }  # fmt: skip
        lines.write("result", result)
    else:
        print_trials(finished, trials, best)
        command = ["tune", "best", name, *places.options(), "--export", "model"]
        typer.echo(f"Next: {shlex.join(command)}")


def _seconds(time_budget: str | None) -> float | None:
    return None if time_budget is None else parse_time(time_budget).total_seconds()


def _print_estimate(settings: SearchSettings, places: _Places, quiet: bool, as_json: bool) -> None:
    prepare_device()
    from tuner.search.estimate import estimate
    from tuner.search.pipeline import SearchFolders
    from tuner.terminal.data import say_dataset
    from tuner.terminal.schedule import schedule_lines
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.tables import print_json
    from tuner.text import duration, size

    cache_dir = places.cache_dir or default_cache_dir()
    folders = SearchFolders(places.runs_dir, cache_dir, places.cache_limit_bytes)
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
