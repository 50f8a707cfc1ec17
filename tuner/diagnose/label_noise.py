"""Wrong labels, by what the other images say about each (confident learning).

Cross-validated logistic regression on pooled features gives each image class probabilities that
its own label had no part in, and confident learning (Northcutt, Jiang & Chuang 2021, Journal of
Artificial Intelligence Research 70, arXiv:1911.00068; the cleanlab package) names the labels that
they speak against. Where features are weak it names many images that are merely hard: a seventh of
a set without any wrong label. So how many are wrong is counted where nothing is hard: among the
fifth of all images whose class is told most clearly, the others' verdict is right almost always,
and a label that differs from it is wrong. That share holds for all images if labels are wrong
whatever the image shows.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.diagnose.causes import CAUSE
from tuner.diagnose.finding import Finding
from tuner.diagnose.head_training import Heads
from tuner.features.classifiers import folds, logistic_regression, out_of_fold, projection
from tuner.metrics.significance import paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

# Share of wrong labels up to which a set counts as clean. Of drawings whose labels are right 0.4 to
# 1.1 % of the clearest differ, of digits none.
TOLERATED = 0.03
# The same of classes with few images, of which the others tell less: in images of the mean class.
# Of drawings whose labels are right 9 % of the clearest differ where a class has 15 images, 5 %
# where it has 26 and 2 % where it has 40.
_TOLERATED_IMAGES = 2.0
_CLEAREST = 0.2  # of all images
_STRENGTH = 1e-3
_LEAST_IMAGES = 50  # a fifth of fewer proves nothing
_FOLDS, _REPEATS = 5, 2
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class WrongLabels:
    """What was found out about a set's labels.

    Attributes:
        finding: the outcome; see `find_wrong_labels` for its gain.
        share: estimate of the share of wrong labels, 0 to 1.
        interval: 95 % interval of `share`.
        rows: the suspects, as many as `share` means, the most suspicious first: row numbers of the
            training rows followed by the validation rows, int64, shape (suspects,).
        suggested: the class that the other images give each suspect, int64, shape (suspects,).
    """

    finding: Finding
    share: float
    interval: tuple[float, float]
    rows: np.ndarray
    suggested: np.ndarray


def find_wrong_labels(
    heads: Heads,
    configuration: Configuration,
    training: Rows,
    validation: Rows,
    *,
    groups: np.ndarray | None = None,
    epochs: int = 20,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> WrongLabels:
    """Finds labels that the other images speak against, and what setting them right would gain.

    The gain has two parts. A validation image with a wrong label counts as a mistake of a head that
    names it rightly: of accuracy `a` measured with a share `w` of wrong labels, `a w / (1 - w)` is
    lost. And a head that is trained without the suspects is better on the validation images that
    are no suspects; a loss there counts as none, because a label can be set right as well.

    Args:
        heads: trains the two heads.
        configuration: the head.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        groups: of the training rows followed by the validation rows, shape (rows,): images that
            are alike, and would speak for each other. None where each stands alone.
        epochs: that the heads are trained.
        seed: of the folds and the heads.
        on_progress: told (steps done, of how many).

    Returns:
        The finding, whose p value is that of more than 3 % of wrong labels, or of more than two
        images of a class where that is more; and the suspects. Of fewer than 50 images nothing can
        be told.
    """
    tell = _Progress(on_progress, _FOLDS * _REPEATS + 2)
    labels = np.concatenate([training.y, validation.y]).astype(np.int64)
    features = np.concatenate([training.x[:], validation.x[:]])
    probabilities = _probabilities(features, labels, groups, seed, tell.step)
    if np.isfinite(probabilities).all(axis=1).sum() < _LEAST_IMAGES:
        return _untold(len(labels))
    count = _Count.of(labels, probabilities)
    rows = suspects(labels, probabilities, round(count.share * len(labels)))
    kept = np.ones(len(labels), bool)
    kept[rows] = False
    kept_training, kept_validation = np.split(kept, [len(training.y)])
    before = heads.fit(configuration, [training], validation, epochs, seed).right
    tell.step()
    cleaned = Rows(training.x[kept_training], training.y[kept_training])
    after = heads.fit(configuration, [cleaned], validation, epochs, seed).right
    tell.step()
    gain = _Gain.of(before, after, kept_validation)
    return WrongLabels(
        _finding(count, gain, len(rows), len(labels)),
        count.share,
        count.interval,
        rows,
        probabilities[rows].argmax(axis=1),
    )


def suspects(labels: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """The rows whose labels confident learning calls wrong, the most suspicious first.

    Args:
        labels: int class numbers, shape (rows,).
        probabilities: of each row by a model that was fitted without it, shape (rows, classes);
            rows of NaN are passed over.
        most: no more than so many.

    Returns:
        int64 row numbers.
    """
    from cleanlab.filter import find_label_issues

    judged = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    if not most or not len(judged):
        return np.empty(0, np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with few images
        found = find_label_issues(
            labels[judged], probabilities[judged], filter_by="prune_by_noise_rate",
            return_indices_ranked_by="self_confidence", n_jobs=1, verbose=False,
        )  # fmt: skip
    return judged[np.asarray(found, np.int64)[:most]]


@dataclass(frozen=True)
class _Count:
    """Labels that differ from the verdict of the others, among the images that are clearest."""

    different: int
    clearest: int
    share: float
    interval: tuple[float, float]
    p_value: float

    @classmethod
    def of(cls, labels: np.ndarray, probabilities: np.ndarray) -> "_Count":
        from scipy.stats import binomtest

        confidence = np.nan_to_num(probabilities.max(axis=1))
        clearest = max(1, round(_CLEAREST * len(labels)))
        chosen = np.argsort(-confidence, kind="stable")[:clearest]
        different = int((probabilities[chosen].argmax(axis=1) != labels[chosen]).sum())
        images_a_class = len(labels) / probabilities.shape[1]
        tolerated = min(0.5, max(TOLERATED, _TOLERATED_IMAGES / images_a_class))
        tested = binomtest(different, clearest, tolerated, alternative="greater")
        interval = binomtest(different, clearest).proportion_ci(_CONFIDENCE)
        ends = float(interval.low), float(interval.high)
        return cls(different, clearest, different / clearest, ends, float(tested.pvalue))


@dataclass(frozen=True)
class _Gain:
    """What right labels would gain: in the validation images, and by training."""

    accuracy: float
    validation_share: float
    evaluation: float
    training: float
    training_p_value: float

    @classmethod
    def of(cls, before: np.ndarray, after: np.ndarray, kept: np.ndarray) -> "_Gain":
        accuracy, wrong = float(before.mean()), float(1 - kept.mean())
        if not kept.any():
            return cls(accuracy, wrong, 0.0, 0.0, 1.0)
        evaluation = min(accuracy * wrong / (1 - wrong), 1 - accuracy)
        return cls(accuracy, wrong, evaluation, *paired_gain(before[kept], after[kept]))

    @property
    def total(self) -> float:
        return min(self.evaluation + max(0.0, self.training), 1 - self.accuracy)


def _probabilities(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
    on_fold: Callable[[], None],
) -> np.ndarray:
    """Out-of-fold class probabilities, the mean of several divisions into folds."""
    projected = projection(features).transform(features)
    return np.mean(
        [
            out_of_fold(
                logistic_regression(_STRENGTH),
                projected,
                labels,
                folds(labels, groups, _FOLDS, seed + repeat),
                on_fold,
            )
            for repeat in range(_REPEATS)
        ],
        axis=0,
    )


def _untold(images: int) -> WrongLabels:
    sentence = f"Of {images} images too few can be judged by others to tell how many are wrong."
    nobody = np.empty(0, np.int64)
    return WrongLabels(Finding(CAUSE, sentence, 0.0, None), 0.0, (0.0, 1.0), nobody, nobody)


def _finding(count: _Count, gain: _Gain, found: int, images: int) -> Finding:
    numbers = {
        "share": count.share,
        "interval": list(count.interval),
        "clearest": count.clearest,
        "clearest_different": count.different,
        "suspects": found,
        "validation_share": gain.validation_share,
        "validation_accuracy": gain.accuracy,
        "evaluation_gain": gain.evaluation,
        "training_gain": gain.training,
        "training_p_value": gain.training_p_value,
    }
    low, high = count.interval
    evidence = (
        f"of the {count.clearest} images that the others tell most clearly, {count.different} "
        "have another label"
    )
    sentence = (
        f"About {percent(count.share, 0)} of the labels are wrong ({percent(low, 0)} to "
        f"{percent(high, 0)}): {evidence}; {found} of {images} images are "
        f"suspects, and right labels would gain {100 * gain.total:.1f} points."
    )
    remedy = (
        f"tune diagnose DATA --json lists the {found} suspects: look at them, the first ones "
        "first, give each its class (another folder, or another label in the table), and diagnose "
        "again."
    )
    harmless = f"No sign of wrong labels that do harm: {evidence}."
    return Finding(CAUSE, sentence, gain.total, count.p_value, remedy, numbers, harmless=harmless)


class _Progress:
    """Counts steps and tells whoever wants to know."""

    def __init__(self, on_progress: Callable[[int, int], None] | None, count: int) -> None:
        self._tell, self._count, self._done = on_progress, count, 0

    def step(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._count)
