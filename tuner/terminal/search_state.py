"""How far a search has come, from what its observers are told; the time is passed in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.hyperband.schedule import Schedule
from tuner.runs.records import FAILED, TrialRecord

_MINUTE = 60.0
RECIPES = "recipes"


@dataclass(frozen=True)
class RungCount:
    """A rung, and how many trials have finished it.

    Attributes:
        end_epoch: epochs that they then have behind them.
        size: how many trials the schedule gives it.
        done: how many have finished it.
        running: whether one is being trained on it.
    """

    end_epoch: int
    size: int
    done: int
    running: bool


@dataclass(frozen=True)
class Running:
    """The rung that is being trained.

    Attributes:
        trial: the trial, as it was when the rung began.
        end_epoch: where the rung ends.
        epoch: epochs that the trial has behind it by now.
    """

    trial: TrialRecord
    end_epoch: int
    epoch: int


class SearchState:
    """What a search has done so far.

    Args:
        schedule: the search.
        done: trials of earlier processes.
        now: when this process begins, in seconds of any clock, like every other `now`.
        best: the trial that leads already, or None.

    Attributes:
        schedule: the search.
        best: the trial that leads, or None.
        running: the rung that is being trained, or None.
        improvements: when the leading score changed, and to what.
    """

    def __init__(
        self,
        schedule: Schedule,
        done: Sequence[TrialRecord],
        now: float,
        best: TrialRecord | None = None,
    ) -> None:
        self.schedule = schedule
        self.best = best
        self.running: Running | None = None
        self.improvements: list[tuple[float, float]] = []
        if best is not None and best.score is not None:
            self.improvements.append((now, best.score))
        self.begun = now
        self._records = {trial.id: trial for trial in done}
        self._epochs = {trial.id: trial.epochs for trial in done}
        self._seconds_before = sum(trial.seconds for trial in done)
        self._left: tuple[float, float] | None = None
        self._trials_before, self._epochs_before = self.trials, self.epochs

    def begin_rung(self, trial: TrialRecord, end_epoch: int) -> None:
        """A trial is about to be trained up to an epoch."""
        self._records[trial.id] = trial
        self.running = Running(trial, end_epoch, trial.epochs)

    def end_epoch(self, trial: TrialRecord, epoch: int) -> None:
        """A trial has so many epochs behind it."""
        self._epochs[trial.id] = epoch
        if self.running is not None:
            self.running = Running(self.running.trial, self.running.end_epoch, epoch)

    def end_rung(self, trial: TrialRecord, best: TrialRecord | None, now: float) -> bool:
        """A trial finished its rung or failed; returns whether another score leads."""
        self._records[trial.id] = trial
        self._epochs[trial.id] = trial.epochs
        self.running = None
        before, self.best = self.best, best
        changed = best is not None and (before is None or best.score != before.score)
        if changed and best is not None and best.score is not None:
            self.improvements.append((now, best.score))
        return changed

    def note_left(self, seconds: float | None, now: float) -> None:
        """So many seconds were expected to be left."""
        self._left = None if seconds is None else (seconds, now)

    def left(self, now: float) -> float | None:
        """Seconds that are expected to be left; None where nothing is known."""
        return None if self._left is None else max(0.0, self._left[0] - (now - self._left[1]))

    def share(self, now: float) -> float:
        """How much of the search's time has passed, 0 to 1; 0 where nothing is known.

        What earlier processes trained counts as passed.
        """
        left, passed = self.left(now), self._seconds_before + now - self.begun
        return 0.0 if left is None else passed / max(passed + left, 1e-9)

    @property
    def trials(self) -> int:
        """Trials that have begun, but for those that failed before a score and are replaced."""
        return sum(each.status != FAILED or bool(each.rungs) for each in self._records.values())

    @property
    def epochs(self) -> int:
        """Epochs that all trials have behind them."""
        return sum(self._epochs.values())

    def rates(self, now: float) -> tuple[float, float]:
        """Trials that began and epochs that were trained each minute, in this process."""
        minutes = max(now - self.begun, 1e-9) / _MINUTE
        return (
            (self.trials - self._trials_before) / minutes,
            (self.epochs - self._epochs_before) / minutes,
        )

    @property
    def iteration(self) -> int:
        """Number of the Hyperband iteration that is being run, from 0."""
        return max((each.iteration or 0 for each in self._records.values()), default=0)

    def brackets(self) -> list[tuple[str, list[RungCount]]]:
        """The recipes and the brackets of the iteration that is being run, rung by rung."""
        done: Counter[tuple[str, int]] = Counter()
        for record in self._records.values():
            name = self._bracket(record)
            done.update((name, number) for number in range(len(record.rungs)))
        rows = []
        if self.schedule.recipes:
            size = len(self.schedule.recipes)
            rows.append((RECIPES, [self._count(RECIPES, 0, self.schedule.max_epochs, size, done)]))
        for bracket in self.schedule.brackets:
            name = str(bracket.number)
            counts = [
                self._count(name, number, rung.end_epoch, rung.size, done)
                for number, rung in enumerate(bracket.rungs)
            ]
            rows.append((name, counts))
        return rows

    def _bracket(self, record: TrialRecord) -> str:
        """Name of the row that a trial belongs to; none for one of another iteration."""
        if record.recipe:
            return RECIPES
        return str(record.bracket) if (record.iteration or 0) == self.iteration else ""

    def _count(
        self, name: str, number: int, end_epoch: int, size: int, done: Counter[tuple[str, int]]
    ) -> RungCount:
        trial = None if self.running is None else self.running.trial
        here = trial is not None and self._bracket(trial) == name and len(trial.rungs) == number
        return RungCount(end_epoch, size, done[name, number], here)
