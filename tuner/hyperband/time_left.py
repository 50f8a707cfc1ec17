"""The time that a search has left: `expected_work`, and what rungs were measured to take.

A rung costs its start, in which the network is built and traced, and its epochs. Both are estimated
beforehand and corrected by least squares once rungs were measured. tests/integration/test_replay.py
compares the estimates with recorded searches.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import nnls

from tuner.hyperband.expected_work import Work, expected_work, without_epochs
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.schedule import Schedule
from tuner.hyperband.time_budget import TimeBudget
from tuner.runs.records import TrialRecord

# A rung's start takes about a second, and one more for every four unfrozen blocks.
_START_SECONDS, _BLOCKS_OF_A_START = 1.0, 4.0
# Weights of one expected start and of one expected epoch in the fit; a measured rung has about 1.
_START_WEIGHT, _EPOCH_WEIGHT = 0.05, 0.5
# The factor of a depth, or of a trial, is averaged with this many rungs of the more general one.
_GENERAL_RUNGS = 2.0
_UPDATE_SECONDS = 1.0  # between two estimates while a rung is trained


class TimeEstimator:
    """Estimates the time that one search has left, while it trains."""

    def __init__(
        self,
        oracle: JournalOracle,
        epoch_seconds: Callable[[Mapping[str, Any]], float | None],
        budget: TimeBudget | None = None,
    ) -> None:
        self._oracle = oracle
        self._budget = budget or TimeBudget()
        self._running: _Running | None = None
        self._updated = 0.0
        self._costs = RungCosts(oracle.configuration, epoch_seconds)
        for record in oracle.records():  # of earlier processes
            for rung in record.rungs:
                self._costs.note(record.id, rung.end_epoch - rung.start_epoch, rung.seconds)

    def begin_rung(self, trial: TrialRecord, epoch: int = 0) -> None:
        """Note that a trial begins its next rung, with `epoch` epochs saved already."""
        self._updated = time.monotonic()
        saved = max(0, epoch - trial.epochs)
        self._running = _Running(trial, self._updated, self._work(), saved)

    def end_epoch(self, epoch: int) -> bool:
        """Note that the running trial has `epoch` epochs behind it.

        Returns:
            Whether to show `seconds` again: about once a second, since estimating takes a while.
        """
        running, now = self._running, time.monotonic()
        assert running is not None
        running.ends.append(now - running.begun)
        running.epochs = epoch - running.trial.epochs
        if now - self._updated < _UPDATE_SECONDS:
            return False
        self._updated = now
        ends = running.ends
        self._costs.note(running.trial.id, len(ends), ends[-1], ends[-1] - ends[0], running=True)
        return True

    def finish_rung(self, end_epoch: int, seconds: float) -> None:
        """Note what the running rung took in all, interrupted processes included."""
        running = self._running
        assert running is not None
        epochs, ends = end_epoch - running.trial.epochs, running.ends
        later = ends[-1] - ends[0] if len(ends) == epochs else None
        self._costs.note(running.trial.id, epochs, seconds, later)
        self.drop_rung()

    def drop_rung(self) -> None:
        """Forget the running rung, if there is one: it is over, or its trial failed."""
        self._running = None

    def seconds(self) -> float | None:
        """Seconds until the search ends, within its budget; None where nothing is known."""
        seconds = self.work_seconds()
        return None if seconds is None else max(0.0, min(seconds, self._budget.left()))

    def work_seconds(self) -> float | None:
        """Seconds that the rest of the schedule takes, whatever the budget; None if unknown."""
        running = self._running
        if running is None:
            return self._costs.seconds(self._work())
        if not running.epochs:
            return self._costs.seconds(running.work)
        return self._costs.seconds(without_epochs(running.work, running.trial.id, running.epochs))

    def schedule_seconds(self, schedule: Schedule) -> float | None:
        """Seconds that a whole schedule takes; None where nothing is known."""
        return self._costs.seconds(expected_work(schedule, ()))

    def _work(self) -> dict[int, Work]:
        oracle = self._oracle
        return expected_work(oracle.schedule, oracle.standings(oracle.records()))


@dataclass
class _Running:
    """A rung in training: when it began, what was left then, when its epochs ended since."""

    trial: TrialRecord
    begun: float
    work: Mapping[int, Work]
    epochs: int = 0
    ends: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Measured:
    """A rung, or the part of it that was trained; `epoch_seconds` is what an epoch should take."""

    trial: int
    depth: int
    epochs: int
    epoch_seconds: float
    seconds: float
    later_seconds: float | None

    def rows(self) -> list[tuple[float, float, float]]:
        """Expected start, expected epochs, and what both took; in two parts if measured apart."""
        start, each = _start_seconds(self.depth), self.epoch_seconds
        if self.later_seconds is None:
            return [(start, self.epochs * each, self.seconds)]
        return [
            (start, each, self.seconds - self.later_seconds),
            (0.0, (self.epochs - 1) * each, self.later_seconds),
        ]


def _start_seconds(depth: int) -> float:
    return _START_SECONDS * (1 + depth / _BLOCKS_OF_A_START)


class RungCosts:
    """What rungs take: as expected beforehand, corrected by those that were measured.

    Start and epochs have one factor each, for heads alone and for unfrozen networks apart. A depth
    or a trial that takes longer than they say is expected to keep doing so.
    """

    def __init__(
        self,
        configuration: Callable[[int], Mapping[str, Any]],
        epoch_seconds: Callable[[Mapping[str, Any]], float | None],
    ) -> None:
        self._configuration = configuration
        self._epoch_seconds = epoch_seconds
        self._expected: dict[int, tuple[int, float | None]] = {}
        self._rungs: list[_Measured] = []
        self._running = False  # the last of them
        self._fits: dict[bool, tuple[float, float]] | None = None
        self._depths: dict[int, float] = {}
        self._trials: dict[int, float] = {}

    def note(
        self,
        trial: int,
        epochs: int,
        seconds: float,
        later_seconds: float | None = None,
        *,
        running: bool = False,
    ) -> None:
        """Note what a rung took.

        Args:
            trial: its number.
            epochs: of the rung.
            seconds: start and epochs.
            later_seconds: its epochs after the first; None where they were not measured apart.
            running: whether the rung is not over; the next call replaces it.
        """
        if self._running:
            self._rungs.pop()
        self._running = running
        depth, each = self._expected[trial] = self._expect(trial)
        later = later_seconds if epochs > 1 else None
        # Where nothing is expected, an epoch of any configuration is taken to cost the same.
        measured = _Measured(trial, depth, epochs, 1.0 if each is None else each, seconds, later)
        self._rungs.append(measured)
        self._fits = None

    def seconds(self, work: Mapping[int, Work]) -> float | None:
        """Seconds that work takes, by number of the trial; None where nothing is known."""
        if self._fits is None:
            self._learn()
        total = 0.0
        for trial, left in work.items():
            if trial not in self._expected:
                self._expected[trial] = self._expect(trial)
            depth, each = self._expected[trial]
            if each is None and not self._rungs:
                return None
            seconds = self._fitted(depth, 1.0 if each is None else each, left)
            total += self._trials.get(trial, self._depths.get(depth, 1.0)) * seconds
        return total

    def _expect(self, trial: int) -> tuple[int, float | None]:
        """Number of unfrozen blocks, and seconds of an epoch."""
        hyperparameters = self._configuration(trial)
        return hyperparameters.get("unfreeze_blocks") or 0, self._epoch_seconds(hyperparameters)

    def _learn(self) -> None:
        by_kind: dict[bool, list[_Measured]] = defaultdict(list)
        by_depth: dict[int, list[_Measured]] = defaultdict(list)
        by_trial: dict[int, list[_Measured]] = defaultdict(list)
        for rung in self._rungs:
            by_kind[rung.depth > 0].append(rung)
            by_depth[rung.depth].append(rung)
            by_trial[rung.trial].append(rung)
        self._fits = {unfrozen: _fit(rungs) for unfrozen, rungs in by_kind.items()}
        self._depths = {depth: self._factor(rungs, 1.0) for depth, rungs in by_depth.items()}
        self._trials = {
            trial: self._factor(rungs, self._depths[rungs[0].depth])
            for trial, rungs in by_trial.items()
        }

    def _fitted(self, depth: int, epoch_seconds: float, work: Work) -> float:
        start, epoch = (self._fits or {}).get(depth > 0, (1.0, 1.0))
        return start * work.rungs * _start_seconds(depth) + epoch * work.epochs * epoch_seconds

    def _factor(self, rungs: Sequence[_Measured], general: float) -> float:
        """Measured by fitted seconds, averaged with a more general factor."""
        fitted = sum(
            self._fitted(rung.depth, rung.epoch_seconds, Work(rung.epochs, 1)) for rung in rungs
        )
        ratio = sum(rung.seconds for rung in rungs) / max(fitted, 1e-9)
        return (len(rungs) * ratio + _GENERAL_RUNGS * general) / (len(rungs) + _GENERAL_RUNGS)


def _fit(rungs: Sequence[_Measured]) -> tuple[float, float]:
    """Factors of starts and of epochs, at least 0, by least squares.

    A squared error weighs by the inverse of the time measured, which is as uncertain as it is long.
    The expected start and epoch stand beside the measured ones, so that few rungs change little.
    """
    rows = [row for rung in rungs for row in rung.rows()]
    weights = [1 / max(seconds, 1e-9) for _, _, seconds in rows]
    start = float(np.mean([_start_seconds(rung.depth) for rung in rungs]))
    epoch = float(np.mean([rung.epoch_seconds for rung in rungs]))
    usual = 1 / max(float(np.mean([rung.seconds for rung in rungs])), 1e-9)
    rows += [(start, 0.0, start), (0.0, epoch, epoch)]
    weights += [_START_WEIGHT * usual, _EPOCH_WEIGHT * usual]
    weighted = np.array(rows) * np.sqrt(weights)[:, None]
    factors, _ = nnls(weighted[:, :2], weighted[:, 2])
    return float(factors[0]), float(factors[1])
