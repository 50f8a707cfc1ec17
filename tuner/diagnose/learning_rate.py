"""Whether a learning rate is too high or too low, by a short range test on pooled features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.command_lines import Command
from tuner.counting import Progress, silent
from tuner.diagnose.finding import LEARNING_RATE, Finding, Remedy
from tuner.diagnose.head_training import HEAD, HeadFit, Heads
from tuner.errors import SettingsError
from tuner.metrics.significance import best_of, paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

RATES = tuple(float(f"{10 ** (step / 2):.2g}") for step in range(-10, 1))
_EPOCHS = 10
_TIMES_LONGER = 5
_HEADS = 3  # of each rate: on few images, single heads differ by points


@dataclass(frozen=True)
class RateCurve:
    """Accuracy of a head after a few epochs, by learning rate.

    Attributes:
        rates: learning rates, ascending.
        right: share of the heads that classify each validation row correctly, float64, shape
            (rates, rows).
        train_losses: of the last epoch in nats, mean over the heads, shape (rates,).
    """

    rates: tuple[float, ...]
    right: np.ndarray
    train_losses: tuple[float, ...]

    @property
    def best(self) -> float:
        """The rate with the highest accuracy."""
        return self.rates[int(self.right.mean(axis=1).argmax())]

    def to_json(self) -> dict[str, Any]:
        """All numbers."""
        return {
            "best": self.best,
            "good": list(self.good),
            "rates": list(self.rates),
            "val_accuracies": [float(each) for each in self.right.mean(axis=1)],
            "train_losses": list(self.train_losses),
        }

    @property
    def good(self) -> tuple[float, float]:
        """The range of rates around the best that are within a standard error of it."""
        accuracies = self.right.mean(axis=1)
        top = int(accuracies.argmax())
        least = accuracies[top] - np.sqrt(
            accuracies[top] * (1 - accuracies[top]) / len(self.right[0])
        )
        poor = np.flatnonzero(accuracies < least)
        low = max(poor[poor < top], default=-1) + 1
        high = min(poor[poor > top], default=len(accuracies)) - 1
        return self.rates[low], self.rates[high]


def learning_rate_curve(
    heads: Heads,
    training: Rows,
    validation: Rows,
    *,
    configuration: Configuration = HEAD,
    rates: Sequence[float] = RATES,
    epochs: int = _EPOCHS,
    seed: int = 0,
    on_progress: Progress = silent,
) -> RateCurve:
    """Run a short range test of the learning rate (Smith 2017, arXiv:1506.01186).

    Each rate trains heads of its own; in the original's single sweep a rate starts from what the
    rates before it did.

    Args:
        heads: trains the heads.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        configuration: the head; its learning rate is replaced.
        rates: to try, ascending; by default 1e-5 to 1 by half decades.
        epochs: of each head.
        seed: of the first of a rate's three heads; the others have the next ones.
        on_progress: counts rates.
    """
    right, losses = [], []
    for done, rate in enumerate(rates, start=1):
        tried = replace(configuration, learning_rate=rate)
        fits = _fits(heads, tried, training, validation, epochs, seed)
        right.append(_share_right(fits))
        losses.append(float(np.mean([each.train_losses[-1] for each in fits])))
        on_progress("learning rates", done, len(rates))
    return RateCurve(tuple(rates), np.stack(right), tuple(losses))


def trained_longer(
    heads: Heads,
    training: Rows,
    validation: Rows,
    rate: float,
    seed: int = 0,
    on_progress: Progress = silent,
) -> np.ndarray:
    """Train heads with a low learning rate for five times as many epochs.

    Args:
        heads: trains the heads.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        rate: the learning rate.
        seed: of the first of three heads; the others have the next ones.
        on_progress: counts heads.

    Returns:
        Share of the heads that classify each validation row correctly, float64, shape (rows,).
    """
    what = "a low learning rate"
    on_progress(what, 0, _HEADS)
    return _share_right(
        _fits(
            heads,
            replace(HEAD, learning_rate=rate),
            training,
            validation,
            _TIMES_LONGER * _EPOCHS,
            seed,
            lambda done: on_progress(what, done, _HEADS),
        )
    )


def learning_rate_finding(
    curve: RateCurve, used: float, longer: np.ndarray | None = None
) -> Finding:
    """Whether a learning rate is too high or too low, and the gain of the best one.

    A low rate needs more epochs, so in a short test it looks worse than it is: it is too low if
    five times as many epochs do not make up for it.

    Args:
        curve: as `learning_rate_curve` returns it.
        used: the learning rate in question. The nearest rate of the curve stands for it.
        longer: as `trained_longer` returns it for `used`; None if a low rate is not to be judged.

    Raises:
        SettingsError: `used` is not above 0.
    """
    if not used > 0:
        raise SettingsError(f"a learning rate must be above 0, but got {used}.")
    nearest = int(np.abs(np.log(curve.rates) - np.log(used)).argmin())
    low, high = curve.good
    tried, own = f"{curve.rates[nearest]:g}", curve.right[nearest]
    is_low = used < low and longer is not None
    if used < low and longer is not None:
        tried, own = f"{used:g} after {_TIMES_LONGER} times as many epochs", longer
    gain, p_value = paired_gain(own, best_of(curve.right))
    top = float(curve.right.mean(axis=1).max())
    figures = (
        f"a head reaches {percent(float(own.mean()))} with {tried} and {percent(top)} with "
        f"{curve.best:g}; {low:g} to {high:g} is good."
    )
    found = Finding(
        LEARNING_RATE,
        f"A learning rate of {used:g} is too {'low' if is_low else 'high'}: {figures}",
        gain,
        p_value,
        Remedy((f"Use a learning rate of {low:g} to {high:g}; ", Command("search"), " finds one.")),
        {"used": used, "compared": curve.rates[nearest], "accuracy": float(own.mean())}
        | curve.to_json(),
        harmless=f"A learning rate of {used:g} is no cause: {figures}",
    )
    if is_low or used > high:
        return found
    if used >= low:
        return replace(
            found,
            sentence=f"With a learning rate of {used:g} {figures}",
            gain=min(gain, 0.0),
            p_value=1.0,
            remedy=Remedy(),
        )
    sentence = (
        f"Whether a learning rate of {used:g} is too low was not judged: with more epochs a head "
        "reaches the same, and a backbone that is trained too needs a low one. In a short test, "
        f"{figures}"
    )
    return replace(found, sentence=sentence, gain=0.0, p_value=None, remedy=Remedy(), harmless="")


def _fits(
    heads: Heads,
    configuration: Configuration,
    training: Rows,
    validation: Rows,
    epochs: int,
    seed: int,
    on_head: Callable[[int], None] = lambda done: None,
) -> list[HeadFit]:
    fits = []
    for number in range(_HEADS):
        fits.append(heads.fit(configuration, [training], validation, epochs, seed + number))
        on_head(number + 1)
    return fits


def _share_right(fits: Sequence[HeadFit]) -> np.ndarray:
    share: np.ndarray = np.mean([fit.right for fit in fits], axis=0)
    return share
