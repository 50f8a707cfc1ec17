"""What training a search's trials takes: as expected, corrected by what it took.

A rung costs its start, in which a network is built and traced, which takes the longer the more of
the backbone is trained, and its epochs, whose cost is estimated before. How dear both really are is
fitted to the rungs that were run, for heads alone and for networks with a part of the backbone
apart; what the fit leaves over is corrected on the same trial and on those of its depth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
