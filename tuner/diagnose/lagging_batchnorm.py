"""Experiment: what a head's lagging BatchNorm statistics cost."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.head import HeadStatistics, head_batchnorms, statistics_rows
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tuner.counting import Told, tell_counts
from tuner.diagnose.causes import LAGGING
from tuner.diagnose.finding import Finding
from tuner.diagnose.head_training import HEAD
from tuner.errors import SettingsError
from tuner.metrics.significance import paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

BATCHNORM_HEAD = replace(HEAD, head_batchnorm=True)

_LAGGING_HEADS = 3


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
    tell_counts(on_progress, 0, _LAGGING_HEADS * epochs)
    for number in range(_LAGGING_HEADS):

        def told(done: int, before: int = number * epochs) -> None:
            tell_counts(on_progress, before + done, _LAGGING_HEADS * epochs)

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
