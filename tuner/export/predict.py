"""Prediction from an export: plain Keras, none of our layers, nothing that could run code."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuner.decoding.decode import on_all_cores, read_image
from tuner.decoding.formats import DecodeError
from tuner.errors import ExportError, SettingsError, first_line
from tuner.export.folder import LABELS_FILE, ExportFolder, open_export
from tuner.export.formats import FORMATS, check_runtime
from tuner.export.runtime_process import LOADERS, Predictor, compute_in_float32
from tuner.untrusted.dry_build import rehearse
from tuner.untrusted.graphs import check_litert, check_onnx, check_savedmodel
from tuner.untrusted.keras_archive import ArchiveError, check_keras_file

# Class probabilities, float32, (images, classes), of uint8 RGB images of any sizes.
Model = Callable[[Sequence[np.ndarray]], np.ndarray]

_CHECKS = {"savedmodel": check_savedmodel, "onnx": check_onnx, "litert": check_litert}
_BATCH = 32
# Of decoded images that wait to be computed, and of those that are computed at once, where each
# byte becomes several numbers of four.
_WINDOW_BYTES = 256_000_000
_BATCH_BYTES = 48_000_000
_TOP = 3


@dataclass(frozen=True)
class Prediction:
    """What an export says of one image.

    Attributes:
        path: the image, as it was named.
        label: name of the most probable class, or None if the image cannot be read.
        probability: its probability, 0 to 1.
        error: why the image cannot be read, or None.
        top: the most probable classes with their probabilities, the first one first.
    """

    path: Path
    label: str | None
    probability: float | None
    error: str | None = None
    top: tuple[tuple[str, float], ...] = ()


class Export:
    """An export's folder, checked and loaded.

    Args:
        folder: as `tune best --export` wrote it.
        kind: which of its formats is loaded; None for the first of `FORMATS` that it has.

    Attributes:
        labels: class names in the order of the model's outputs.

    Raises:
        ExportError: it is no export, was changed, was written by a newer version, has no such
            format, or holds what is not safe to load.
    """

    def __init__(self, folder: Path, kind: str | None = None) -> None:
        opened = open_export(folder)
        self.labels = list(opened.labels)
        self._model = _load(opened, kind)

    def check_top(self, top: int | None) -> int:
        """How many classes to name of each image: 3 or, where there are fewer, all by default.

        Raises:
            SettingsError: the model has fewer classes.
        """
        if top is None:
            return min(_TOP, len(self.labels))
        if not 1 <= top <= len(self.labels):
            raise SettingsError(
                f"--top must be from 1 to {len(self.labels)}, as the model has that many classes, "
                f"but is {top}."
            )
        return top

    def predict(self, paths: Iterable[Path], top: int | None = None) -> Iterator[Prediction]:
        """Predicts images in the order given, a batch at a time; what cannot be read is named.

        They are decoded on all cores while the model computes. Memory does not grow with their
        number.

        Args:
            paths: the images.
            top: see `check_top`.

        Raises:
            SettingsError: the model has fewer than `top` classes.
        """
        count = self.check_top(top)
        for window in _windows(on_all_cores(_read, paths)):
            images = [pixels for _, pixels in window if not isinstance(pixels, str)]
            rows = iter(self._model(images) if images else ())
            for path, pixels in window:
                if isinstance(pixels, str):
                    yield Prediction(path, None, None, pixels)
                else:
                    yield self._prediction(path, next(rows), count)

    def _prediction(self, path: Path, row: np.ndarray, count: int) -> Prediction:
        best = np.argsort(-row, kind="stable")[:count]
        top = tuple((self.labels[number], float(row[number])) for number in best)
        return Prediction(path, *top[0], None, top)


def load_keras(path: Path) -> Any:
    """Loads a .keras file in safe mode, after a look at what it holds.

    Raises:
        ExportError: it is not a Keras model, or holds something that stock Keras does not have, or
            that is not safe to load.
    """
    try:
        file = check_keras_file(path)
    except ArchiveError as error:
        raise _unsafe(path, error) from error
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}.") from error
    import keras

    compute_in_float32()
    try:
        rehearse(file, compiled=False)
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except ArchiveError as error:
        raise _unsafe(path, error) from error
    except Exception as error:  # keras raises whatever its parsers met first
        raise ExportError(f"{path} is not a model that stock Keras can load.") from error


def probabilities_of(model: Any, images: Sequence[np.ndarray]) -> np.ndarray:
    """Class probabilities of decoded images of any sizes.

    Args:
        model: an exported model, or a function that computes as one does.
        images: uint8 RGB, each of shape (height, width, 3).

    Returns:
        float32, shape (len(images), classes), in the order given.
    """
    results: dict[int, np.ndarray] = {}
    for numbers in _same_sized(images):
        batch = np.stack([images[number] for number in numbers])
        results.update(zip(numbers, np.asarray(model(batch)), strict=True))
    return np.stack([results[number] for number in range(len(images))])


def _load(opened: ExportFolder, kind: str | None) -> Model:
    """A model of an export, found to take images and to give a probability for each class."""
    kind = next(iter(opened.models)) if kind is None else kind
    path = opened.models.get(kind)
    if path is None:
        raise ExportError(
            f"{opened.folder} has no {kind} model, but {', '.join(opened.models)}. Choose one of "
            f"these, or export again with --format {kind}."
        )
    model = _load_keras_images(path) if kind == "keras" else _load_other(path, kind)
    compute = _explaining(path, model)
    found = compute([np.zeros((4, 4, 3), np.uint8)])
    if found.shape != (1, len(opened.labels)):
        raise ExportError(
            f"{opened.folder / LABELS_FILE} does not name one class for each output of "
            f"{path.name}. Export again."
        )
    return compute


def _load_keras_images(path: Path) -> Model:
    model = load_keras(path)
    if getattr(model, "input_shape", None) != (None, None, None, 3):
        raise ExportError(f"{path} does not take images. Export again.")
    return keras_function(model)


def _unsafe(path: Path, error: ArchiveError) -> ExportError:
    return ExportError(f"{path} {error}. It was not opened.")


def _load_other(path: Path, kind: str) -> Model:

    try:
        _CHECKS[kind](path)
    except ArchiveError as error:
        raise _unsafe(path, error) from error
    except ImportError as error:
        raise ExportError(
            f"{error.name} is not installed, which {path.name} needs. Install it with: "
            "pip install 'tune-resnet50[export]'"
        ) from error
    predict = load_runtime(kind, path)
    return lambda images: probabilities_of(predict, images)


def _explaining(path: Path, model: Model) -> Model:
    """The model, with a sentence for what its runtime raises."""

    def compute(images: Sequence[np.ndarray]) -> np.ndarray:
        try:
            return model(images)
        except Exception as error:  # each runtime raises its own types
            raise ExportError(
                f"{path} cannot be computed with ({first_line(error)}). Export again."
            ) from error

    return compute


def keras_function(model: Any) -> Model:
    """A function that computes as a Keras model does.

    Its program is traced once for all sizes of images: `predict` would trace one for each.
    """
    import tensorflow as tf

    signature = tf.TensorSpec((None, None, None, 3), tf.uint8)
    compute = tf.function(
        lambda x: model(x, training=False),
        input_signature=[signature],
        autograph=False,  # there is nothing to convert, and it would leave a file behind
    )
    return lambda images: probabilities_of(compute, images)


def _read(path: Path) -> tuple[Path, np.ndarray | str]:
    """An image's pixels, or why they cannot be read."""
    try:
        return path, "it is a folder without images" if path.is_dir() else read_image(path)
    except DecodeError as error:
        return path, error.reason
    except (OSError, ValueError) as error:  # a name that is too long, or has a null in it
        return path, f"it cannot be read: {getattr(error, 'strerror', None) or error}"


def _windows(
    images: Iterable[tuple[Path, np.ndarray | str]],
) -> Iterator[list[tuple[Path, np.ndarray | str]]]:
    """Neighbours, as many as a batch has, fewer where they are large."""
    window: list[tuple[Path, np.ndarray | str]] = []
    window_bytes = 0
    for path, pixels in images:
        window.append((path, pixels))
        window_bytes += 0 if isinstance(pixels, str) else pixels.nbytes
        if len(window) == _BATCH or window_bytes > _WINDOW_BYTES:
            yield window
            window, window_bytes = [], 0
    if window:
        yield window


def _same_sized(images: Sequence[np.ndarray]) -> list[list[int]]:
    """Numbers of images of equal size, in batches that do not fill the memory."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        groups.setdefault(image.shape, []).append(number)
    batches: list[list[int]] = []
    for numbers in groups.values():
        most = min(_BATCH, max(1, _BATCH_BYTES // max(1, images[numbers[0]].nbytes)))
        batches += [numbers[start : start + most] for start in range(0, len(numbers), most)]
    return batches


def load_runtime(name: str, path: Path) -> Predictor:
    """Loads an exported file.

    Args:
        name: its format, a key of `FORMATS`.
        path: the file; of a SavedModel, its folder.

    Returns:
        Function from images of one size, uint8 RGB, (batch, height, width, 3), to class
        probabilities, float32, (batch, classes).

    Raises:
        ExportError: the format's packages are not installed, or the file cannot be loaded.
    """
    check_runtime(name)
    try:
        return LOADERS[name](str(path))
    except Exception as error:  # each runtime raises its own types
        raise ExportError(
            f"{path} is not a file that {FORMATS[name].runtime} can load. Export again."
        ) from error
