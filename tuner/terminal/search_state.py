"""How far a search has come; the time is passed in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuner.hyperband.schedule import Schedule
from tuner.observer import RungBegins
from tuner.runs.records import TrialRecord

_MINUTE = 60.0
RECIPES = "recipes"


@dataclass(frozen=True)
class RungCount:
    """A rung and its trials.

    Attributes:
        end_epoch: where the rung ends.
        size: trials that the schedule gives it.
        done: trials that finished it.
        running: whether a trial is training on it.
    """

    end_epoch: int
    size: int
    done: int
    running: bool


class SearchState:
    """What a search has done so far.

    Attributes:
        schedule: the plan.
        best: the leading trial, if any.
        running: the rung that is training, if any, with the last epoch that is done.
        improvements: times and values of a new leading score.
        begun: start of this process.
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
        self.running: RungBegins | None = None
        self.improvements: list[tuple[float, float]] = []
        if best is not None and best.score is not None:
            self.improvements.append((now, best.score))
        self.begun = now
        self._records = {trial.id: trial for trial in done}
        self._epochs = {trial.id: trial.epochs for trial in done}
        self._seconds_before = sum(trial.seconds for trial in done)
        self._left: tuple[float, float] | None = None
        self._trials_before, self._epochs_before = self.trials, self.epochs

    def begin_rung(self, trial: TrialRecord, end_epoch: int, epoch: int = 0) -> None:
        """Note that a trial trains up to an epoch, with `epoch` epochs saved already."""
        self._records[trial.id] = trial
        epoch = max(epoch, trial.epochs)
        self._epochs_before += epoch - self._epochs.get(trial.id, 0)  # of an interrupted rung
        self._epochs[trial.id] = epoch
        self.running = RungBegins(trial, end_epoch, epoch)

    def end_epoch(self, trial: TrialRecord, epoch: int) -> None:
        """Note that an epoch of a trial is done."""
        self._epochs[trial.id] = epoch
        if self.running is not None:
            self.running = replace(self.running, epoch=epoch)

    def end_rung(self, trial: TrialRecord, best: TrialRecord | None, now: float) -> bool:
        """Note that a trial finished its rung or failed; return whether another score leads."""
        self._records[trial.id] = trial
        self._epochs[trial.id] = trial.epochs
        self.running = None
        before, self.best = self.best, best
        changed = best is not None and (before is None or best.score != before.score)
        if changed and best is not None and best.score is not None:
            self.improvements.append((now, best.score))
        return changed

    def note_left(self, seconds: float | None, now: float) -> None:
        """Note an estimate of the seconds that are left."""
        self._left = None if seconds is None else (seconds, now)

    def left(self, now: float) -> float | None:
        """Estimated seconds that are left; None if unknown."""
        return None if self._left is None else max(0.0, self._left[0] - (now - self._left[1]))

    def share(self, now: float) -> float:
        """Share of the search's time that has passed, 0 to 1, with the training of earlier
        processes; 0 if the time left is unknown.
        """
        left, passed = self.left(now), self._seconds_before + now - self.begun
        return 0.0 if left is None else passed / max(passed + left, 1e-9)

    @property
    def trials(self) -> int:
        """Trials that finished a rung."""
        return sum(bool(each.rungs) for each in self._records.values())

    @property
    def epochs(self) -> int:
        """Epochs of all trials."""
        return sum(self._epochs.values())

    def rates(self, now: float) -> tuple[float, float]:
        """Trials scored and epochs trained per minute, in this process."""
        minutes = max(now - self.begun, 1e-9) / _MINUTE
        return (
            (self.trials - self._trials_before) / minutes,
            (self.epochs - self._epochs_before) / minutes,
        )

    @property
    def iteration(self) -> int:
        """The current Hyperband iteration, from 0."""
        return max((each.iteration or 0 for each in self._records.values()), default=0)

    def brackets(self) -> list[tuple[str, list[RungCount]]]:
        """Rungs of the recipes and of each bracket of the current iteration, by name."""
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
        """Name of a trial's row; empty for a trial of another iteration."""
        if record.recipe:
            return RECIPES
        return str(record.bracket) if (record.iteration or 0) == self.iteration else ""

    def _count(
        self, name: str, number: int, end_epoch: int, size: int, done: Counter[tuple[str, int]]
    ) -> RungCount:
        trial = None if self.running is None else self.running.trial
        here = trial is not None and self._bracket(trial) == name and len(trial.rungs) == number
        return RungCount(end_epoch, size, done[name, number], here)
