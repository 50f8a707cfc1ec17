"""Weights for the backbone: ImageNet's, random ones, or those of a file."""

import contextlib
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras

from search_spaces.hdf5 import HDF5Error, check_hdf5
from search_spaces.keras_home import keras_home
from tuner.errors import WeightsError

_IMAGENET_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
_IMAGENET_MD5 = "4d473c1dd8becc155b73f8504c6f6626"
_IMAGENET_BYTES = 94_765_736
_IMAGENET_URL = (
    f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{_IMAGENET_FILE}"
)


def check_weights(weights: str | Path) -> None:
    """Raise WeightsError for a file that is missing, no HDF5, or unsafe to read."""
    if str(weights) not in ("imagenet", "none"):
        _check_file(Path(weights))


def load_weights(backbone: keras.Model, weights: str | Path) -> None:
    """Load "imagenet", "none" or a file into a ResNet50 without top; WeightsError if it fails."""
    if str(weights) == "none":
        _initialize(backbone)
    else:
        _load(backbone, _imagenet_file() if str(weights) == "imagenet" else Path(weights))


def _initialize(backbone: keras.Model) -> None:
    """Set random weights that are the same in every process, so that features can be reused."""
    for number, layer in enumerate(backbone.layers):
        if isinstance(layer, keras.layers.Conv2D):
            initializer = type(layer.kernel_initializer)(seed=number)
            layer.kernel.assign(initializer(layer.kernel.shape))


def _imagenet_file() -> Path:
    """Keras's copy of the ImageNet weights, downloaded if there is none; never changed."""
    folder = keras_home() / "models"
    file = folder / _IMAGENET_FILE
    if os.path.lexists(file):  # `get_file` would replace one that it takes for damaged
        _check_imagenet_file(file)
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.redirect_stdout(sys.stderr),
            tempfile.TemporaryDirectory(dir=folder, prefix=".download.") as temporary,
        ):
            downloaded = keras.utils.get_file(
                _IMAGENET_FILE,
                _IMAGENET_URL,
                cache_dir=temporary,
                cache_subdir="",
                file_hash=_IMAGENET_MD5,
            )
            Path(downloaded).rename(file)
    except Exception as error:  # get_file raises a bare Exception
        raise WeightsError(
            f"the ImageNet weights could not be downloaded. Fetch {_IMAGENET_URL} on another "
            f"machine and put it in {folder}, which then works offline; or pass --weights FILE."
        ) from error
    return file


def _check_imagenet_file(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "md5").hexdigest() == _IMAGENET_MD5:
                return
            found = f"has {os.fstat(opened.fileno()).st_size:,} bytes and is not"
    except OSError as error:
        found = f"cannot be read ({error.strerror}): it should be"
    raise WeightsError(
        f"{file} {found} the file of ImageNet weights without top that Keras downloads, of "
        f"{_IMAGENET_BYTES:,} bytes with the MD5 {_IMAGENET_MD5}. Move it away, and it is fetched "
        f"from {_IMAGENET_URL}; or pass --weights FILE."
    )


def _check_file(path: Path) -> None:
    if not path.is_file():  # opening a pipe would block
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


def _load(backbone: keras.Model, path: Path) -> None:
    """Load a file of either format, unless its number of arrays is not that of ResNet50."""
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
    except Exception as error:  # h5py and Keras raise many kinds
        raise foreign from error


def _count_arrays(file: h5py.File) -> int:
    """Number of weight arrays in a file of either format, without optimizer states."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    file.visititems(visit)
    return sum(not name.startswith(("optimizer", "_layer_checkpoint")) for name in names)
