"""`tune diagnose`: why is accuracy stuck?"""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.options import (
    DEFAULTS,
    GROUP,
    AsJson,
    CacheDir,
    ClassLevel,
    Crop,
    DropLeaks,
    GroupBy,
    ImageSize,
    KeepConflicts,
    LabelColumn,
    NearDuplicatesChoice,
    PathColumn,
    Quiet,
    SplitColumn,
    SplitSeed,
    TestFraction,
    ValFraction,
    Weights,
)
from tuner.diagnose.stored import keep_diagnosis
from tuner.environment import prepare_device
from tuner.storage.cache import Cache, default_cache_dir


def diagnose(
    data: Annotated[Path, typer.Argument(help="Folder or table, as for tune search.")],
    model: Annotated[
        str | None,
        typer.Option(help="A model of your own: FILE.keras, or package.module:function."),
    ] = None,
    weights: Weights = DEFAULTS.weights,
    image_size: ImageSize = DEFAULTS.image_size,
    crop: Crop = DEFAULTS.crop,
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
    seed: Annotated[int, typer.Option(help="Seed of everything but the split.")] = DEFAULTS.seed,
    full: Annotated[
        bool, typer.Option("--full", help="Use three seeds for end-to-end training too.")
    ] = False,
    details: Annotated[
        bool,
        typer.Option("--details", help="Show the numbers of every experiment above the diagnosis."),
    ] = False,
    save_recalibrated: Annotated[
        Path | None,
        typer.Option(
            help="Write weights with BatchNorm statistics of your images to this .weights.h5."
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
    from tuner.command_lines import changed_options
    from tuner.data.dataset import SplitOptions
    from tuner.data.listing import Layout
    from tuner.data.load import load_dataset
    from tuner.data.table import listed
    from tuner.diagnose.experiments import prepare, run_prepared
    from tuner.diagnose.result import Options
    from tuner.model_check.load import load_model
    from tuner.terminal.data import say_dataset
    from tuner.terminal.diagnosis import diagnosis_report
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.tables import print_json, print_report

    split = SplitOptions(
        val_fraction, test_fraction, split_seed, drop_leaks, keep_conflicts, near_duplicates.value
    )
    options = Options(weights, image_size, crop, full, seed)
    layout = Layout(class_level, path_column, label_column, split_column, group_by)
    listed(data, layout)  # quick checks first
    prepared = prepare(options, None if model is None else load_model(model), save_recalibrated)
    with (
        SearchProgress(DEFAULTS.objective, quiet, steps=True) as progress,
        Cache(cache_dir or default_cache_dir()) as cache,
    ):
        report = progress.count
        dataset = load_dataset(data, split, layout=layout, cache=cache, on_progress=report)
        say_dataset(progress, dataset)
        found = run_prepared(dataset, cache, prepared, progress.count)
    images = {"weights": weights, "image_size": image_size, "crop": crop}
    used = images | dataclasses.asdict(split) | dataclasses.asdict(layout)
    given = changed_options(used, dataclasses.asdict(DEFAULTS))
    found = found.on(str(data), given)
    if as_json:
        print_json(found.to_json())
    else:
        print_report(functools.partial(diagnosis_report, found, details=details))
    # For tune report; last, so that a failure to write it loses nothing.
    keep_diagnosis(cache.folder, dataset.fingerprint, found.to_json(), dataclasses.asdict(options))
