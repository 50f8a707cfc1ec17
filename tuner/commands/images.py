"""`tune data`, `tune diagnose` and `tune cache`."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

import typer

from tuner.cache import Cache, default_cache_dir
from tuner.commands import saying
from tuner.commands.options import (
    DEFAULTS,
    AsJson,
    CacheDir,
    Crop,
    DropLeaks,
    ImageSize,
    KeepConflicts,
    Quiet,
    SplitSeed,
    TestFraction,
    ValFraction,
    Weights,
)
from tuner.diagnoses import keep_diagnosis
from tuner.environment import prepare_device
from tuner.errors import DataError, InputError
from tuner.quantities import parse_time


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
    details: Annotated[
        bool,
        typer.Option("--details", help="Show the figures of every experiment above the verdict."),
    ] = False,
    save_recalibrated: Annotated[
        Path | None,
        typer.Option(
            help="Write the weights, with BatchNorm statistics of your images, to this .weights.h5."
        ),
    ] = None,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Explain why accuracy is stuck, by experiments on your images.

    Example: tune diagnose photos --model my_model.keras
    """
    prepare_device()
    from tuner.dataset import SplitOptions, load_dataset
    from tuner.diagnosis import Options, prepare, run_prepared
    from tuner.diagnosistable import diagnosis_report
    from tuner.loading import load_model
    from tuner.printing import print_json, print_report
    from tuner.progress import SearchProgress
    from tuner.remedies import options_of
    from tuner.survey import listed

    split = SplitOptions(val_fraction, test_fraction, split_seed, drop_leaks, keep_conflicts)
    options = Options(weights, image_size, crop, full, seed)
    listed(data)  # what is quick to look at comes before what is not
    prepared = prepare(options, None if model is None else load_model(model), save_recalibrated)
    with (
        SearchProgress(DEFAULTS.objective, quiet) as progress,
        Cache(cache_dir or default_cache_dir()) as cache,
    ):
        reading = functools.partial(progress.counting_step, "reading images")
        dataset = load_dataset(data, split, cache=cache, on_progress=reading)
        saying.say_dataset(progress, dataset)
        found = run_prepared(dataset, cache, prepared, progress.counting_step)
    images = {"weights": weights, "image_size": image_size, "crop": crop}
    asked = options_of(images | dataclasses.asdict(split), dataclasses.asdict(DEFAULTS))
    found = found.addressed(str(data), asked)
    if as_json:
        print_json(found.to_json())
    else:
        print_report(functools.partial(diagnosis_report, found, details=details))
    # For tune report. Last, so that what cannot be written costs nothing that was found.
    keep_diagnosis(cache.folder, dataset.fingerprint, found.to_json(), dataclasses.asdict(options))


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
