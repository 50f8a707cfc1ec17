"""A search that is killed again and again ends as one that never was, bit for bit."""

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
from forked import Child, command, differences, memory
from small_search import write_photos

from tuner.journal import RUNNING, Journal

SEED = 20
SEARCH = (
    "--weights", "none", "--image-size", "32", "--batch-size", "8", "--max-epochs", "4",
    "--fix", "unfreeze_blocks=0", "--fix", "head_width=128",
)  # fmt: skip


class Searches:
    """One search of heads, in runs of different names; its features are computed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        write_photos(folder / "photos", per_class=14)

    def begin(self, run: str, hold_at: int | None = None) -> Child:
        """The command that begins a run or goes on with it, saving after every epoch."""
        places = ["--runs-dir", str(self.runs), "--cache-dir", str(self.folder / "cache")]
        arguments = ["search", str(self.folder / "photos"), "--run", run, "--resume", *SEARCH]
        if (self.runs / run).exists():
            arguments = ["resume", run]
        log = self.folder / f"{run}.log"
        arguments += ["--keep", "9", *places]
        return Child(command, arguments, True, log=log, hold_at=hold_at)

    def whole(self) -> dict[str, Any]:
        """What a search remembers that nobody disturbs."""
        child = self.begin("whole")
        assert child.exit_code() == 0, child.printed()
        return memory(self.runs / "whole")

    def running(self, run: str) -> int:
        """Trials that the journal says are running; 0 where there is no run yet."""
        if not (self.runs / run).exists():
            return 0
        journal = Journal.open(self.runs / run / "journal.db")
        with contextlib.closing(journal):
            return sum(trial.status == RUNNING for trial in journal.trials())


@pytest.mark.parametrize("least_kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_and_resumed_again_and_again(tmp_path: Path, least_kills: int) -> None:
    searches = Searches(tmp_path)
    expected = searches.whole()
    heads = [trial["hyperparameters"] for trial in expected["trials"]]
    assert any(head.get("head_batchnorm") and head["dropout"] for head in heads)

    moments = random.Random(SEED)
    names, kills, in_a_trial, complete = ["killed"], 0, 0, False
    while kills < least_kills or not complete:
        if complete:
            names.append(f"killed-{len(names)}")
        child = searches.begin(names[-1])
        if kills < least_kills and child.kill_after(*_moment(moments)):
            kills, complete = kills + 1, False
            in_a_trial += searches.running(names[-1])
            continue
        assert child.exit_code() == 0, child.printed()
        assert differences(memory(searches.runs / names[-1]), expected) == []
        complete = True
    assert in_a_trial
    assert {path.name for path in searches.runs.iterdir()} == {"whole", *names}


def _moment(moments: random.Random) -> tuple[int, float]:
    """How many events, and how many seconds after them, a search is let live."""
    events = moments.randrange(12)
    return events, moments.uniform(0, 0.04 if events else 1.5)
