"""Extrapolate a learning curve to more images by inverse power laws.

error(n) = a + b * n^-c describes learning curves over a wide range (Hestness et al. 2017, "Deep
learning scaling is predictable, empirically"; Viering and Loog 2021, "The shape of learning curves:
a review"), but a few noisy points leave its exponent and its asymptote open. So no single law is
fitted: every law on a grid is weighted by its agreement with the points (a posterior), and a
forecast is a weighted median with an interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Share of the laws' weight inside a forecast's interval. Its coverage of the truth is another
# matter, as real curves are no power laws: benchmarks/forecast.py measures it.
CENTRAL_SHARE = 0.95
# What more images must gain to be worth collecting, as a share of one.
WORTHWHILE_GAIN = 0.005
# Theory gives 0.5 to 1, real networks 0.07 to 0.35 (Hestness et al. 2017); beyond 1.5 a curve
# flattens so soon that only its asymptote matters.
_EXPONENTS = np.linspace(0.05, 1.5, 40)
_DEVIATIONS = np.linspace(-4, 4, 41)
# The asymptote as a share of the error with all images; above 1, more images do harm.
_FLOORS = np.linspace(0, 2, 81)
# How far a real curve strays from any power law, as a share of one.
_MISFIT = 0.005
# So that no weight is 0: exp of less than twice this underflows.
_LEAST_LOG_WEIGHT = -350.0


@dataclass(frozen=True)
class Forecast:
    """The accuracy that a number of training images would give, as shares of one.

    Attributes:
        images: number of training images.
        accuracy: on images like the validation images: the median of the laws.
        low: lower end of the interval with `CENTRAL_SHARE` of the laws' weight.
        high: upper end of that interval.
        gain: over the accuracy with the most images trained on; much more certain than `accuracy`,
            which the number of validation images limits.
    """

    images: int
    accuracy: float
    low: float
    high: float
    gain: float


@dataclass(frozen=True)
class PowerLaws:
    """Laws error(n) = a + b * n^-c, each with its weight.

    Laws by which more images do harm (b < 0) are among them, for an unbiased test; forecasts leave
    them out.

    Attributes:
        images: the most training images trained on.
        errors: error of each law with so many images, shape (laws,).
        floors: a of each law as a share of that error, shape (laws,).
        exponents: c of each law, shape (laws,).
        weights: shape (laws,); they sum to 1.
    """

    images: int
    errors: np.ndarray
    floors: np.ndarray
    exponents: np.ndarray
    weights: np.ndarray

    def best(self) -> tuple[float, float, float]:
        """a, b and c of the likeliest law by which more images do no harm."""
        law = int(np.argmax(self._harmless()))
        error, floor, c = (x[law] for x in (self.errors, self.floors, self.exponents))
        return float(error * floor), float(error * (1 - floor) * self.images**c), float(c)

    def extended(self, images: int) -> "PowerLaws":
        """The same laws, with gains relative to another number of training images.

        Args:
            images: at least as many as were trained on.
        """
        powers = (images / self.images) ** -self.exponents
        errors = self.errors * (self.floors + (1 - self.floors) * powers)
        floors = self.errors * self.floors / errors
        return PowerLaws(images, errors, floors, self.exponents, self.weights)

    def forecast(self, images: int) -> Forecast:
        """The accuracy with that many training images.

        Args:
            images: number of training images, at least as many as were trained on.
        """
        harmless, gains = self._harmless(), self.gains(images)
        shares = (0.5, (1 - CENTRAL_SHARE) / 2, (1 + CENTRAL_SHARE) / 2)
        accuracies = 1 - self.errors + gains
        accuracy, low, high = _quantile(accuracies, harmless, shares).tolist()
        return Forecast(images, accuracy, low, high, float(_quantile(gains, harmless, 0.5)))

    def chance_of_no_gain(self, images: int) -> float:
        """Probability, 0 to 1, that so many images gain less than `WORTHWHILE_GAIN`."""
        return float(self.weights[self.gains(images) < WORTHWHILE_GAIN].sum())

    def gains(self, images: int) -> np.ndarray:
        """Gain of accuracy with so many images by each law, shape (laws,)."""
        removed = 1 - (images / self.images) ** -self.exponents
        return self.errors * (1 - self.floors) * removed

    def _harmless(self) -> np.ndarray:
        return np.where(self.floors <= 1, self.weights, 0.0)


def fit_laws(sizes: Sequence[int], right: np.ndarray, images: int) -> PowerLaws:
    """Weight every power law on a grid by its agreement with the points of a curve.

    The grid is over the error with the most images, the share of it that is the asymptote, and the
    exponent. Weights are a posterior: a normal likelihood under a prior that is flat over the grid.
    Where no law agrees with the points, their standard errors are enlarged by the least factor with
    which one does (Birge 1932).

    Args:
        sizes: numbers of training images, ascending.
        right: whether each validation image was classified correctly, bool, shape (draws, sizes,
            images), with at least two draws and two images.
        images: number of training images that the subsets were drawn from.
    """
    scaled = np.asarray(sizes) / sizes[-1]
    observed = 1 - right.mean(axis=(0, 2))
    covariance = _covariance(np.asarray(sizes), right, images)
    deviation = np.sqrt(covariance[-1, -1])
    errors, floors, exponents = _grid(observed[-1] + deviation * _DEVIATIONS)
    powers = scaled ** -exponents[:, np.newaxis]
    laws = errors[:, np.newaxis] * (floors[:, np.newaxis] * (1 - powers) + powers)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (laws - observed).T)
    misfits = np.square(whitened).sum(axis=0)
    misfits /= max(1.0, misfits.min() / max(1, len(sizes) - 3))
    weights = np.exp(np.maximum((misfits.min() - misfits) / 2, _LEAST_LOG_WEIGHT))
    return PowerLaws(int(sizes[-1]), errors, floors, exponents, weights / weights.sum())


def _grid(errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Error, floor and exponent of every law, each of shape (laws,)."""
    possible = errors[(errors > 0) & (errors < 1)]
    axes = np.meshgrid(possible, _FLOORS, _EXPONENTS, indexing="ij")
    errors, floors, exponents = (axis.ravel() for axis in axes)
    return errors, floors, exponents


def _covariance(sizes: np.ndarray, right: np.ndarray, images: int) -> np.ndarray:
    """Covariance of the mean errors of the sizes, shape (sizes, sizes).

    Over other validation images: estimated from the images. Over other training images: for a mean
    over a sample of n, the variance is v / n, the covariance of nested samples that of the larger,
    and that of two draws from the same images that of all of them; v is estimated from the draws.
    """
    draws, _, count = right.shape
    wrong = 1.0 - right
    validation = np.cov(wrong.mean(axis=0)) / count
    # With few errors, or none, the sample variance is too small (Agresti and Coull 1998).
    error = (wrong[:, -1].sum() / draws + 2) / (count + 4)
    validation = validation + max(0.0, error * (1 - error) / count - validation[-1, -1])
    shown = wrong.mean(axis=2).var(axis=0, ddof=1).sum()
    variance = shown / (1 / sizes - 1 / images).sum()
    shared = (1 - 1 / draws) / images
    training = variance * (1 / np.maximum.outer(sizes, sizes) / draws + shared)
    return validation + training + np.diag(np.full(len(sizes), _MISFIT**2))


def _quantile(
    values: np.ndarray, weights: np.ndarray, shares: float | Sequence[float]
) -> np.ndarray:
    return np.quantile(values, shares, weights=weights, method="inverted_cdf")
