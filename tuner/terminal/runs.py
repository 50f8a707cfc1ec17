"""The table of `tune runs`."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from tuner.runs.listing import RunSummary
from tuner.terminal.tables import plain, plain_table
from tuner.text import size


def run_table(runs: Sequence[RunSummary]) -> Table:
    """One row per run."""
    table = plain_table()
    for header in ("run", "data", "state", "trials", "best", "size"):
        right = header in ("trials", "best", "size")
        table.add_column(header, justify="right" if right else "left", overflow="fold")
    for run in runs:
        table.add_row(
            plain(run.name),
            plain(Path(run.data).name if run.data else "digits"),
            run.state,
            "-" if run.trials is None else str(run.trials),
            "-" if run.best_score is None else f"{run.best_score:.4f}",
            size(run.size_bytes),
        )
    return table
