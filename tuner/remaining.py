"""How long a search will still take, from what each of its trials is expected to cost.

Which configurations are still to come is known, since they are drawn from the search's seed; which
are promoted is not, so that a rung's places are shared out among the trials that may get them.

A rung costs its start, in which a network is built and traced, which takes the longer the more of
the backbone is trained, and its epochs, whose cost is estimated before. How dear both really are is
fitted to the rungs that were run, for heads alone and for networks with a part of the backbone
apart; what the fit leaves over is corrected on the same trial and on those of its depth.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuner.journal import TrialRecord
from tuner.schedule import Bracket, Schedule, Standing

# Rungs that the more general correction weighs beside those that were measured.
_WEIGHT = 2.0
_DEPTH = "unfreeze_blocks"
# Unfrozen blocks that take as long to trace as all else that a rung does before its first epoch.
_START_BLOCKS = 4.0
_START_WEIGHT, _EPOCH_WEIGHT = 0.05, 0.5


@dataclass(frozen=True)
class Measured:
    """What a rung took, or the part of it that was run so far.

    Attributes:
        trial: number of its trial.
        depth: blocks of the backbone that it trains; None in a space that has no such thing.
        epochs: of the rung.
        epoch_seconds: what an epoch of it was expected to take.
        seconds: all of it.
        later_seconds: its epochs after the first; None where they were not measured apart.
    """

    trial: int
    depth: Any
    epochs: int
    epoch_seconds: float
    seconds: float
    later_seconds: float | None = None


@dataclass(frozen=True)
class _Fit:
    """How dear starts and epochs are beside what they were expected to be."""

    start: float = 1.0
    epoch: float = 1.0


@dataclass(frozen=True)
class _Learned:
    """What follows from the rungs that were measured.

    Attributes:
        fits: of heads alone, and of networks with a part of the backbone.
        depths: measured by fitted, drawn to 1, for each depth.
        trials: the rungs of each trial.
    """

    fits: dict[bool, _Fit]
    depths: dict[Any, float]
    trials: dict[int, list[Measured]]


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
        self._finished: list[Measured] = []
        self._learned = _Learned({}, {}, {})

    def note(
        self,
        trial: int,
        hyperparameters: Mapping[str, Any],
        epochs: int,
        seconds: float,
        later_seconds: float | None = None,
        running: bool = False,
    ) -> None:
        """A rung of a trial took so long.

        Args:
            trial: its number.
            hyperparameters: of the trial.
            epochs: of the rung.
            seconds: all of it.
            later_seconds: its epochs after the first; None where they were not measured apart.
            running: whether the rung goes on; the next that is noted takes its place.
        """
        known = self._expect(trial, hyperparameters)
        measured = Measured(
            trial,
            hyperparameters.get(_DEPTH),
            epochs,
            1.0 if known is None else known,  # of no configuration: all cost the same
            seconds,
            later_seconds if epochs > 1 else None,
        )
        if not running:
            self._finished.append(measured)
        self._learn(self._finished if not running else [*self._finished, measured])

    def seconds(
        self, trial: int, hyperparameters: Mapping[str, Any], epochs: float, rungs: float
    ) -> float | None:
        """Estimate for so many epochs of a trial in so many rungs; None where nothing is known."""
        known = self._expect(trial, hyperparameters)
        if known is None:
            if not self._learned.trials:
                return None
            known = 1.0
        depth = hyperparameters.get(_DEPTH)
        correction = self._learned.depths.get(depth, 1.0)
        if trial in self._learned.trials:
            correction = self._drawn(self._learned.trials[trial], correction)
        return correction * self._fitted(depth, known, epochs, rungs)

    def _expect(self, trial: int, hyperparameters: Mapping[str, Any]) -> float | None:
        if trial not in self._known:
            self._known[trial] = self._expected(hyperparameters)
        return self._known[trial]

    def _learn(self, measured: Sequence[Measured]) -> None:
        kinds, depths, trials = (
            _grouped(measured, key)
            for key in (lambda each: bool(each.depth), lambda each: each.depth,
                        lambda each: each.trial)
        )  # fmt: skip
        fits = {deep: _fit(alike, self._start_seconds) for deep, alike in kinds.items()}
        self._learned = _Learned(fits, {}, trials)
        for depth, alike in depths.items():
            self._learned.depths[depth] = self._drawn(alike, 1.0)

    def _fitted(self, depth: Any, epoch_seconds: float, epochs: float, rungs: float) -> float:
        fit = self._learned.fits.get(bool(depth), _Fit())
        start = rungs * fit.start * self._start_seconds(depth)
        return start + epochs * fit.epoch * epoch_seconds

    def _start_seconds(self, depth: Any) -> float:
        return self._trial_seconds * (1 + (depth or 0) / _START_BLOCKS)

    def _drawn(self, measured: Sequence[Measured], without: float) -> float:
        """Measured by fitted, drawn towards what it would be `without` these rungs."""
        fitted = sum(
            self._fitted(each.depth, each.epoch_seconds, each.epochs, 1.0) for each in measured
        )
        ratio = sum(each.seconds for each in measured) / max(fitted, 1e-9)
        return (len(measured) * ratio + _WEIGHT * without) / (len(measured) + _WEIGHT)


def _grouped(
    measured: Sequence[Measured], key: Callable[[Measured], Any]
) -> dict[Any, list[Measured]]:
    groups: dict[Any, list[Measured]] = {}
    for each in measured:
        groups.setdefault(key(each), []).append(each)
    return groups


def _fit(measured: Sequence[Measured], start_seconds: Callable[[Any], float]) -> _Fit:
    """Factors of starts and epochs by least squares.

    What a rung took is as uncertain as it is large, so that it weighs by its inverse. A part of a
    rung as it was expected stands beside the others, so that two unknowns are never fitted to one
    number; epochs are expected more closely than starts.
    """
    rows = [row for each in measured for row in _rows(each, start_seconds)]
    weighted = [(*row, 1 / max(row[2], 1e-9)) for row in rows]
    usual = len(measured) / max(sum(each.seconds for each in measured), 1e-9)
    start = sum(start_seconds(each.depth) for each in measured) / len(measured)
    epoch = sum(each.epoch_seconds for each in measured) / len(measured)
    weighted += [
        (start, 0.0, start, _START_WEIGHT * usual), (0.0, epoch, epoch, _EPOCH_WEIGHT * usual),
    ]  # fmt: skip
    ss = sum(weight * start * start for start, _, _, weight in weighted)
    ee = sum(weight * epoch * epoch for _, epoch, _, weight in weighted)
    se = sum(weight * start * epoch for start, epoch, _, weight in weighted)
    st = sum(weight * start * took for start, _, took, weight in weighted)
    et = sum(weight * epoch * took for _, epoch, took, weight in weighted)
    alone = _Fit(st / ss if ss else 1.0, et / ee if ee else 1.0)
    determinant = ss * ee - se * se
    if determinant <= 1e-12 * ss * ee:  # one of the two costs nothing
        return alone
    fitted = _Fit((st * ee - et * se) / determinant, (et * ss - st * se) / determinant)
    if fitted.start < 0:
        return _Fit(0.0, alone.epoch)
    return _Fit(alone.start, 0.0) if fitted.epoch < 0 else fitted


def _rows(
    measured: Measured, start_seconds: Callable[[Any], float]
) -> list[tuple[float, float, float]]:
    """Expected start, expected epochs, and what both together took."""
    start, each = start_seconds(measured.depth), measured.epoch_seconds
    if measured.later_seconds is None:
        return [(start, measured.epochs * each, measured.seconds)]
    later = measured.later_seconds
    return [(start, each, measured.seconds - later), (0.0, (measured.epochs - 1) * each, later)]


@dataclass(frozen=True)
class Work:
    """What a trial is expected to be trained still.

    Attributes:
        trial: its number.
        hyperparameters: of the trial.
        epochs: expected number.
        rungs: expected number, of those that have not ended their first epoch.
    """

    trial: int
    hyperparameters: Mapping[str, Any]
    epochs: float
    rungs: float


def work_left(
    schedule: Schedule,
    standings: Sequence[Standing],
    records: Sequence[TrialRecord],
    upcoming: Callable[[int], Mapping[str, Any] | None],
) -> list[Work]:
    """What is left of a search between two rungs, or when one begins.

    Args:
        schedule: the search.
        standings: every trial that was begun.
        records: the same trials.
        upcoming: hyperparameters of the trial of a number that is not begun yet, recipes first;
            None where the space has none left.
    """
    found = []
    for trial, (epochs, rungs) in expected_work(schedule, standings).items():
        begun = trial < len(records)
        values = records[trial].hyperparameters if begun else upcoming(trial)
        if values is not None:
            found.append(Work(trial, values, epochs, rungs))
    return found


def without_epochs(work: Sequence[Work], trial: int, epochs: int) -> list[Work]:
    """What is left once a trial has so many epochs of its rung behind it, at least one."""
    return [
        replace(each, epochs=each.epochs - epochs, rungs=each.rungs - 1)
        if each.trial == trial
        else each
        for each in work
    ]


def seconds_left(work: Sequence[Work], costs: Costs) -> float | None:
    """Estimate of what some work takes; None where nothing is known of what an epoch costs."""
    total = 0.0
    for each in work:
        seconds = costs.seconds(each.trial, each.hyperparameters, each.epochs, each.rungs)
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
    total = sum(waiting.values())
    if total <= places:
        return dict.fromkeys(entered, 1.0) | waiting
    scored = {trial for trial in waiting if _has_scored(by_number.get(trial), rung)}
    best = sorted(scored, key=lambda trial: -by_number[trial].scores[-1])
    others = max(int(len(scored) < len(waiting)), round(total - len(scored)))
    chances = {
        trial: _stays_ahead(rank, len(scored), len(scored) + others, places)
        for rank, trial in enumerate(best, start=1)
    }
    # What is left of the places is shared out among those that have no score yet.
    share = (places - sum(chances.values())) / max(total - len(scored), 1e-9)
    return dict.fromkeys(entered, 1.0) | {
        trial: chances.get(trial, chance * share) for trial, chance in waiting.items()
    }


def _has_scored(standing: Standing | None, rung: int) -> bool:
    return standing is not None and len(standing.scores) == rung


def _stays_ahead(rank: int, scored: int, members: int, places: int) -> float:
    """How likely the one of a rank among those with a score is among the first of all members.

    Any order of the members is taken to be as likely as any other.
    """
    ways = sum(
        math.comb(final - 1, rank - 1) * math.comb(members - final, scored - rank)
        for final in range(rank, places + 1)
    )
    return ways / math.comb(members, scored)


def _is_out(standing: Standing | None) -> bool:
    return standing is not None and standing.failed
