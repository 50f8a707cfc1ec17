"""What training a head can and cannot do about stuck accuracy: experiments on pooled features.

Each returns a finding whose gain is tested on the same validation images. Where the best of several
is compared with one, it is chosen on one half of the validation images and judged on the other, so
that the gain is not that of the luckiest.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.head import HeadStatistics, head_batchnorms, statistics_rows
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tuner.classifiers import (
    fit,
    folds,
    logistic_regression,
    nearest_neighbours,
    out_of_fold,
    projection,
)
from tuner.errors import SettingsError
from tuner.findings import SIGNIFICANCE, Finding, best_of, paired_gain
from tuner.heads import EPOCHS, HEAD, Heads
from tuner.quantities import percent
from tuner.training import Rows

BATCHNORM_HEAD = replace(HEAD, head_batchnorm=True)
LAGGING, WEAK_HEAD = "lagging head BatchNorm", "weak head"
OVERFITTING, FEATURES = "overfitting", "limit of the features"
DROPOUTS = (0.0, 0.3, 0.6)
L2_STRENGTHS = (1e-6, 1e-4, 1e-2)
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
NEIGHBOURS = (1, 5, 10, 20)
# A head that names so many of its training images, and so many fewer validation images, overfits.
OVERFITTED, OVERFITTING_GAP = 0.97, 0.05
# Accuracy that is no less, but for chance, is not called stuck where only other features remain.
HEALTHY = 0.9
_FOLDS = 3
_LAGGING_HEADS = 3

Told = Callable[[int, int], None] | None


def lagging_batchnorm(
    space: ResNet50Space,
    backbone: PretrainedBackbone,
    training: Rows,
    validation: Rows,
    *,
    momentum: float = 0.99,
    epochs: int = 3,
    configuration: Configuration = BATCHNORM_HEAD,
    batch_size: int = 32,
    seed: int = 0,
    on_progress: Told = None,
) -> Finding:
    """What moving statistics that lag behind the weights cost: keras issue #7177, in a head.

    Three heads are trained by `fit`. After each epoch the same weights are evaluated twice: with
    the moving statistics as `fit` left them, and with those of the training rows. The gain is the
    mean over the epochs: the lag is largest after the first, and over after some hundreds of steps.

    Args:
        space: decides the number of classes.
        backbone: the space's backbone.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        momentum: of the head's BatchNorm, 0 to below 1; 0.99 is what Keras takes.
        epochs: that it is trained.
        configuration: the head; it has BatchNorm.
        batch_size: rows of a step.
        seed: of the first head's weights and order of the rows; the others have the next ones.
        on_progress: told (epochs trained, of how many), before the first one too.

    Returns:
        Beside the gain, the number "initial_share": how much of the moving statistics is still what
        they began with after the last epoch.

    Raises:
        SettingsError: the head has no BatchNorm.
    """
    seen, accuracies = [], []
    _tell(on_progress, 0, _LAGGING_HEADS * epochs)
    for number in range(_LAGGING_HEADS):

        def told(done: int, before: int = number * epochs) -> None:
            _tell(on_progress, before + done, _LAGGING_HEADS * epochs)

        model = _lagging_head(space, backbone, configuration, momentum, seed + number)
        statistics = _Statistics(training, validation, told)
        history = model.fit(
            training.x[:], training.y, batch_size, epochs, verbose=0, callbacks=[statistics]
        ).history
        seen.append(statistics)
        accuracies.append(history["accuracy"])
    before, after = (
        np.array([getattr(each, name) for each in seen]) for name in ("moving", "current")
    )
    moving, current = (right.mean(axis=(0, 2)).tolist() for right in (before, after))
    images = len(validation.y)
    gain, p_value = paired_gain(before.reshape(-1, images), after.reshape(-1, images))
    steps = epochs * math.ceil(len(training.y) / batch_size)
    initial = momentum**steps
    numbers = {
        "momentum": momentum,
        "moving_val_accuracies": moving,
        "current_val_accuracies": current,
        "train_accuracies": np.mean(accuracies, axis=0).tolist(),
        "initial_share": initial,
    }
    evidence = (
        f"A head BatchNorm of momentum {momentum:g} validates at {percent(moving[0])} after epoch "
        f"1 and {percent(moving[-1])} after epoch {epochs}; the same weights with current "
        f"statistics reach {percent(current[0])} and {percent(current[-1])}, as {percent(initial)} "
        f"of the moving ones is what they began with then"
    )
    return Finding(
        LAGGING,
        f"{evidence}: the lag costs {100 * gain:.1f} points on the mean.",
        gain,
        p_value,
        "Measure the head's statistics before validating, as tune search DATA does.",
        numbers,
        harmless=f"{evidence}: that is no lag to speak of.",
    )


def _lagging_head(
    space: ResNet50Space,
    backbone: PretrainedBackbone,
    configuration: Configuration,
    momentum: float,
    seed: int,
) -> keras.Model:
    keras.utils.set_random_seed(seed)  # the order in which `fit` takes the rows
    model = space.build_suffix(configuration, backbone.lend(0), seed)
    layers = head_batchnorms(model)
    if not layers:
        raise SettingsError("the head has no BatchNorm: set head_layers and head_batchnorm.")
    for layer in layers:
        layer.momentum = momentum
    compile_classifier(model, configuration)
    return model


def overfitting(
    heads: Heads,
    training: Rows,
    validation: Rows,
    *,
    configuration: Configuration = HEAD,
    epochs: int = 20,
    seed: int = 0,
    on_progress: Told = None,
) -> Finding:
    """Whether a head overfits, and whether dropout (0 to 0.6) or L2 (1e-6 to 1e-2) cures it.

    Args:
        heads: trains the nine heads.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        configuration: the head; its dropout and L2 are replaced.
        epochs: that each is trained.
        seed: of the heads.
        on_progress: told (heads done, of how many).
    """
    grid = [(dropout, l2) for dropout in DROPOUTS for l2 in L2_STRENGTHS]
    fits = []
    for number, (dropout, l2) in enumerate(grid, start=1):
        tried = replace(configuration, dropout=dropout, l2=l2)
        fits.append(heads.fit(tried, [training], validation, epochs, seed))
        _tell(on_progress, number, len(grid))
    plain = fits[0]
    rights = np.stack([each.right for each in fits])
    gain, p_value = paired_gain(plain.right, best_of(rights))
    accuracies = rights.mean(axis=1)
    train, val = plain.train_accuracies[-1], float(accuracies[0])
    overfits = train >= OVERFITTED and train - val >= OVERFITTING_GAP
    numbers = {
        "grid": [
            {"dropout": dropout, "l2": l2, "val_accuracy": float(accuracy)}
            for (dropout, l2), accuracy in zip(grid, accuracies, strict=True)
        ],
        "train_accuracy": train,
        "val_accuracy": val,
        "overfits": overfits,
    }
    return _overfitting(Finding(OVERFITTING, "", gain, p_value, "", numbers), accuracies)


def ceiling(
    training: Rows,
    validation: Rows,
    right: np.ndarray,
    *,
    seed: int = 0,
    on_progress: Told = None,
) -> Finding:
    """What the best simple classifier reaches on the same features, against a head.

    Logistic regression and nearest neighbours by cosine, each with the setting that is best in
    cross-validation on the training rows; the better of the two there is compared.

    Args:
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        right: whether the head names each validation row rightly, bool, shape (rows,) or (seeds,
            rows).
        seed: of the folds.
        on_progress: told (settings tried, of how many).
    """
    turn = projection(training.x[:])
    raw = training.x[:], validation.x[:]
    projected = turn.transform(raw[0]), turn.transform(raw[1])
    tried: list[tuple[str, float, Any, tuple[np.ndarray, np.ndarray]]] = [
        *(("logistic regression", c, logistic_regression(c), projected) for c in STRENGTHS),
        *(
            ("nearest neighbours", k, nearest_neighbours(k), raw)
            for k in NEIGHBOURS
            if k <= len(training.y) // 2
        ),
    ]
    best: dict[str, tuple[float, float, np.ndarray]] = {}
    for number, (name, setting, classifier, (x, x_validation)) in enumerate(tried, start=1):
        expected = _cross_validated(classifier, x, training.y, seed)
        if name not in best or expected > best[name][0]:
            predicted = fit(classifier, x, training.y).predict(x_validation)
            best[name] = (expected, setting, predicted == validation.y)
        _tell(on_progress, number, len(tried))
    chosen = max(best, key=lambda name: best[name][0])
    gain, p_value = paired_gain(right, best[chosen][2])
    numbers: dict[str, Any] = {"head": float(np.mean(right)), "chosen": chosen} | {
        name: {"setting": setting, "cross_validated": expected, "val_accuracy": float(own.mean())}
        for name, (expected, setting, own) in best.items()
    }
    reached = " and ".join(f"{percent(own.mean())} by {name}" for name, (_, _, own) in best.items())
    evidence = (
        f"on these features {reached} are reached, and {percent(float(np.mean(right)))} by the head"
    )
    return Finding(
        WEAK_HEAD,
        f"A plain head of {EPOCHS} epochs, as this program trains it, leaves {100 * gain:.1f} "
        f"points: {evidence}. A head of your own was not compared.",
        gain,
        p_value,
        "Search heads with tune search DATA.",
        numbers,
        harmless=f"The head is at the ceiling of the features: {evidence}.",
    )


def features_limit(overfitted: Finding, reached: Finding, images: int) -> Finding:
    """Whether accuracy is held back by what no head can change: features, images or labels.

    Args:
        overfitted: as `overfitting` gives it.
        reached: as `ceiling` gives it.
        images: how many validation images there are.

    Returns:
        A cause where the best of all heads and classifiers is right for less than 90 % of the
        images beyond chance (binomial test). The gain is all that is missing: how much of it other
        features would give is not known.
    """
    from scipy.stats import binomtest

    accuracies = [each["val_accuracy"] for each in overfitted.numbers["grid"]]
    classifiers = [each["val_accuracy"] for each in reached.numbers.values() if _is_fitted(each)]
    best = max(*accuracies, *classifiers)
    spread = f"{percent(min(accuracies))} to {percent(max(accuracies))}"
    evidence = (
        f"training accuracy is {percent(overfitted.numbers['train_accuracy'])}, validation stays "
        f"at {spread} over dropout 0 to 0.6 and L2 1e-6 to 1e-2, and other classifiers reach "
        f"{percent(max(classifiers))}"
    )
    numbers = {"best": best, "healthy": HEALTHY}
    below = binomtest(round(best * images), images, HEALTHY, alternative="less")
    if below.pvalue > SIGNIFICANCE:
        sentence = f"Heads reach {percent(best)} on these features, which is not called stuck."
        return Finding(FEATURES, sentence, 0.0, None, numbers=numbers)
    return Finding(
        FEATURES,
        f"No head gets more out of these features: {evidence}. What is left are the features, the "
        "images or the labels.",
        1 - best,
        None,
        "Change the features: tune search DATA also trains 1 to 16 blocks of the backbone.",
        numbers,
        harmless=f"Another head gets more out of these features: {evidence}.",
        measured=False,
    )


class _Statistics(keras.callbacks.Callback):
    """Evaluates each epoch with the moving statistics, and with current ones; leaves no trace."""

    def __init__(self, training: Rows, validation: Rows, on_epoch: Callable[[int], None]) -> None:
        super().__init__()
        self._on_epoch = on_epoch
        self._sample = training.x[statistics_rows(len(training.y))]
        self._validation = validation
        self.moving: list[np.ndarray] = []
        self.current: list[np.ndarray] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._statistics = HeadStatistics(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        variables = self.model.non_trainable_variables
        lagging = [variable.numpy() for variable in variables]
        self.moving.append(self._right())
        self._statistics.update(self._sample)
        self.current.append(self._right())
        for variable, value in zip(variables, lagging, strict=True):
            variable.assign(value)
        self._on_epoch(epoch + 1)

    def _right(self) -> np.ndarray:
        probabilities = np.asarray(self.model(self._validation.x[:], training=False))
        return probabilities.argmax(axis=1) == self._validation.y


def _overfitting(found: Finding, accuracies: np.ndarray) -> Finding:
    train, val = found.numbers["train_accuracy"], found.numbers["val_accuracy"]
    spread = f"{percent(accuracies.min())} to {percent(accuracies.max())}"
    reached = f"training accuracy is {percent(train)} and validation {percent(val)}"
    if not found.numbers["overfits"]:
        sentence = f"The head does not overfit: {reached} unregularised."
        return replace(found, sentence=sentence, gain=0.0, p_value=1.0)
    harmless = (
        f"The head overfits and regularisation does not cure it: {reached}, and dropout 0 to 0.6 "
        f"with L2 1e-6 to 1e-2 gives {spread}: nothing that counts."
    )
    best = found.numbers["grid"][int(accuracies.argmax())]
    sentence = (
        f"The head overfits: {reached}; dropout {best['dropout']:g} with L2 {best['l2']:g} gives "
        f"{percent(accuracies.max())}."
    )
    remedy = (
        f"Use dropout {best['dropout']:g} and L2 {best['l2']:g}, or let tune search DATA find both."
    )
    return replace(found, sentence=sentence, remedy=remedy, harmless=harmless)


def _cross_validated(classifier: Any, x: np.ndarray, y: np.ndarray, seed: int) -> float:
    probabilities = out_of_fold(classifier, x, y, folds(y, None, _FOLDS, seed))
    known = np.isfinite(probabilities).all(axis=1)
    return float((known & (probabilities.argmax(axis=1) == y)).mean())


def _is_fitted(number: Any) -> bool:
    return isinstance(number, dict)


def _tell(on_progress: Told, done: int, count: int) -> None:
    if on_progress is not None:
        on_progress(done, count)
