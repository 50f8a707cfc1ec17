"""Measure the moving statistics of a backbone's BatchNorm on given images.

The pretrained moving statistics come from other images. Where those of the user's images do better,
they are written to a weights file that a search can use.
"""

import os
from pathlib import Path

import keras
import numpy as np

from tuner.command_lines import Command
from tuner.diagnose.batchnorm_treatments import Treatment
from tuner.diagnose.experiment_data import compiled
from tuner.diagnose.finding import BATCHNORM_STATISTICS, Finding, Remedy
from tuner.errors import WeightsError
from tuner.metrics.significance import paired_gain
from tuner.text import percent

_SUFFIX = ".weights.h5"
# Of the batch that measures statistics: 512 images of 64 px, 42 of 224; about 2 GB.
_PIXELS = 512 * 64 * 64
_FEWEST_IMAGES = 32


def recalibrate(network: keras.Model, pixels: np.ndarray) -> None:
    """Set a backbone's moving statistics to those of given images.

    One large batch measures all of them, so that the statistics of each layer fit the output of the
    layers below. Averages over small batches do not (precise BN; Wu and Johnson 2021,
    arXiv:2105.07576): on drawings, a channel that is 0 in most batches got a variance near 0, and
    was amplified a hundredfold.

    Args:
        network: a backbone. Its trainable flags do not matter, and stay.
        pixels: uint8, shape (n, image_size, image_size, 3); an evenly spaced sample is used.
    """
    most = max(_FEWEST_IMAGES, round(_PIXELS / (pixels.shape[1] * pixels.shape[2])))
    chosen = np.linspace(0, len(pixels) - 1, min(most, len(pixels))).astype(np.int64)
    layers = batchnorms(network)
    before = [(layer.momentum, layer.trainable) for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0  # the moving statistics become those of the last batch
            layer.trainable = True  # a frozen BatchNorm measures nothing
        compiled(network, training=True)(pixels[chosen])
    finally:
        for layer, (momentum, trainable) in zip(layers, before, strict=True):
            layer.momentum, layer.trainable = momentum, trainable


def recalibration_finding(frozen: Treatment, recalibrated: Treatment) -> Finding:
    """Whether other moving statistics than the pretrained ones suit the images better."""
    gain, p_value = paired_gain(frozen.right, recalibrated.right)
    sentence = (
        f"With BatchNorm statistics of the training images a head reaches "
        f"{percent(recalibrated.val_accuracy)}, with the pretrained ones "
        f"{percent(frozen.val_accuracy)}."
    )
    file = "mine.weights.h5"
    remedy = Remedy(
        (
            Command("diagnose", ("--save-recalibrated", file)),
            " writes such weights, and ",
            Command("search", ("--weights", file)),
            " uses them.",
        )
    )
    numbers = {"recalibrated": recalibrated.val_accuracy, "frozen": frozen.val_accuracy}
    return Finding(BATCHNORM_STATISTICS, sentence, gain, p_value, remedy, numbers)


def batchnorms(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The BatchNormalization layers of a backbone, from the input to the output."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def check_weights_target(path: Path) -> None:
    """Check that weights can be written to a new file.

    Raises:
        WeightsError: they cannot.
    """
    if not path.name.endswith(_SUFFIX):
        raise WeightsError(f"{path} must end in {_SUFFIX}: choose another name.")
    if not path.parent.is_dir():
        raise WeightsError(f"there is no folder {path.parent} to write {path.name} to: make it.")
    if os.path.lexists(path):
        raise WeightsError(f"{path} exists: remove it, or choose another name.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise WeightsError(f"{path.parent} cannot be written to: choose another folder.")


def write_weights(network: keras.Model, path: Path) -> None:
    """Write a backbone's weights atomically, for `tune search --weights`.

    Args:
        network: a backbone.
        path: of the file, see `check_weights_target`.

    Raises:
        WeightsError: the file cannot be written.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        network.save_weights(temporary)
        temporary.replace(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
