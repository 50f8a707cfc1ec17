"""Whether a learning rate is too high or too low, by a short range test on pooled features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.diagnose.finding import Finding
from tuner.diagnose.head_training import HEAD, HeadFit, Heads
from tuner.errors import SettingsError
from tuner.metrics.significance import best_of, paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

CAUSE = "learning rate"
_EPOCHS, _PATIENCE = 10, 5
_HEADS = 3  # of each rate: of few images one head is points better than the next by chance
RATES = tuple(float(f"{10 ** (step / 2):.2g}") for step in range(-10, 1))


@dataclass(frozen=True)
class RateCurve:
    """What a head reaches after a few epochs by learning rate.

    Attributes:
        rates: learning rates, ascending.
        right: which share of the heads names each validation row rightly, float64, shape (rates,
            rows).
        train_losses: of the last epoch in nats, mean over the heads, shape (rates,).
    """

    rates: tuple[float, ...]
    right: np.ndarray
    train_losses: tuple[float, ...]

    @property
    def good(self) -> tuple[float, float]:
        """The lowest and the highest rate around the best that are as good within chance.

        Their accuracy, and that of all between them, is within a standard error of the best one.
        """
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
    on_progress: Callable[[int, int], None] | None = None,
) -> RateCurve:
    """A short range test of the learning rate (Smith 2017, arXiv:1506.01186).

    Each rate trains a head of its own: in the original's single sweep a rate inherits what the
    ones before it did.

    Args:
        heads: trains the heads.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        configuration: the head; its learning rate is replaced.
        rates: that are tried, ascending; 1e-5 to 1 by half decades if not given.
        epochs: of each.
        seed: of the first of a rate's three heads; the others have the next ones.
        on_progress: told (rates done, of how many).
    """
    right, losses = [], []
    for number, rate in enumerate(rates, start=1):
        tried = replace(configuration, learning_rate=rate)
        fits = _fits(heads, tried, training, validation, epochs, seed)
        right.append(_share_right(fits))
        losses.append(float(np.mean([each.train_losses[-1] for each in fits])))
        if on_progress is not None:
            on_progress(number, len(rates))
    return RateCurve(tuple(rates), np.stack(right), tuple(losses))


def trained_longer(
    heads: Heads,
    training: Rows,
    validation: Rows,
    rate: float,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
) -> np.ndarray:
    """What heads with a low learning rate name rightly after five times as many epochs.

    Args:
        heads: trains the heads.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        rate: the learning rate.
        seed: of the first of three heads; the others have the next ones.
        on_progress: told (heads trained, of three), before the first one too.

    Returns:
        Which share of the heads names each validation row rightly, float64, shape (rows,).
    """
    slow = replace(HEAD, learning_rate=rate)
    on_progress(0, _HEADS)
    return _share_right(
        _fits(heads, slow, training, validation, _PATIENCE * _EPOCHS, seed, on_progress)
    )


def _fits(
    heads: Heads,
    configuration: Configuration,
    training: Rows,
    validation: Rows,
    epochs: int,
    seed: int,
    on_head: Callable[[int, int], None] = lambda done, count: None,
) -> list[HeadFit]:
    fits = []
    for number in range(_HEADS):
        fits.append(heads.fit(configuration, [training], validation, epochs, seed + number))
        on_head(number + 1, _HEADS)
    return fits


def _share_right(fits: Sequence[HeadFit]) -> np.ndarray:
    share: np.ndarray = np.mean([fit.right for fit in fits], axis=0)
    return share


def learning_rate_finding(
    curve: RateCurve, used: float, longer: np.ndarray | None = None
) -> Finding:
    """Whether a learning rate is too high or too low, and what the best one gains over it.

    A low rate takes longer, which a short test mistakes for worse: it is too low where five times
    as many epochs do not make up for it.

    Args:
        curve: as `learning_rate_curve` gives it.
        used: the learning rate in question. The nearest one of the curve stands for it.
        longer: as `trained_longer` gives it for `used`; None where a low rate is not judged, which
            the finding says then.

    Raises:
        SettingsError: `used` is not above 0.
    """
    if not used > 0:
        raise SettingsError(f"a learning rate must be above 0, but got {used}.")
    nearest = int(np.abs(np.log(curve.rates) - np.log(used)).argmin())
    accuracies, (low, high) = curve.right.mean(axis=1), curve.good
    is_low = used < low and longer is not None
    own = curve.right[nearest] if longer is None or not is_low else longer
    gain, p_value = paired_gain(own, best_of(curve.right))
    best = curve.rates[int(accuracies.argmax())]
    numbers = {
        "used": used,
        "compared": curve.rates[nearest],
        "accuracy": float(own.mean()),
        "best": best,
        "good": [low, high],
        "rates": list(curve.rates),
        "val_accuracies": [float(each) for each in accuracies],
        "train_losses": list(curve.train_losses),
    }
    tried = (
        f"{used:g} after {_PATIENCE} times as many epochs"
        if is_low
        else f"{curve.rates[nearest]:g}"
    )
    evidence = (
        f"a head reaches {percent(float(own.mean()))} with {tried} and "
        f"{percent(float(accuracies.max()))} with {best:g}; {low:g} to {high:g} is good."
    )
    if used < low and longer is None:
        untold = (
            f"Whether a learning rate of {used:g} is too low was not judged: with patience a head "
            "gets as far, and a backbone that is trained too asks for a low one. In a short test, "
            f"{evidence}"
        )
        return Finding(CAUSE, untold, 0.0, None, "", numbers)
    harmless = f"A learning rate of {used:g} is no cause: {evidence}"
    if not is_low and used <= high:
        sentence = f"At a learning rate of {used:g} {evidence}"
        return Finding(CAUSE, sentence, min(gain, 0.0), 1.0, "", numbers, harmless=harmless)
    verdict = "low" if is_low else "high"
    return Finding(
        CAUSE,
        f"A learning rate of {used:g} is too {verdict}: {evidence}",
        gain,
        p_value,
        f"Take a learning rate from {low:g} to {high:g}, or let tune search DATA find one.",
        numbers,
        harmless=harmless,
    )
