"""A search that is killed and resumed again and again."""

import contextlib
from pathlib import Path
from typing import Any

from tests.support.forked import Child, command, memory
from tests.support.small_search import write_photos
from tuner.runs.journal import Journal
from tuner.runs.records import RUNNING

SEED = 20

SEARCH = (
    "--weights none --image-size 32 --batch-size 8 --max-epochs 4 "
    "--fix unfreeze_blocks=0 --fix head_width=128"
)


class Searches:
    """One search of heads, in runs of different names; its features are computed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        write_photos(folder / "photos", per_class=14)

    def begin(self, run: str, hold_at: int | None = None) -> Child:
        """Begin or resume a run, saving a checkpoint after every epoch."""
        places = ["--runs-dir", str(self.runs), "--cache-dir", str(self.folder / "cache")]
        arguments = [
            "search",
            str(self.folder / "photos"),
            "--run",
            run,
            "--resume",
            *SEARCH.split(),
        ]
        if (self.runs / run).exists():
            arguments = ["resume", run]
        log = self.folder / f"{run}.log"
        arguments += ["--keep", "9", *places]
        return Child(command, arguments, True, log=log, hold_at=hold_at)

    def whole(self) -> dict[str, Any]:
        """The memory of an undisturbed search."""
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
