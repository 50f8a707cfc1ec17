"""ResNet50 whose BatchNorm cannot ruin transfer learning.

Every BatchNormalization of the backbone has `trainable=False`, at every unfreeze depth. That alone
makes Keras 2.2.5 and later run it in inference mode in `fit` and in evaluation alike (keras PR
#9965): its moving statistics never change, and an image's output depends neither on the other
images of its batch nor on the training flag. `training=False` in a functional graph does not do
that: since Keras 3, `fit` overrides it (keras issue #20285).
"""

import contextlib
import itertools
import math
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops

from search_spaces.hdf5 import HDF5Error, check_hdf5
from tuner.errors import SettingsError, WeightsError

# Residual blocks from the input to the output, as He et al. 2016 (arXiv:1512.03385) stack them.
BLOCKS = tuple(
    f"conv{stage}_block{block}"
    for stage, count in ((2, 3), (3, 4), (4, 6), (5, 3))
    for block in range(1, count + 1)
)
# Unfreeze depths whose cuts divide the network into segments, from the input to the output.
CUTS = (16, 9, 6, 3, 2, 1, 0)
SMALLEST_IMAGE_SIZE = 32
# keras.applications.resnet50.preprocess_input: mean of ImageNet's blue, green and red.
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
_IMAGENET_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
_IMAGENET_MD5 = "4d473c1dd8becc155b73f8504c6f6626"
_IMAGENET_URL = (
    f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{_IMAGENET_FILE}"
)


def build_backbone(image_size: int, weights: str | Path = "imagenet") -> keras.Model:
    """Builds ResNet50 without its top, completely frozen.

    Args:
        image_size: height and width of the images in pixels, at least 32.
        weights: "imagenet"; "none" for random weights, the same in every process; or a file:
            `.weights.h5`, or the `.h5` without top that Keras downloads.

    Returns:
        Model from preprocessed images (batch, image_size, image_size, 3) to the pooled features
        (batch, 2048). Its layers have the standard names.

    Raises:
        SettingsError: the image size is too small.
        WeightsError: the weights cannot be had, or belong to another network.
    """
    if image_size < SMALLEST_IMAGE_SIZE:
        raise SettingsError(
            f"image size must be at least {SMALLEST_IMAGE_SIZE} pixels, but is {image_size}."
        )
    if str(weights) not in ("imagenet", "none"):
        _check_weights_file(Path(weights))
    backbone = keras.applications.ResNet50(
        include_top=False, weights=None, pooling="avg", input_shape=(image_size, image_size, 3)
    )
    if str(weights) == "none":
        _initialize(backbone)
    elif str(weights) == "imagenet":
        _load_weights(backbone, _imagenet_file())
    else:
        _load_weights(backbone, Path(weights))
    unfreeze(backbone, 0)
    return backbone


class PretrainedBackbone:
    """A backbone that is built and read once, and set back for each network that shares it.

    Args:
        model: as `build_backbone` returns it.

    Attributes:
        model: the same; its weights are the pretrained ones after each `lend`.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._pretrained = {
            layer.name: layer.get_weights() for layer in trained_convolutions(model, len(BLOCKS))
        }
        self._lent_blocks = 0

    def lend(self, unfreeze_blocks: int) -> keras.Model:
        """Sets back what was trained in the backbone, and hands it out.

        Args:
            unfreeze_blocks: how many of its blocks are going to be trained now.
        """
        for layer in trained_convolutions(self.model, self._lent_blocks):
            layer.set_weights(self._pretrained[layer.name])
        self._lent_blocks = unfreeze_blocks
        return self.model


def preprocess(images: Any) -> Any:
    """RGB values 0 to 255 to what ResNet50 expects: BGR with ImageNet's mean subtracted.

    Equals `keras.applications.resnet50.preprocess_input`, in operations that are part of the graph.

    Args:
        images: float32 tensor, shape (batch, height, width, 3).

    Returns:
        float32 tensor of the same shape.
    """
    return ops.subtract(ops.flip(images, axis=-1), np.array(_IMAGENET_MEAN_BGR, "float32"))


def check_unfreeze_blocks(unfreeze_blocks: int) -> None:
    """Raises SettingsError unless it is a number of residual blocks, 0 to 16."""
    if not 0 <= unfreeze_blocks <= len(BLOCKS):
        raise SettingsError(
            f"unfreeze_blocks must be from 0 to {len(BLOCKS)}, but is {unfreeze_blocks}."
        )


def unfreeze(backbone: keras.Model, unfreeze_blocks: int) -> None:
    """Makes the convolutions of the top `unfreeze_blocks` blocks trainable, and nothing else.

    Args:
        backbone: as `build_backbone` returns it.
        unfreeze_blocks: 0 (all frozen) to 16 (every block; the stem before them stays frozen).

    Raises:
        SettingsError: there is no such number of blocks.
    """
    trained = trained_convolutions(backbone, unfreeze_blocks)
    for layer in backbone.layers:
        layer.trainable = layer in trained


def trained_convolutions(backbone: keras.Model, unfreeze_blocks: int) -> list[keras.layers.Layer]:
    """The convolution layers of the top `unfreeze_blocks` blocks, from the input to the output."""
    check_unfreeze_blocks(unfreeze_blocks)
    blocks = BLOCKS[len(BLOCKS) - unfreeze_blocks :]
    return [
        layer
        for layer in backbone.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.name.startswith(_prefixes(blocks))
    ]


def cut_layer(unfreeze_blocks: int) -> str:
    """Name of the layer whose output is the cut: the last thing that stays frozen.

    Raises:
        SettingsError: there is no such number of blocks.
    """
    check_unfreeze_blocks(unfreeze_blocks)
    if unfreeze_blocks == 0:
        return "avg_pool"
    if unfreeze_blocks == len(BLOCKS):
        return "pool1_pool"
    return f"{BLOCKS[-unfreeze_blocks - 1]}_out"


def segments(backbone: keras.Model) -> list[keras.Model]:
    """The network in pieces that end at the CUTS, in order.

    Returns:
        One model for each cut, sharing the backbone's layers: the first from RGB values 0 to 255,
        (batch, image_size, image_size, 3), the others from the activations at the cut before.
    """
    ends = [backbone.get_layer(cut_layer(cut)).output for cut in CUTS]
    images = keras.Input(backbone.input_shape[1:], name="image")
    stem = keras.Model(backbone.input, ends[0], name="stem")
    first = keras.Model(images, stem(preprocess(images)))
    return [first, *(keras.Model(start, end) for start, end in itertools.pairwise(ends))]


def multiply_accumulates(segment: keras.Model) -> int:
    """Multiplications with addition that a model's convolutions take for one image."""
    total = 0
    for layer in segment.layers:
        if isinstance(layer, keras.Model):
            total += multiply_accumulates(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += height * width * math.prod(layer.kernel.shape)
    return total


def _prefixes(blocks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{block}_" for block in blocks)


def _initialize(backbone: keras.Model) -> None:
    """Sets random weights that are the same in every process, so that features can be reused."""
    for number, layer in enumerate(backbone.layers):
        if isinstance(layer, keras.layers.Conv2D):
            initializer = type(layer.kernel_initializer)(seed=number)
            layer.kernel.assign(initializer(layer.kernel.shape))


def _imagenet_file() -> Path:
    """Keras's own copy of the ImageNet weights, downloaded when it is not there yet."""
    folder = _keras_home()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            file = keras.utils.get_file(
                _IMAGENET_FILE,
                _IMAGENET_URL,
                cache_dir=folder,
                cache_subdir="models",
                file_hash=_IMAGENET_MD5,
            )
    except Exception as error:  # get_file raises a bare Exception
        raise WeightsError(
            f"the ImageNet weights could not be downloaded. Fetch {_IMAGENET_URL} on another "
            f"machine and put it in {folder / 'models'}, which then works offline; or pass "
            "--weights FILE."
        ) from error
    return Path(file)


def _keras_home() -> Path:
    """The folder that Keras downloads to, as `tuner.environment` finds it.

    `get_file` finds it itself, but does not tell it.
    """
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras")


def _check_weights_file(path: Path) -> None:
    if not path.is_file():  # opening a pipe would last until somebody writes to it
        raise WeightsError(
            f"there is no weights file {path}. Pass imagenet, none, or the path of an HDF5 file."
        )
    try:
        is_hdf5 = h5py.is_hdf5(path)
        path.open("rb").close()
        file_bytes = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not is_hdf5 or path.suffix != ".h5":
        raise WeightsError(
            f"{path} is not a Keras weights file. Pass a .weights.h5 file, or the .h5 without top "
            "that Keras downloads."
        )
    try:
        check_hdf5(path, file_bytes)
    except HDF5Error as error:
        raise WeightsError(
            f"{path} {error}. Pass a file that save_weights() wrote, or that Keras downloads."
        ) from error


def _load_weights(backbone: keras.Model, path: Path) -> None:
    """Loads a file of either format, refusing one with more or fewer arrays than ResNet50 has."""
    foreign = WeightsError(
        f"{path} does not hold the weights of a ResNet50 without top. "
        "Save them with keras.applications.ResNet50(include_top=False).save_weights()."
    )
    try:
        with h5py.File(path, "r") as file:
            if _count_arrays(file) != len(backbone.weights):
                raise foreign
        backbone.load_weights(path)
    except WeightsError:
        raise
    except Exception as error:  # h5py and Keras raise whatever their parsers met first
        raise foreign from error


def _count_arrays(file: h5py.File) -> int:
    """Number of weight arrays in a file of either format, optimizer states left out."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if _is_array(item) else None)
    return sum(not name.startswith(("optimizer", "_layer_checkpoint")) for name in names)


def _is_array(item: Any) -> bool:
    return isinstance(item, h5py.Dataset)
