"""Summaries of all runs of a folder, for `tune runs`."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import TuneError
from tuner.runs.journal import Journal
from tuner.runs.ranking import rank
from tuner.runs.run import Run, open_run, run_names
from tuner.settings import SearchSettings
from tuner.storage.disk import folder_bytes


@dataclass(frozen=True)
class RunSummary:
    """One run in the list.

    Attributes:
        data: folder of the images, or None for scikit-learn's digits.
        state: "running", "interrupted", "done", or "damaged".
        trials: number of trials begun; None if the journal cannot be read.
    """

    name: str
    data: str | None
    state: str
    trials: int | None
    best_score: float | None
    objective: str
    size_bytes: int


def summaries(runs_dir: Path) -> list[RunSummary]:
    """Summaries of the runs, newest first."""
    return [_summary(runs_dir / name) for name in run_names(runs_dir)]


def _summary(folder: Path) -> RunSummary:
    settings, trials, best, state = SearchSettings(), None, None, "damaged"
    with contextlib.suppress(TuneError):
        settings = open_run(folder.parent, folder.name).settings
        journal = Journal.open(folder / "journal.db", read_only=True)
        with contextlib.closing(journal):
            records = journal.trials()
            done = journal.notes().finished_iterations == settings.iterations
            state = "done" if done else "interrupted"
        trials = len(records)
        ranked = rank(records, settings.direction)
        best = ranked[0].score if ranked else None
    if Run(folder, settings).busy:
        state = "running"
    return RunSummary(
        folder.name, settings.data, state, trials, best, settings.objective, folder_bytes(folder)
    )
