"""Experiment: what lagging BatchNorm statistics in a head cost."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.head import HeadStatistics, head_batchnorms, statistics_rows
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tuner.command_lines import Command
from tuner.counting import Progress, silent
from tuner.diagnose.finding import LAGGING, Finding, Remedy
from tuner.diagnose.head_training import HEAD
from tuner.errors import SettingsError
from tuner.metrics.significance import paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

BATCHNORM_HEAD = replace(HEAD, head_batchnorm=True)
_HEADS = 3
_WHAT = "lagging BatchNorm"


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
    on_progress: Progress = silent,
) -> Finding:
    """Measure what moving statistics that lag behind the weights cost (keras issue #7177).

    Three heads are trained by `fit`. After each epoch the same weights are evaluated twice: with
    the moving statistics that `fit` left, and with those of the training rows. The gain is the mean
    over the epochs: the lag is largest after the first, and gone after some hundreds of steps.

    Args:
        space: decides the number of classes.
        backbone: the space's backbone.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        momentum: of the head's BatchNorm, 0 to below 1; Keras's default is 0.99.
        epochs: of each head.
        configuration: the head; it has BatchNorm.
        batch_size: rows of a step.
        seed: of the first head's weights and order of the rows; the others have the next ones.
        on_progress: counts epochs.

    Returns:
        Beside the gain, the number "initial_share": the weight that the initial statistics still
        have after the last epoch.

    Raises:
        SettingsError: the head has no BatchNorm.
    """
    count = _HEADS * epochs
    on_progress(_WHAT, 0, count)
    runs, accuracies = [], []
    for head in range(_HEADS):

        def on_epoch(done: int, before: int = head * epochs) -> None:
            on_progress(_WHAT, before + done, count)

        model = _head(space, backbone, configuration, momentum, seed + head)
        run = _EvaluateTwice(training, validation, on_epoch)
        history = model.fit(
            training.x[:], training.y, batch_size, epochs, verbose=0, callbacks=[run]
        ).history
        runs.append(run)
        accuracies.append(history["accuracy"])
    initial_share = momentum ** (epochs * math.ceil(len(training.y) / batch_size))
    return _finding(runs, accuracies, momentum, initial_share)


def _finding(
    runs: Sequence["_EvaluateTwice"],
    accuracies: Sequence[list[float]],
    momentum: float,
    initial_share: float,
) -> Finding:
    before, after = np.array([run.moving for run in runs]), np.array([run.current for run in runs])
    moving, current = (right.mean(axis=(0, 2)).tolist() for right in (before, after))
    images = before.shape[2]
    gain, p_value = paired_gain(before.reshape(-1, images), after.reshape(-1, images))
    numbers = {
        "momentum": momentum,
        "moving_val_accuracies": moving,
        "current_val_accuracies": current,
        "train_accuracies": np.mean(accuracies, axis=0).tolist(),
        "initial_share": initial_share,
    }
    figures = (
        f"a head with BatchNorm momentum {momentum:g} reaches {percent(moving[0])} after epoch 1 "
        f"and {percent(moving[-1])} after epoch {len(moving)}, and the same weights with current "
        f"statistics {percent(current[0])} and {percent(current[-1])}; the initial statistics "
        f"still weigh {percent(initial_share)}"
    )
    return Finding(
        LAGGING,
        f"The lag costs {100 * gain:.1f} points on average: {figures}.",
        gain,
        p_value,
        Remedy(
            (
                "Re-estimate the head's statistics before each validation, as ",
                Command("search"),
                " does.",
            )
        ),
        numbers,
        harmless=f"The lag is negligible: {figures}.",
    )


def _head(
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


class _EvaluateTwice(keras.callbacks.Callback):
    """Evaluates each epoch with the moving statistics and with current ones, and restores them."""

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
