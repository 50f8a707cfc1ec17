"""One network of a user's own search space, examined before the first trial."""

from typing import Any

import keras
import keras_tuner
import numpy as np

from tuner.errors import SettingsError, first_line
from tuner.training.sources import build_seeded

_IMAGES = 4


def check_network(
    space: keras_tuner.HyperModel,
    hyperparameters: keras_tuner.HyperParameters,
    shape: tuple[int, ...],
    num_classes: int,
    at_least: bool = False,
) -> None:
    """Check that networks give each image a row of class probabilities, and fit their loss.

    Args:
        space: builds the network.
        hyperparameters: of the network; if it cannot be built, its trial says why.
        shape: of an image, (height, width, channels).
        num_classes: columns that the rows must have.
        at_least: they may have more.

    Raises:
        SettingsError: they do not; the message has the repair.
    """
    try:
        model = build_seeded(space, hyperparameters, 0, 0)
    except Exception:
        return
    if fault := _fault(model, shape, num_classes, at_least):
        raise SettingsError(
            f"{type(space).__name__} cannot be searched: {fault}. End its networks in "
            f'Dense({num_classes}, activation="softmax") and compile them with '
            'loss="sparse_categorical_crossentropy".'
        )


def _fault(model: Any, shape: tuple[int, ...], num_classes: int, at_least: bool) -> str | None:
    if not isinstance(model, keras.Model):
        return f"build returns {type(model).__name__}, not a keras.Model"
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, *shape)).astype(np.float32)
    try:
        rows = np.asarray(model(images, training=False))
    except Exception as error:
        return f"its network does not take images of {shape} ({first_line(error)})"
    if rows.ndim != 2 or rows.shape[0] != _IMAGES:
        return f"its network gives {rows.shape[1:]} numbers an image, not a row"
    units = rows.shape[1]
    if units == 1:
        return "its network ends in one unit"
    if units < num_classes or (units > num_classes and not at_least):
        return f"its network ends in {units} units for {num_classes} classes"
    if not np.isfinite(rows).all():
        return None  # the trial fails with that
    if rows.min() < 0 or abs(rows.sum(axis=1) - 1).max() > 1e-2:
        return "its network gives no probabilities, which are at least 0 and sum to 1"
    if not model.compiled:
        return "its network is not compiled"
    return _fault_of_loss(model, images, units)


def _fault_of_loss(model: keras.Model, images: np.ndarray, units: int) -> str | None:
    if getattr(model.loss, "from_logits", False):
        return "its loss has from_logits=True, but its network gives probabilities"
    labels = np.arange(_IMAGES, dtype=np.int32) % units
    right = np.full((_IMAGES, units), 0.1 / (units - 1), np.float32)
    right[np.arange(_IMAGES), labels] = 0.9
    try:
        low, high = (
            float(model.compute_loss(images, labels, keras.ops.convert_to_tensor(rows)))
            for rows in (right, np.roll(right, 1, axis=1))
        )
    except Exception as error:
        return f"its loss does not take class numbers ({first_line(error)})"
    return None if low < high else "its loss is no smaller for right answers than for wrong ones"
