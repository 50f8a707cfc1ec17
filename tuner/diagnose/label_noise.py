"""Wrong labels, by what the other images predict for each (confident learning).

Cross-validated logistic regression on pooled features gives each image out-of-fold class
probabilities, and confident learning (Northcutt, Jiang & Chuang 2021, Journal of Artificial
Intelligence Research 70, arXiv:1911.00068; the cleanlab package) flags the labels they contradict.
Where features are weak it flags many images that are merely hard: a seventh of a set without any
wrong label. So wrong labels are counted where nothing is hard: among the fifth of all images with
the most confident predictions, these are right almost always, and a label that differs is wrong.
That share holds for all images if labels are wrong whatever the image shows.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.command_lines import Command
from tuner.counting import Progress, silent
from tuner.diagnose.finding import WRONG_LABELS, Finding, Remedy
from tuner.diagnose.head_training import Heads
from tuner.features.classifiers import FOLDS, cross_validated
from tuner.metrics.significance import paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

# Share of wrong labels that counts as clean. Of drawings with correct labels 0.4 to 1.1 % of the
# most confident predictions differ, of digits none.
TOLERATED = 0.03
# The same for classes with few images, in images of the mean class. Of drawings with correct labels
# 9 % of the most confident predictions differ with 15 images a class, 5 % with 26, 2 % with 40.
_TOLERATED_IMAGES = 2.0
_CLEAREST = 0.2  # of all images
STRENGTH = 1e-3  # of the logistic regression
_LEAST_IMAGES = 50
_REPEATS = 2  # divisions into folds
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class WrongLabels:
    """The wrong labels of a dataset.

    Attributes:
        finding: the outcome; see `find_wrong_labels` for its gain.
        share: estimated share of wrong labels, 0 to 1.
        interval: 95 % interval of `share`.
        rows: the suspects, as many as `share` implies, the most suspicious first: row numbers of
            the training rows followed by the validation rows, int64, shape (suspects,).
        suggested: the class that the other images suggest for each, int64, shape (suspects,).
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
    on_progress: Progress = silent,
) -> WrongLabels:
    """Find labels that the other images contradict, and what correcting them would gain.

    The gain has two parts. A validation image with a wrong label counts as a mistake of a head that
    classifies it correctly: of accuracy `a` measured with a share `w` of wrong labels,
    `a w / (1 - w)` is lost. And a head trained without the suspects is better on the validation
    images that are no suspects; a loss there counts as none, because labels can be corrected
    instead.

    Args:
        heads: trains the two heads.
        configuration: the head.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        groups: of the training rows followed by the validation rows, shape (rows,): images of one
            group are never on two sides. None where each image is its own.
        epochs: of the heads.
        seed: of the folds and the heads.
        on_progress: counts folds and heads.

    Returns:
        The finding, whose p value is that of more than 3 % of wrong labels, or of more than two
        images of a class where that is more; and the suspects. Fewer than 50 images give no answer.
    """
    steps = iter(range(1, FOLDS * _REPEATS + 3))

    def step() -> None:
        on_progress("wrong labels", next(steps), FOLDS * _REPEATS + 2)

    labels = np.concatenate([training.y, validation.y]).astype(np.int64)
    features = np.concatenate([training.x[:], validation.x[:]])
    seeds = range(seed, seed + _REPEATS)
    probabilities = cross_validated(features, labels, groups, STRENGTH, seeds, lambda *_: step())
    if np.isfinite(probabilities).all(axis=1).sum() < _LEAST_IMAGES:
        return _too_few(len(labels))
    count = _Count.of(labels, probabilities)
    rows = suspects(labels, probabilities, round(count.share * len(labels)))
    kept = ~np.isin(np.arange(len(labels)), rows)
    in_training, in_validation = np.split(kept, [len(training.y)])
    cleaned = Rows(training.x[in_training], training.y[in_training])
    before = heads.fit(configuration, [training], validation, epochs, seed).right
    step()
    after = heads.fit(configuration, [cleaned], validation, epochs, seed).right
    step()
    gain = _Gain.of(before, after, in_validation)
    finding = _finding(count, gain, len(rows), len(labels))
    suggested = probabilities[rows].argmax(axis=1)
    return WrongLabels(finding, count.share, count.interval, rows, suggested)


def suspects(labels: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """The rows whose labels confident learning calls wrong, the most suspicious first.

    Args:
        labels: int class numbers, shape (rows,).
        probabilities: out-of-fold, shape (rows, classes); rows of NaN are skipped.
        most: limit of rows.

    Returns:
        int64 row numbers.
    """
    from cleanlab.filter import find_label_issues

    predicted = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    if not most or not len(predicted):
        return np.empty(0, np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with few images
        found = find_label_issues(
            labels[predicted],
            probabilities[predicted],
            filter_by="prune_by_noise_rate",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
            verbose=False,
        )
    return predicted[np.asarray(found, np.int64)[:most]]


@dataclass(frozen=True)
class _Count:
    """Labels that differ from the prediction, among the most confident predictions."""

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
    """What correct labels would gain: in the validation images, and by training."""

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


def _too_few(images: int) -> WrongLabels:
    sentence = f"{images} images are too few to estimate how many labels are wrong."
    nothing = np.empty(0, np.int64)
    finding = Finding(WRONG_LABELS, sentence, 0.0, None)
    return WrongLabels(finding, 0.0, (0.0, 1.0), nothing, nothing)


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
    figures = (
        f"of the {count.clearest} images with the most confident predictions, {count.different} "
        "have another label"
    )
    sentence = (
        f"About {percent(count.share, 0)} of the labels are wrong ({percent(low, 0)} to "
        f"{percent(high, 0)}): {figures}; {found} of {images} images are suspects, and correct "
        f"labels would gain {100 * gain.total:.1f} points."
    )
    remedy = Remedy(
        (
            Command("diagnose", ("--json",)),
            f" lists the {found} suspects: check them from the first on, move each to its class "
            "(another folder, or another label in the table), and diagnose again.",
        )
    )
    harmless = f"No sign of harmful wrong labels: {figures}."
    return Finding(
        WRONG_LABELS, sentence, gain.total, count.p_value, remedy, numbers, harmless=harmless
    )
