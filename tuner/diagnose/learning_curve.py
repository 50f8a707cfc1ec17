"""Too few images? The learning curve of a linear head on pooled features.

A head is trained on nested subsets of the training images and scored on the validation images, and
power laws (`tuner.diagnose.power_laws`) extrapolate to more images.

The head is ridge regression on standardised features: exact, and without a number of epochs that
would have to suit every size. Its penalty is chosen once, on all training images, and kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tuner.command_lines import Command
from tuner.counting import Progress, silent
from tuner.diagnose.finding import LEAST_GAIN, TOO_FEW_IMAGES, Finding, Remedy
from tuner.diagnose.power_laws import CENTRAL_SHARE, Forecast, PowerLaws, fit_laws
from tuner.features.classifiers import folds
from tuner.text import percent
from tuner.training.rows import Rows

# Parts of the training images that a head is trained on.
SHARES = (1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)
# Fewer points do not determine three parameters.
LEAST_SIZES = 4
_TWICE, _TEN_TIMES = 2, 10
_LEAST_A_CLASS = 2
_PENALTIES = 10.0 ** np.arange(0, 6.1, 0.5)
_PENALTY_ROWS = 1000
_FEW_VALIDATION, _PARTS = 200, 4
_WHAT = "learning curve"
_HARDLY = "More images would hardly raise accuracy"
_UNCLEAR = "Whether more images would raise accuracy is unclear"
_COLLECT = Remedy(
    (
        "Collect more images, of the classes with the fewest first: ",
        Command("data"),
        " shows how many each has.",
    )
)


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy by number of training images, and its extrapolation.

    Attributes:
        sizes: numbers of training images, ascending; the last is all of them.
        accuracies: on the validation images, shape (draws, sizes), 0 to 1; the last entry of
            every draw is of all images.
        laws: None where the images are too few to fit any.
    """

    sizes: tuple[int, ...]
    accuracies: np.ndarray
    laws: PowerLaws | None


def learning_curve(
    training: Rows,
    validation: Rows,
    *,
    groups: np.ndarray | None = None,
    draws: int = 10,
    seed: int = 0,
    on_progress: Progress = silent,
) -> LearningCurve:
    """Train heads on nested subsets of the training rows and fit power laws to their accuracy.

    With fewer than 200 validation images, and more training images, a rise would hardly be
    significant: then all rows are divided into four parts, each is scored by heads trained on the
    other three, and the curve is that of all images.

    Args:
        training: pooled features with their labels, shape (rows, features).
        validation: the same of the images that heads are scored on.
        groups: of the training rows followed by the validation rows, shape (rows,): images that
            of one group stay in one part. None where each image is its own.
        draws: how many times the subsets are drawn, at least 2.
        seed: of the draws.
        on_progress: counts heads.
    """
    measured = None
    if len(validation.y) < min(_FEW_VALIDATION, len(training.y)):
        measured = _crossed(training, validation, groups, max(2, draws // 2), seed, on_progress)
    sizes, right = measured or measure(
        training, validation, draws=draws, seed=seed, on_progress=on_progress
    )
    enough = len(sizes) >= LEAST_SIZES and right.shape[2] > 1
    laws = fit_laws(sizes, right, sizes[-1]) if enough else None
    return LearningCurve(sizes, right.mean(axis=2), laws)


def data_finding(curve: LearningCurve, images: int = 0) -> Finding:
    """Whether accuracy is stuck because there are too few images.

    The gain is that of twice as many images, and the p value the probability that it is less than
    `power_laws.WORTHWHILE_GAIN`.

    Args:
        curve: as `learning_curve` returns it.
        images: number of training images, if the curve was drawn from a part of them; the laws are
            extrapolated to all of them first.
    """
    now = float(curve.accuracies[:, -1].mean())
    numbers: dict[str, Any] = {
        "sizes": list(curve.sizes),
        "accuracies": curve.accuracies.tolist(),
        "accuracy": now,
    }
    if curve.laws is None:
        sentence = "There are too few images to extrapolate to more of them."
        return Finding(TOO_FEW_IMAGES, sentence, 0.0, 1.0, numbers=numbers)
    images = max(images, curve.sizes[-1])
    laws = curve.laws.extended(images)
    twice, ten_times = (laws.forecast(factor * images) for factor in (_TWICE, _TEN_TIMES))
    p_value = laws.chance_of_no_gain(twice.images)
    numbers |= dict(zip("abc", curve.laws.best(), strict=True))
    numbers |= {
        "images": images,
        "central_share": CENTRAL_SHARE,
        "twice": asdict(twice),
        "ten_times": asdict(ten_times),
    }
    figures = f"it is {percent(now, 0)} with {curve.sizes[-1]:,} training images, and would be "
    if images > curve.sizes[-1]:
        figures += f"{_interval(laws.forecast(images))} with all {images:,}, "
        numbers["all"] = asdict(laws.forecast(images))
    figures += (
        f"{_interval(twice)} with twice as many, {_interval(ten_times)} with ten times as many"
    )
    hardly = p_value > 1 / 2 or twice.gain < LEAST_GAIN
    return Finding(
        TOO_FEW_IMAGES,
        f"Accuracy still grows with the number of images: {figures}.",
        twice.gain,
        p_value,
        _COLLECT,
        numbers,
        harmless=f"{_HARDLY if hardly else _UNCLEAR}: {figures}.",
    )


def measure(
    training: Rows,
    validation: Rows,
    *,
    draws: int,
    seed: int,
    on_progress: Progress = silent,
) -> tuple[tuple[int, ...], np.ndarray]:
    """Train heads on nested subsets; for the arguments see `learning_curve`.

    Returns:
        Numbers of training images, ascending, and whether each validation image was classified
        correctly, bool, shape (draws, sizes, images).
    """
    from threadpoolctl import threadpool_limits

    drawn = [_subsets(training.y, np.random.default_rng((seed, draw))) for draw in range(draws)]
    sizes = tuple(len(subset) for subset in drawn[0])
    right = np.empty((draws, len(sizes), len(validation.y)), bool)
    fits = [(draw, place) for draw in range(draws) for place in range(len(sizes) - 1)]
    # On a busy machine BLAS threads wait for each other: 20 times as long was measured.
    with threadpool_limits(1, "blas"):
        heads = _RidgeHeads(training, validation, seed)
        right[:, -1] = heads.right(drawn[0][-1])
        for done, (draw, place) in enumerate(fits, start=1):
            right[draw, place] = heads.right(drawn[draw][place])
            on_progress(_WHAT, done, len(fits))
    return sizes, right


def _crossed(
    training: Rows,
    validation: Rows,
    groups: np.ndarray | None,
    draws: int,
    seed: int,
    on_progress: Progress,
) -> tuple[tuple[int, ...], np.ndarray] | None:
    """As `measure`, over four parts of all rows; None where their curves differ in length.

    The sizes are the means over the parts, which differ by an image or two.
    """
    features = np.concatenate([training.x[:], validation.x[:]])
    labels = np.concatenate([training.y, validation.y]).astype(np.int64)
    measured: list[tuple[tuple[int, ...], np.ndarray]] = []

    def on_part(what: str, done: int, count: int) -> None:
        on_progress(what, len(measured) * count + done, _PARTS * count)

    for fitted_on, held_out in folds(labels, groups, _PARTS, seed):
        rows, others = (Rows(features[each], labels[each]) for each in (fitted_on, held_out))
        measured.append(measure(rows, others, draws=draws, seed=seed, on_progress=on_part))
    if len({len(sizes) for sizes, _ in measured}) != 1:
        return None
    columns = zip(*(sizes for sizes, _ in measured), strict=True)
    sizes = tuple(round(sum(column) / len(measured)) for column in columns)
    return sizes, np.concatenate([right for _, right in measured], axis=2)


def nested_subsets(
    labels: np.ndarray, shares: Sequence[float], random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Random subsets that each hold about their share of every class, at least one image.

    Args:
        labels: int class numbers, shape (rows,).
        shares: of the rows, ascending, above 0 and up to 1.
        random: generator to draw from.

    Yields:
        Ascending row numbers of each subset, a superset of the one before.
    """
    ranks = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks[random.permutation(members)] = np.arange(len(members))
    counts = np.bincount(labels)[labels]
    for share in shares:
        yield np.flatnonzero(ranks < np.maximum(1, np.round(share * counts)))


def _subsets(labels: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Nested subsets for `SHARES`, without duplicates and those too small to learn from."""
    least = _LEAST_A_CLASS * len(np.unique(labels))
    drawn = {len(subset): subset for subset in nested_subsets(labels, SHARES, random)}
    return [rows for size, rows in drawn.items() if size >= least or size == len(labels)]


class _RidgeHeads:
    """Ridge regressions on subsets of the standardised training rows, with one penalty for all.

    The penalty is chosen by leave-one-out cross-validation on at most 1,000 rows.
    """

    def __init__(self, training: Rows, validation: Rows, seed: int) -> None:
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.preprocessing import StandardScaler

        features = np.array(training.x[:], np.float32)
        scaler = StandardScaler(copy=False).fit(features)
        self._features, self._labels = scaler.transform(features), training.y
        self._held_out = scaler.transform(np.array(validation.x[:], np.float32))
        self._truth = validation.y
        rows = np.random.default_rng(seed).permutation(len(training.y))[:_PENALTY_ROWS]
        chosen = RidgeClassifierCV(_PENALTIES).fit(self._features[rows], self._labels[rows])
        self._penalty = float(chosen.alpha_)

    def right(self, rows: np.ndarray) -> np.ndarray:
        """Whether a head trained on these rows classifies each validation image correctly, bool."""
        from sklearn.linear_model import RidgeClassifier

        head = RidgeClassifier(self._penalty).fit(self._features[rows], self._labels[rows])
        return head.predict(self._held_out) == self._truth


def _interval(forecast: Forecast) -> str:
    low, high = 100 * forecast.low, 100 * forecast.high
    return f"{percent(forecast.accuracy, 0)} ({low:.0f} to {high:.0f} %)"
