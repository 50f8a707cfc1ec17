"""How long a search will still take, from what each of its trials is expected to cost.

Which configurations are still to come is known, since they are drawn from the search's seed; which
are promoted is not, so that a rung's places are shared out among the trials that may get them. What
an epoch of a configuration costs is estimated before, and corrected by what was measured: on the
same trial, on those of its depth, and on all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.journal import TrialRecord
from tuner.schedule import Bracket, Schedule, Standing

# Rungs that the more general correction weighs beside those that were measured.
_WEIGHT = 2.0
_DEPTH = "unfreeze_blocks"


@dataclass
class _Measured:
    """Seconds that rungs took, beside those that they were expected to take."""

    rungs: int = 0
    expected: float = 0.0
    measured: float = 0.0

    def add(self, expected: float, measured: float) -> None:
        self.rungs += 1
        self.expected += expected
        self.measured += measured

    def correction(self, without: float) -> float:
        """Measured by expected, drawn towards what it would be `without` these rungs."""
        ratio = self.measured / max(self.expected, 1e-9)
        return (self.rungs * ratio + _WEIGHT * without) / (self.rungs + _WEIGHT)


class Costs:
    """What training takes, corrected by what it took.

    Args:
        expected: seconds of an epoch of a configuration; None where nothing is known of it.
        trial_seconds: what a rung takes beside its epochs.
    """

    def __init__(
        self, expected: Callable[[Mapping[str, Any]], float | None], trial_seconds: float
    ) -> None:
        self._expected = expected
        self._trial_seconds = trial_seconds
        self._known: dict[int, float | None] = {}
        self._all = _Measured()
        self._depths: dict[Any, _Measured] = {}
        self._trials: dict[int, _Measured] = {}

    def note(
        self, trial: int, hyperparameters: Mapping[str, Any], epochs: int, seconds: float
    ) -> None:
        """A rung of a trial, of so many epochs, took so long."""
        expected = self._prior(trial, hyperparameters, epochs)
        for measured in (
            self._all,
            self._depths.setdefault(hyperparameters.get(_DEPTH), _Measured()),
            self._trials.setdefault(trial, _Measured()),
        ):
            measured.add(expected, seconds)

    def seconds(
        self, trial: int, hyperparameters: Mapping[str, Any], epochs: float, rungs: float
    ) -> float | None:
        """Estimate for so many epochs of a trial in so many rungs; None where nothing is known."""
        if not self._all.rungs and self._expect(trial, hyperparameters) is None:
            return None
        prior = self._prior(trial, hyperparameters, epochs, rungs)
        return prior * self._correction(trial, hyperparameters)

    def _prior(
        self, trial: int, hyperparameters: Mapping[str, Any], epochs: float, rungs: float = 1.0
    ) -> float:
        known = self._expect(trial, hyperparameters)
        if known is None:  # of no configuration: every epoch counts as one second
            return epochs
        return epochs * known + rungs * self._trial_seconds

    def _expect(self, trial: int, hyperparameters: Mapping[str, Any]) -> float | None:
        if trial not in self._known:
            self._known[trial] = self._expected(hyperparameters)
        return self._known[trial]

    def _correction(self, trial: int, hyperparameters: Mapping[str, Any]) -> float:
        if not self._all.rungs:
            return 1.0
        overall = self._all.measured / max(self._all.expected, 1e-9)
        of_depth = self._depths.get(hyperparameters.get(_DEPTH), _Measured())
        of_trial = self._trials.get(trial, _Measured())
        return of_trial.correction(of_depth.correction(overall))


def seconds_left(
    schedule: Schedule,
    standings: Sequence[Standing],
    records: Sequence[TrialRecord],
    upcoming: Callable[[int], Mapping[str, Any] | None],
    costs: Costs,
) -> float | None:
    """Estimate of what is left of a search.

    Args:
        schedule: the search.
        standings: every trial that was begun.
        records: the same trials.
        upcoming: hyperparameters of the trial of a number that is not begun yet, recipes first;
            None where the space has none left.
        costs: of training.

    Returns:
        Seconds; None where nothing is known of what an epoch costs.
    """
    total = 0.0
    for trial, (epochs, rungs) in expected_work(schedule, standings).items():
        begun = trial < len(records)
        values = records[trial].hyperparameters if begun else upcoming(trial)
        if values is None:
            continue
        seconds = costs.seconds(trial, values, epochs, rungs)
        if seconds is None:
            return None
        total += seconds
    return total


def expected_work(
    schedule: Schedule, standings: Sequence[Standing]
) -> dict[int, tuple[float, float]]:
    """Epochs and rungs that each trial is expected to be trained still, by its number.

    Args:
        schedule: the search.
        standings: every trial that was begun, number for number; those to come get the next.
    """
    work: dict[int, tuple[float, float]] = {}
    number = len(standings)
    begun = {standing.slot: standing for standing in standings}
    for recipe in schedule.recipes:
        standing = begun.get(recipe)
        if standing is None:
            work[number] = float(schedule.max_epochs), 1.0
            number += 1
        elif not standing.scores and not standing.failed:
            work[standing.trial] = float(schedule.max_epochs), 1.0
    for iteration in range(schedule.iterations):
        for bracket in schedule.brackets:
            slot = (iteration, bracket.number)
            members = [each for each in standings if each.slot == slot]
            filled = sum(bool(each.scores) or not each.failed for each in members)
            new = range(number, number + max(0, bracket.rungs[0].size - filled))
            number += len(new)
            work |= _bracket_work(bracket, members, new)
    return work


def _bracket_work(
    bracket: Bracket, members: Sequence[Standing], new: range
) -> dict[int, tuple[float, float]]:
    work: dict[int, tuple[float, float]] = {}
    by_number = {standing.trial: standing for standing in members}
    # How likely each trial is to be trained in the rung below.
    chances = dict.fromkeys([*by_number, *new], 1.0)
    for number, rung in enumerate(bracket.rungs):
        if number:
            chances = _promotions(number, rung.size, by_number, chances)
        for trial, chance in chances.items():
            standing = by_number.get(trial)
            finished = standing is not None and (len(standing.scores) > number or standing.failed)
            if chance and not finished:
                epochs, rungs = work.get(trial, (0.0, 0.0))
                length = rung.end_epoch - rung.start_epoch
                work[trial] = epochs + chance * length, rungs + chance
    return work


def _promotions(
    rung: int, size: int, by_number: Mapping[int, Standing], below: Mapping[int, float]
) -> dict[int, float]:
    """How likely each trial is to be trained in a rung, from how likely it is in the one below."""
    standings = by_number.values()
    entered = {each.trial for each in standings if each.entered(rung)}
    held = sum(len(each.scores) > rung or not each.failed for each in standings
               if each.trial in entered)  # fmt: skip
    places = max(0, size - held)
    waiting = {
        trial: chance for trial, chance in below.items()
        if chance and trial not in entered and not _is_out(by_number.get(trial))
    }  # fmt: skip
    compared = [by_number.get(trial) for trial in waiting]
    if all(each is not None and len(each.scores) == rung for each in compared):
        # All have been compared: the best are promoted.
        best = sorted(waiting, key=lambda trial: -by_number[trial].scores[-1])[:places]
        return dict.fromkeys([*entered, *best], 1.0)
    share = min(1.0, places / max(sum(waiting.values()), 1e-9))
    return dict.fromkeys(entered, 1.0) | {
        trial: chance * share for trial, chance in waiting.items()
    }


def _is_out(standing: Standing | None) -> bool:
    return standing is not None and standing.failed
