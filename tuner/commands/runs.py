"""`tune runs` and `tune trials`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from tuner.commands.options import AsJson, RunArgument, RunsDir, TableFormat
from tuner.errors import DamagedJournalError, InputError


def runs(
    runs_dir: RunsDir = Path("runs"),
    delete: Annotated[str | None, typer.Option(help="Delete the run of this name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first; delete one.

    Example: tune runs --delete first
    """
    from tuner.runs.listing import summaries
    from tuner.runs.run import delete_run, open_run
    from tuner.terminal.runs import run_table
    from tuner.terminal.tables import print_json, print_table

    if delete is not None:
        doomed = open_run(runs_dir, delete)
        if not yes and not typer.confirm(f"Delete {doomed.folder} with everything in it?"):
            raise InputError("nothing was deleted.")
        delete_run(doomed.folder)
        typer.echo(f"Deleted {doomed.folder}.", err=True)
        return
    found = summaries(runs_dir)
    if as_json:
        print_json([dataclasses.asdict(summary) for summary in found])
    elif found:
        print_table(run_table(found))
    else:
        typer.echo(f"There are no runs in {runs_dir}.")


def trials(
    run: RunArgument = None,
    runs_dir: RunsDir = Path("runs"),
    output_format: Annotated[
        TableFormat, typer.Option("--format", help="Output format.")
    ] = TableFormat.table,
    as_json: AsJson = False,
) -> None:
    """List the trials of a run, best first.

    Example: tune trials first --format csv > trials.csv
    """
    from tuner.runs.ranking import rank, rank_all
    from tuner.runs.records import trial_row
    from tuner.runs.run import open_run
    from tuner.terminal.tables import print_json
    from tuner.terminal.trials import print_csv, print_trials

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
