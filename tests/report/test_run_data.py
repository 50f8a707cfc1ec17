"""A run, read once."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.small_search import SEARCH, small_search, tune
from tests.support.synthetic_run import (
    CLASSES,
)
from tuner.observer import RungEnds, SearchEvent
from tuner.report.run_data import read_run_data
from tuner.runs.run import Run, open_run
from tuner.terminal.search_progress import SearchProgress


def test_what_was_planned_is_known_before_every_recipe_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, on_event = small_search(), SearchProgress.on_event

    def interrupted(self: SearchProgress, event: SearchEvent) -> None:
        on_event(self, event)
        if isinstance(event, RungEnds):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SearchProgress, "on_event", interrupted)
    runs = tmp_path / "runs"
    result = tune(
        "search", search.photos, "--run", "begun", *SEARCH, "--fix", "unfreeze_blocks=0",
        "--runs-dir", runs, "--cache-dir", search.cache,
    )  # fmt: skip
    assert result.exit_code == 130, result.output
    run = open_run(runs, "begun")
    assert [trial.recipe for trial in run.journal.trials()] == ["plain head"]
    planned = read_run_data(run).schedule
    assert planned.recipes == ("plain head", "blog head")
    assert (planned.total_trials, planned.total_epochs) == (3, 3)
    run.journal._connection.execute("DELETE FROM notes")  # as of a damaged journal
    assert read_run_data(run).schedule.recipes == ("plain head",)


def test_run_data_has_the_state(synthetic: Run) -> None:
    data = read_run_data(synthetic)
    assert data.state == "done"
    assert data.winner is not None
    assert data.accuracy(data.winner) == data.winner.score
    assert len(CLASSES) == len(data.dataset.classes if data.dataset else ())
