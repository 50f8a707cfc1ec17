"""Who is told what a search does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.hyperband.schedule import Schedule
from tuner.runs.records import TrialRecord

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.training.trainer import EpochMetrics


class SearchObserver:
    """Is told what a search does; every method does nothing unless it is overridden."""

    def counting(self, what: str, done: int, count: int) -> None:
        """`done` of `count` images have been through what is being done."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def search_begins(
        self,
        schedule: Schedule,
        omitted_recipes: tuple[str, ...],
        done: Sequence[TrialRecord] = (),
        seconds: float | None = None,
        best: TrialRecord | None = None,
    ) -> None:
        """The search is about to begin its first trial, or to go on.

        Args:
            schedule: all of it.
            omitted_recipes: names of those that contradict a pinned hyperparameter.
            done: trials of an earlier process.
            seconds: estimate of what is left, None where nothing is known.
            best: leads the search so far, None where no rung is finished.
        """

    def time_left(self, seconds: float | None) -> None:
        """About so many seconds of training are left; None where nothing is known."""

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        """A trial is about to be trained up to `end_epoch`."""

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: "EpochMetrics") -> None:
        """Epoch number `epoch`, counted from 1, is done."""

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """A trial finished its rung, or failed; `best` leads the search now."""

    def search_ends(self, trials: list[TrialRecord]) -> None:
        """The search is over; complete, unless its time was."""


class Observers(SearchObserver):
    """Tells several observers, in their order.

    Args:
        observers: those that are told.
    """

    def __init__(self, *observers: SearchObserver) -> None:
        self._observers = observers

    def counting(self, what: str, done: int, count: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.counting(what, done, count)

    def note(self, text: str) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.note(text)

    def search_begins(
        self,
        schedule: Schedule,
        omitted_recipes: tuple[str, ...],
        done: Sequence[TrialRecord] = (),
        seconds: float | None = None,
        best: TrialRecord | None = None,
    ) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.search_begins(schedule, omitted_recipes, done, seconds, best)

    def time_left(self, seconds: float | None) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.time_left(seconds)

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.rung_begins(trial, end_epoch)

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: "EpochMetrics") -> None:
        """Tells all."""
        for observer in self._observers:
            observer.epoch_ends(trial, epoch, metrics)

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.rung_ends(trial, best)

    def search_ends(self, trials: list[TrialRecord]) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.search_ends(trials)
