"""`tune data`."""

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
    DropLeaks,
    GroupBy,
    KeepConflicts,
    LabelColumn,
    NearDuplicatesChoice,
    PathColumn,
    Quiet,
    SplitColumn,
    SplitSeed,
    TestFraction,
    ValFraction,
)
from tuner.errors import DataError
from tuner.storage.cache import Cache, default_cache_dir


def data(
    data: Annotated[Path, typer.Argument(help="Folder or table, as for tune search.")],
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
    export_csv: Annotated[
        Path | None, typer.Option(help="Write images, labels and splits to this table.")
    ] = None,
    cache_dir: CacheDir = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show the images, their faults, and the split.

    Example: tune data photos --export-csv photos.csv
    """
    from tuner.data.csv_export import check_table, write_table
    from tuner.data.dataset import SplitOptions, split_survey
    from tuner.data.listing import Layout
    from tuner.data.survey import survey
    from tuner.terminal.data import data_report, data_row
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.tables import print_json, print_report

    options = SplitOptions(
        val_fraction, test_fraction, split_seed, drop_leaks, keep_conflicts, near_duplicates.value
    )
    layout = Layout(class_level, path_column, label_column, split_column, group_by)
    if export_csv is not None:
        check_table(export_csv)
    with (
        SearchProgress(DEFAULTS.objective, quiet) as progress,
        Cache(cache_dir or default_cache_dir()) as cache,
    ):
        found = survey(
            data, cache, progress.count, layout, False, near_duplicates=near_duplicates.value
        )
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
