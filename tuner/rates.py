"""Whether a learning rate is too high or too low, by a short range test on pooled features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.errors import SettingsError
from tuner.findings import SIGNIFICANCE, Finding, best_of, paired_gain
from tuner.heads import HEAD, Heads
from tuner.training import Rows

CAUSE = "learning rate"
RATES = tuple(float(f"{10 ** (step / 2):.2g}") for step in range(-10, 1))


@dataclass(frozen=True)
class RateCurve:
    """What a head reaches after a few epochs by learning rate.

    Attributes:
        rates: learning rates, ascending.
        right: whether each validation row is named rightly, bool, shape (rates, rows).
        train_losses: of the last epoch in nats, shape (rates,).
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
    epochs: int = 10,
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
        seed: of the heads.
        on_progress: told (rates done, of how many).
    """
    fits = []
    for number, rate in enumerate(rates, start=1):
        tried = replace(configuration, learning_rate=rate)
        fits.append(heads.fit(tried, [training], validation, epochs, seed))
        if on_progress is not None:
            on_progress(number, len(rates))
    return RateCurve(
        tuple(rates),
        np.stack([each.right for each in fits]),
        tuple(each.train_losses[-1] for each in fits),
    )


def learning_rate_finding(curve: RateCurve, used: float) -> Finding:
    """Whether a learning rate is too high, and what the best one gains over it.

    Args:
        curve: as `learning_rate_curve` gives it.
        used: the learning rate in question. The nearest one of the curve stands for it.

    Raises:
        SettingsError: `used` is not above 0.
    """
    if not used > 0:
        raise SettingsError(f"a learning rate must be above 0, but got {used}.")
    nearest = int(np.abs(np.log(curve.rates) - np.log(used)).argmin())
    accuracies = curve.right.mean(axis=1)
    gain, p_value = paired_gain(curve.right[nearest], best_of(curve.right))
    best, (low, high) = curve.rates[int(accuracies.argmax())], curve.good
    # A low rate only takes longer, which a short test mistakes for worse.
    too_high = used > high and p_value <= SIGNIFICANCE
    numbers = {
        "used": used,
        "compared": curve.rates[nearest],
        "best": best,
        "good": [low, high],
        "rates": list(curve.rates),
        "val_accuracies": [float(each) for each in accuracies],
        "train_losses": list(curve.train_losses),
    }
    verdict = "too high" if too_high else "no cause"
    sentence = (
        f"A learning rate of {used:g} is {verdict}: a head reaches {accuracies[nearest]:.1%} with "
        f"{curve.rates[nearest]:g} and {accuracies.max():.1%} with {best:g}; "
        f"{low:g} to {high:g} is good."
    )
    if not too_high:
        return Finding(CAUSE, sentence, min(gain, 0.0), 1.0, "", numbers)
    remedy = f"Take a learning rate from {low:g} to {high:g}."
    return Finding(CAUSE, sentence, gain, p_value, remedy, numbers)
