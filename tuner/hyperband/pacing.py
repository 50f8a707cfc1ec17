"""One search against its time: the plan that fits into it, when to close, and what is left."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.errors import TuneError
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.remaining_work import Work, seconds_left, without_epochs, work_left
from tuner.hyperband.rung_costs import Costs
from tuner.hyperband.schedule import shortened
from tuner.hyperband.time_budget import TRIAL_SECONDS, Pace, TimeBudget
from tuner.runs.journal import Journal
from tuner.runs.records import TrialRecord
from tuner.text import duration
from tuner.training.sources import Source

# Configurations that the mean cost of an epoch is estimated from.
_SAMPLE = 200
_SPENT = "spent_seconds"  # note of the journal: wall time of all processes, with a time budget
_TOLD_SECONDS = 1.0  # between two estimates while a rung is trained
_PLAN = "plan"  # note of the journal: max_epochs and brackets that a time budget allows


@dataclass
class _Running:
    """The rung that is being trained: when it began, what was left then, when its epochs ended."""

    trial: TrialRecord
    begun: float
    work: list[Work]
    epochs: int = 0
    ends: list[float] = field(default_factory=list)


class Pacing:
    """Estimates of one search, and what follows from them.

    Args:
        oracle: of the search.
        source: knows what an epoch costs.
        budget: the time there is.
        factor: of the oracle's brackets.
    """

    def __init__(
        self, oracle: JournalOracle, source: Source, budget: TimeBudget, factor: int
    ) -> None:
        self._oracle = oracle
        self._source = source
        self._budget = budget
        self._factor = factor
        self._pace = pace_of(oracle, source.epoch_seconds)
        self._longest_rung_seconds = 0.0
        self._running: _Running | None = None
        self._told = 0.0
        self._costs = Costs(source.epoch_seconds, TRIAL_SECONDS)
        for record in oracle.records():  # of earlier processes
            for rung in record.rungs:
                epochs = rung.end_epoch - rung.start_epoch
                self._costs.note(record.id, record.hyperparameters, epochs, rung.seconds)

    def follow_plan(self, journal: Journal, on_note: Callable[[str], None]) -> None:
        """Lets the oracle follow a schedule that fits, planned once for all processes of a search.

        Args:
            journal: where the plan is noted.
            on_note: is told what the user should know.
        """
        schedule, planned = self._oracle.schedule, journal.note(_PLAN)
        if planned is None and self._budget.limited and not self._oracle.records():
            planned = self._plan(on_note)
            if planned is not None:
                journal.set_notes({_PLAN: planned})
        if planned is not None:
            self._oracle.follow(shortened(schedule, self._factor, *planned))

    def begin(self, trial: TrialRecord) -> float | None:
        """A rung of a trial begins; returns what `time_left` does."""
        self._told = time.monotonic()
        self._running = _Running(trial, self._told, self._work_left())
        return self.time_left()

    def end_epoch(self, epoch: int) -> bool:
        """The trial has so many epochs behind it; returns whether to look at `time_left` again.

        That is about once a second: it costs more the more trials there are.
        """
        running, now = self._running, time.monotonic()
        assert running is not None
        running.ends.append(now - running.begun)
        running.epochs = epoch - running.trial.epochs
        if now - self._told < _TOLD_SECONDS:
            return False
        self._told = now
        trial, spent, later = running.trial, running.ends[-1], _later(running, running.epochs)
        self._costs.note(
            trial.id, trial.hyperparameters, running.epochs, spent, later, running=True
        )
        return True

    def note(self, trial: TrialRecord, epochs: int, seconds: float) -> None:
        """A rung of a trial took so long."""
        self._longest_rung_seconds = max(self._longest_rung_seconds, seconds)
        later = None if self._running is None else _later(self._running, epochs)
        self._costs.note(trial.id, trial.hyperparameters, epochs, seconds, later)
        self.end_rung()

    def end_rung(self) -> None:
        """The rung is over, though it may have failed and given nothing to `note`."""
        self._running = None

    def must_close(self) -> bool:
        """Whether there is just enough time to bring one more trial to its last rung."""
        leader = self._oracle.finalist() if self._budget.limited else None
        if leader is None:
            return False
        epochs_left = self._oracle.max_epochs - leader.epochs
        needed = epochs_left * leader.seconds / leader.epochs
        return self._budget.left() - self._longest_rung_seconds < needed

    def epochs_left(self) -> int:
        """Epochs that the schedule still has; 0 once it is complete."""
        if self._oracle.complete:
            return 0
        done = sum(record.epochs for record in self._oracle.records())
        return max(1, self._oracle.schedule.total_epochs - done)

    def seconds_left(self) -> float | None:
        """Estimate for what the schedule still has; None where nothing is known."""
        running = self._running
        if running is None:
            return seconds_left(self._work_left(), self._costs)
        work = running.work
        if running.epochs:
            work = without_epochs(work, running.trial.id, running.epochs)
        return seconds_left(work, self._costs)

    def time_left(self) -> float | None:
        """Estimate of how long the search goes on, which is no longer than its budget."""
        seconds = self.seconds_left()
        return None if seconds is None else max(0.0, min(seconds, self._budget.left()))

    def what_is_left(self) -> str:
        """Sentences for a search that its budget ended."""
        seconds = self.seconds_left()
        about = "" if seconds is None else f", about {duration(seconds)} of work"
        return (
            f"The time budget is used up: {self.epochs_left()} of "
            f"{self._oracle.schedule.total_epochs} planned epochs are left{about}. To go on, "
            "resume the run with a larger budget."
        )

    def _work_left(self) -> list[Work]:
        oracle, records = self._oracle, self._oracle.records()
        return work_left(oracle.schedule, oracle.standings(records), records, oracle.upcoming)

    def _plan(self, on_note: Callable[[str], None]) -> tuple[int, int] | None:
        """`max_epochs` and number of brackets that fit; None where nothing is known."""
        schedule = self._oracle.schedule
        seconds = self._pace.schedule_seconds(schedule)
        if seconds is None:
            on_note(
                "How long an epoch of this space takes is not known: nothing is planned for the "
                "time budget, and the search goes on until it is used up."
            )
            return None
        fitting = self._budget.planned(
            schedule,
            self._factor,
            lambda candidate: self._pace.schedule_seconds(candidate) or 0.0,
        )
        if fitting != schedule:
            on_note(
                f"Planned for the time budget: the whole search of {schedule.total_epochs} "
                f"epochs would need about {duration(seconds)}."
            )
        return fitting.max_epochs, len(fitting.brackets)


@contextlib.contextmanager
def charged(budget: TimeBudget, journal: Journal) -> Iterator[None]:
    """Counts against a budget what earlier processes spent, and notes it for those to come.

    Args:
        budget: of this process.
        journal: of the run.
    """
    trained = sum(record.seconds for record in journal.trials())
    budget.spent_before_seconds = max(trained, journal.note(_SPENT) or 0.0)
    try:
        yield
    finally:
        with contextlib.suppress(TuneError):  # a full disk, say, that has ended the search
            note_spent(budget, journal)


def note_spent(budget: TimeBudget, journal: Journal) -> None:
    """Notes what was spent so far, if there is a budget."""
    if budget.limited:
        journal.set_notes({_SPENT: budget.spent()}, durable=False)


def _later(running: _Running, epochs: int) -> float | None:
    """What epochs after the first took; None where this process did not train all of them."""
    ends = running.ends
    return ends[-1] - ends[0] if len(ends) == epochs else None


def pace_of(
    oracle: JournalOracle, epoch_seconds: Callable[[Mapping[str, Any]], float | None]
) -> Pace:
    """Estimates for a search.

    Args:
        oracle: of the search.
        epoch_seconds: what an epoch of a configuration takes; None where nothing is known.
    """

    def mean(configurations: Iterable[Mapping[str, Any]]) -> float | None:
        known = [each for each in map(epoch_seconds, configurations) if each is not None]
        return statistics.mean(known) if known else None

    return Pace(mean(oracle.sample(_SAMPLE)), mean(oracle.recipes.values()))
