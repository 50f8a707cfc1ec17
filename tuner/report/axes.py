"""Axes of charts: places of values, in percent from the beginning of an axis, and its marks."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuner.text import number

_LEAST_ROOM = 0.01  # between the ends of an axis
_QUARTERS = 8  # scores that quartiles mean something for
UNUSED = 12.0  # percent of an axis that are set aside for trials that lack the value


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place, its text, and a second line."""

    place: float
    text: str
    note: str = ""


@dataclass(frozen=True)
class Axis:
    """Values along an axis.

    Attributes:
        choices: the values where there are only some; `low` and `high` are not used then.
        is_log: whether the axis is logarithmic.
        first: the place of `low`; above 0 where trials lack the value, which lie at 0.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Any, ...] = ()
    is_log: bool = False
    first: float = 0.0

    def place(self, value: Any) -> float:
        """Where a value lies, from 0 to 100; beyond the ends it lies on the edge."""
        if self.choices:
            return 100 * (self.choices.index(value) + 0.5) / len(self.choices)
        if value is None or not math.isfinite(value):
            return 0.0
        scale = math.log if self.is_log else float
        low, high = scale(self.low), scale(self.high)
        share = min(max((scale(value) - low) / (high - low or 1.0), 0.0), 1.0)
        return self.first + (100 - self.first) * share

    def ticks(self) -> tuple[Tick, ...]:
        """Marks at round values, or at each choice."""
        unused = [Tick(0.0, "not used")] if self.first else []
        if self.choices:
            texts = ("not used" if each is None else number(each) for each in self.choices)
            return tuple(map(Tick, map(self.place, self.choices), texts))
        values = (_decades if self.is_log else _round_values)(self.low, self.high)
        texts = (number(each) if self.is_log else f"{each:.3g}" for each in values)
        return (*unused, *map(Tick, map(self.place, values), texts))


def score_ends(scores: Iterable[float], is_loss: bool) -> tuple[float, float]:
    """The ends of the score's axis: round numbers around all scores but the hopeless ones.

    Hopeless is what lies further below the lower quartile than three times the distance between the
    quartiles (Tukey 1977); it is drawn on the edge, so that it does not flatten the others.
    """
    known = sorted(score for score in scores if math.isfinite(score))
    if not known:
        return 0.0, 1.0
    low, high = known[0], known[-1]
    if len(known) >= _QUARTERS:
        lower, _, upper = statistics.quantiles(known, n=4)
        room = 3 * max(upper - lower, _LEAST_ROOM)
        low, high = (low, min(high, upper + room)) if is_loss else (max(low, lower - room), high)
    return round_ends(low, high, is_loss)


def round_ends(low: float, high: float, is_loss: bool) -> tuple[float, float]:
    """Round numbers around two scores; no loss is below 0, and no accuracy above 1 either."""
    step = _step(low, high)
    first, last = math.floor(low / step), math.ceil(high / step)
    below, above = (first - (first == last)) * step, (last + (first == last)) * step
    return max(below, 0.0), above if is_loss else min(above, 1.0)


def _step(low: float, high: float) -> float:
    """A round distance of marks, of which three to seven lie between two values."""
    room = max(high - low, _LEAST_ROOM)
    step: float = 10 ** math.floor(math.log10(room))
    return next(step * part for part in (1, 0.5, 0.2, 0.1) if room / (step * part) >= 3)


def _round_values(one: float, other: float) -> list[float]:
    low, high = sorted((one, other))
    step = _step(low, high)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * place for place in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten between two values, or the two where there are fewer than two."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)] if last > first else [low, high]
