"""What a search does while it runs, on stderr."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from tuner.journal import FAILED, TrialRecord
from tuner.observer import SearchObserver
from tuner.quantities import duration
from tuner.ranking import trial_name
from tuner.schedule import Schedule
from tuner.tables import brief, printable, schedule_lines

if TYPE_CHECKING:  # it needs TensorFlow
    from tuner.training import EpochMetrics

_LINE_SECONDS = 10.0


class SearchProgress(SearchObserver):
    """Shows trials and epochs done of how many, the rung, the best so far and the time left.

    On a terminal it is one line that is kept up to date; elsewhere a plain line for each rung and
    every ten seconds.

    Args:
        objective: name of the score.
        quiet: whether nothing is shown.
    """

    def __init__(self, objective: str, quiet: bool = False) -> None:
        self._objective = objective
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        # FORCE_COLOR alone makes a log file no terminal.
        self._live = self._console.is_interactive and self._console.file.isatty() and not quiet
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._begun = self._said = time.monotonic()
        self._counted = ""
        self._epochs: dict[int, int] = {}
        self._done_before = 0
        self._expected_seconds: float | None = None
        self._rung = ""
        self._trials: set[int] = set()
        self._schedule: Schedule | None = None
        self._best: TrialRecord | None = None

    def __enter__(self) -> "SearchProgress":
        """Begins to show."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clears the live line."""
        self._bar.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(printable(text), markup=False)

    def note(self, text: str) -> None:
        """Prints it."""
        self.say(text)

    def counting(self, what: str, done: int, count: int) -> None:
        """Shows a count of images."""
        if self._counted != what:
            self._new_task(what, count)
            self._counted = what
        self._update(what, done, self._left(done / count))
        if done == count:
            self._end_task()
        elif not self._live and self._due():
            self.say(f"{what}: {done} of {count}, {self._left(done / count)}")

    def search_begins(
        self,
        schedule: Schedule,
        omitted_recipes: tuple[str, ...],
        done: Sequence[TrialRecord] = (),
        seconds: float | None = None,
    ) -> None:
        """Says how large the search is, how long it will take, and what is done of it."""
        self._schedule = schedule
        for name in omitted_recipes:
            self.say(f"The {name} is left out: it contradicts --fix.")
        for line in schedule_lines(schedule, seconds):
            self.say(line)
        # A trial that failed before its first score is replaced by another.
        self._trials = {trial.id for trial in done if trial.status != FAILED or trial.rungs}
        self._epochs = {trial.id: trial.epochs for trial in done}
        self._done_before = self._done()
        if done:
            self.say(f"{len(done)} trials and {self._done_before} epochs of it are done.")
        self._expected_seconds = seconds
        self._new_task("epochs", schedule.total_epochs)

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        """Shows which rung is trained, and counts the trial if it is new."""
        self._trials.add(trial.id)
        self._rung = f"rung {trial.epochs}-{end_epoch}"
        self._show_epochs()

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: "EpochMetrics") -> None:
        """Counts an epoch."""
        self._epochs[trial.id] = epoch
        self._show_epochs()
        if not self._live and self._due():
            self.say(f"trial {trial_name(trial.id)} epoch {epoch}: {self._standing()}")

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Prints the rung's result, or why the trial failed."""
        self._best = best
        self._epochs[trial.id] = trial.epochs
        if trial.status == FAILED and not trial.rungs:
            self._trials.discard(trial.id)
        self._show_epochs()
        name = f"trial {trial_name(trial.id)}"
        if trial.status == FAILED:
            self.say(f"{name} failed: {brief(trial.message)}")
        elif not self._live:
            rung = trial.rungs[-1]
            self._said = time.monotonic()
            self.say(
                f"{name} rung {rung.start_epoch}-{rung.end_epoch}: "
                f"{self._objective} {rung.score:.4f}; {self._standing()}"
            )

    def search_ends(self, trials: list[TrialRecord]) -> None:
        """Says how long it took."""
        seconds = time.monotonic() - self._begun
        self._end_task()
        what = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
        self.say(f"Searched {what} in {duration(seconds)}.")

    def _show_epochs(self) -> None:
        best = f"{self._best_text()}, " if self._best else ""
        what = f"{self._trials_text()}, {self._rung}, epochs"
        self._update(what, self._done(), f"{best}{self._left(self._share())}")

    def _share(self) -> float:
        """Of the epochs that this process has to train."""
        assert self._schedule is not None
        ours = max(1, self._schedule.total_epochs - self._done_before)
        return min(1.0, (self._done() - self._done_before) / ours)

    def _done(self) -> int:
        """Epochs that all trials have behind them."""
        return sum(self._epochs.values())

    def _standing(self) -> str:
        best = f"{self._best_text()} ({trial_name(self._best.id)}), " if self._best else ""
        return f"{self._trials_text()}, {best}{self._left(self._share())}"

    def _trials_text(self) -> str:
        assert self._schedule is not None
        return f"{len(self._trials)}/{self._schedule.total_trials} trials"

    def _best_text(self) -> str:
        assert self._best is not None
        return f"best {self._best.score:.4f}"

    def _left(self, share: float) -> str:
        if not share and self._expected_seconds is not None:
            return f"about {duration(self._expected_seconds)} left"
        if not share:
            return "time left unknown"
        seconds = (time.monotonic() - self._begun) * (1 / share - 1)
        return f"{duration(max(seconds, 0.0))} left"

    def _due(self) -> bool:
        if time.monotonic() - self._said < _LINE_SECONDS:
            return False
        self._said = time.monotonic()
        return True

    def _new_task(self, description: str, total: int) -> None:
        self._end_task()
        self._task = self._bar.add_task(description, total=total, status="")
        self._begun = self._said = time.monotonic()

    def _update(self, description: str, done: int, status: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=description, completed=done, status=status)

    def _end_task(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._counted = ""
