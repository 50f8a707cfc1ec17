"""The time that a search may take (`--time-budget`): the schedule planned for it, and its end."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tuner.errors import TuneError
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.schedule import Schedule, largest_affordable, shortened
from tuner.runs.journal import Journal
from tuner.runs.notes import Notes
from tuner.text import duration

# Share of the time left that a plan may fill by estimate: other work on the machine slows it down.
_PLANNED_SHARE = 0.7
# Notes of the journal: wall time of all processes; max_epochs and number of brackets planned.


class TimeBudget:
    """The wall time that a search may take, over all the processes that it runs in.

    Args:
        seconds: in all; None for as many as it takes.
        begun: when this process began, in seconds of `time.monotonic`; None for now.

    Attributes:
        spent_before_seconds: by earlier processes.
    """

    def __init__(self, seconds: float | None = None, begun: float | None = None) -> None:
        self._seconds = seconds
        self._begun = time.monotonic() if begun is None else begun
        self.spent_before_seconds = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a budget at all."""
        return self._seconds is not None

    def left(self) -> float:
        """Seconds left: negative once overdrawn, infinite without a budget."""
        return float("inf") if self._seconds is None else self._seconds - self.spent()

    def spent(self) -> float:
        """Seconds that this process and earlier ones have taken."""
        return self.spent_before_seconds + time.monotonic() - self._begun

    def planned(
        self, schedule: Schedule, factor: int, seconds_of: Callable[[Schedule], float]
    ) -> Schedule:
        """The longest schedule that is expected to fit into what is left."""
        affordable = max(1e-9, self.left() * _PLANNED_SHARE)
        return largest_affordable(
            schedule, factor, lambda candidate: seconds_of(candidate) / affordable
        )


@contextlib.contextmanager
def charged(budget: TimeBudget, journal: Journal) -> Iterator[None]:
    """Charge a budget with what earlier processes spent, and note in the end what this one did."""
    trained = sum(record.seconds for record in journal.trials())
    budget.spent_before_seconds = max(trained, journal.notes().spent_seconds or 0.0)
    try:
        yield
    finally:
        with contextlib.suppress(TuneError):  # the full disk, say, that ended the search
            note_spent(budget, journal)


def note_spent(budget: TimeBudget, journal: Journal) -> None:
    """Note what was spent so far, if there is a budget."""
    if budget.limited:
        journal.set_notes(Notes(spent_seconds=budget.spent()), durable=False)


def follow_plan(
    oracle: JournalOracle,
    budget: TimeBudget,
    journal: Journal,
    *,
    seconds_of: Callable[[Schedule], float | None],
    on_note: Callable[[str], None],
) -> None:
    """Let the oracle follow a schedule that fits the budget, planned once for a whole search."""
    planned = journal.notes().plan
    if planned is None and budget.limited and not oracle.records():
        planned = _plan(oracle, budget, seconds_of, on_note)
        if planned is not None:
            journal.set_notes(Notes(plan=planned))
    if planned is not None:
        oracle.follow(shortened(oracle.schedule, oracle.factor, *planned))


def use_rest(oracle: JournalOracle, budget: TimeBudget) -> bool:
    """Add an iteration to a completed plan that was shortened more than the time needs.

    Returns:
        Whether there is more to train: time for a whole trial, and configurations to try.
    """
    planned = oracle.schedule
    if not budget.limited or not oracle.complete or planned.brackets == oracle.whole.brackets:
        return False
    whole = [each.seconds for each in oracle.records() if each.epochs == planned.max_epochs]
    if budget.left() < sum(whole) / max(len(whole), 1):
        return False
    oracle.follow(replace(planned, iterations=planned.iterations + 1))
    if oracle.complete:  # every configuration was tried
        oracle.follow(planned)
    return not oracle.complete


def must_close(oracle: JournalOracle, budget: TimeBudget) -> bool:
    """Whether the time left is just enough to train the leading trial to its last epoch.

    One more rung, as long as the longest so far, would make it too short.
    """
    leader = oracle.leader() if budget.limited else None
    if leader is None:
        return False
    longest = max(rung.seconds for record in oracle.records() for rung in record.rungs)
    needed = (oracle.max_epochs - leader.epochs) * leader.seconds / leader.epochs
    return budget.left() - longest < needed


def out_of_time(oracle: JournalOracle, seconds: float | None) -> str:
    """Sentences for a search that its budget ended, with an estimate of the seconds it lacks."""
    total = oracle.schedule.total_epochs
    left = max(1, total - sum(record.epochs for record in oracle.records()))
    about = "" if seconds is None else f", about {duration(seconds)} of work"
    return (
        f"The time budget is used up: {left} of {total} planned epochs are left{about}. "
        "To continue, resume the run with a larger budget."
    )


def _plan(
    oracle: JournalOracle,
    budget: TimeBudget,
    seconds_of: Callable[[Schedule], float | None],
    on_note: Callable[[str], None],
) -> tuple[int, int] | None:
    """`max_epochs` and number of brackets that fit; None where nothing is known."""
    seconds = seconds_of(oracle.schedule)
    if seconds is None:
        on_note(
            "How long an epoch of this space takes is not known: nothing is planned for the time "
            "budget, and the search continues until it is used up."
        )
        return None
    schedule = budget.planned(oracle.schedule, oracle.factor, lambda s: seconds_of(s) or 0.0)
    if schedule != oracle.schedule:
        on_note(
            f"Planned for the time budget: the whole search of {oracle.schedule.total_epochs} "
            f"epochs would need about {duration(seconds)}."
        )
    return schedule.max_epochs, len(schedule.brackets)
