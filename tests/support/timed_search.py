"""A search whose epochs pass on a clock that the test sets."""

from collections.abc import Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as kt_trial

from tests.support.clock import Clock
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.hyperband.time_budget import TimeBudget, follow_plan, must_close, out_of_time
from tuner.hyperband.time_left import TimeEstimator
from tuner.runs.journal import Journal
from tuner.runs.records import RungRecord

FACTOR = 3
FULL = Schedule(hyperband(9, FACTOR))


class TimedSearch:
    """One process of a search.

    Args:
        journal: of the search.
        clock: passes by `epoch_seconds` an epoch.
        seconds: the time budget.
        expected: what an epoch is estimated to take beforehand.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        seconds: float | None,
        *,
        max_epochs: int = 9,
        expected: float | None = 1.0,
        epoch_seconds: float = 1.0,
        iterations: int = 1,
    ) -> None:
        space = keras_tuner.HyperParameters()
        space.Float("rate", 0.0, 1.0)
        self.clock = clock
        self.epoch_seconds = epoch_seconds
        self.budget = TimeBudget(seconds)
        self.oracle = JournalOracle(
            journal, space, max_epochs=max_epochs, factor=FACTOR, iterations=iterations
        )
        self.notes: list[str] = []

        def expected_seconds(hyperparameters: Mapping[str, Any]) -> float | None:
            return expected

        self.time = TimeEstimator(self.oracle, expected_seconds, self.budget)
        follow_plan(
            self.oracle,
            self.budget,
            journal,
            seconds_of=self.time.schedule_seconds,
            on_note=self.notes.append,
        )

    def run(self) -> "TimedSearch":
        while True:
            self.oracle.closing = self.must_close()
            if self.budget.left() <= 0:
                return self
            trial = self.oracle.create_trial("tuner0")
            if trial.status != kt_trial.TrialStatus.RUNNING:
                return self
            if not self.train(trial):
                return self

    def train(self, trial: kt_trial.Trial | None = None) -> bool:
        """Train a rung, the next one by default; returns whether the budget sufficed."""
        trial = trial or self.oracle.create_trial("tuner0")
        values = trial.hyperparameters.values
        start, end = values["tuner/initial_epoch"], values["tuner/epochs"]
        self.time.begin_rung(self.oracle.record(int(trial.trial_id)))
        self.shown = [(self.clock.now, self.time.seconds())]
        for epoch in range(start, end):
            self.clock.now += self.epoch_seconds
            if self.time.end_epoch(epoch + 1):
                self.shown.append((self.clock.now, self.time.seconds()))
            if epoch + 1 < end and self.budget.left() <= 0:
                return False
        seconds = (end - start) * self.epoch_seconds
        rung = RungRecord(start, end, values["rate"], seconds)
        self.oracle.finish_rung(trial, rung, [{"val_accuracy": values["rate"]}] * (end - start))
        trial.status = kt_trial.TrialStatus.COMPLETED
        self.oracle.end_trial(trial)
        self.time.finish_rung(end, seconds)
        return True

    def must_close(self) -> bool:
        return must_close(self.oracle, self.budget)

    def out_of_time(self) -> str:
        return out_of_time(self.oracle, self.time.work_seconds())

    @property
    def epochs_left(self) -> int:
        done = sum(record.epochs for record in self.oracle.records())
        return self.oracle.schedule.total_epochs - done

    @property
    def longest(self) -> int:
        """Epochs of the trial that was trained the longest."""
        return max((record.epochs for record in self.oracle.records()), default=0)
