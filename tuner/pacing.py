"""One search against its time: the plan that fits into it, when to close, and what is left."""

import contextlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tuner.budget import TRIAL_SECONDS, Pace, TimeBudget
from tuner.errors import TuneError
from tuner.journal import Journal, TrialRecord
from tuner.oracle import JournalOracle
from tuner.quantities import duration
from tuner.remaining import Costs, seconds_left
from tuner.schedule import shortened
from tuner.sources import Source

# Configurations that the mean cost of an epoch is estimated from.
_SAMPLE = 200
_SPENT = "spent_seconds"  # note of the journal: wall time of all processes, with a time budget
_PLAN = "plan"  # note of the journal: max_epochs and brackets that a time budget allows


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

    def note(self, trial: TrialRecord, epochs: int, seconds: float) -> None:
        """A rung of a trial took so long."""
        self._longest_rung_seconds = max(self._longest_rung_seconds, seconds)
        self._costs.note(trial.id, trial.hyperparameters, epochs, seconds)

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
        oracle, records = self._oracle, self._oracle.records()
        standings = oracle.standings(records)
        return seconds_left(oracle.schedule, standings, records, oracle.upcoming, self._costs)

    def what_is_left(self) -> str:
        """Sentences for a search that its budget ended."""
        seconds = self.seconds_left()
        about = "" if seconds is None else f", about {duration(seconds)} of work"
        return (
            f"The time budget is used up: {self.epochs_left()} of "
            f"{self._oracle.schedule.total_epochs} planned epochs are left{about}. To go on, "
            "resume the run with a larger budget."
        )

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
