"""Prediction from an export: plain Keras in a limited process, and nothing that could run code."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.decoding.decode import on_all_cores, read_image
from tuner.decoding.formats import DecodeError
from tuner.errors import ExportError, SettingsError, TuneError
from tuner.export.folder import LABELS_FILE, ExportFolder, open_export
from tuner.export.formats import FORMATS, check_runtime
from tuner.untrusted.graphs import check_litert, check_onnx, check_savedmodel
from tuner.untrusted.keras_archive import ArchiveError, check_keras_file
from tuner.untrusted.model_process import ModelProcess
from tuner.untrusted.model_server import Predictor

_CHECKS = {
    "keras": check_keras_file,
    "savedmodel": check_savedmodel,
    "onnx": check_onnx,
    "litert": check_litert,
}
_BATCH = 32
# Decoded images that wait for a batch, and those of one batch: each byte becomes several floats.
_WINDOW_BYTES = 256_000_000
_BATCH_BYTES = 48_000_000
_TOP = 3
_TRIED_SIDE = 224  # of the image that a model is tried on

Decoded = tuple[Path, np.ndarray | str]  # pixels, or why there are none


@dataclass(frozen=True)
class Prediction:
    """The classes of one image.

    Attributes:
        path: the image, as it was named.
        label: the most probable class, or None if the image cannot be read.
        probability: its probability, 0 to 1.
        error: why the image cannot be read, or None.
        top: the most probable classes and their probabilities, best first.
    """

    path: Path
    label: str | None
    probability: float | None
    error: str | None = None
    top: tuple[tuple[str, float], ...] = ()


class Export:
    """An export's folder, checked and loaded.

    The model runs in a process of its own, which ends with this object.

    Example:
        for found in Export(Path("model")).predict([Path("photo.jpg")]):
            print(found.label, found.probability)

    Args:
        folder: as `tune best --export` wrote it.
        kind: the format to load; None for the first of `FORMATS` that is there.

    Attributes:
        labels: class names in the order of the model's outputs.

    Raises:
        ExportError: it is no export, was changed, was written by a newer version, has no such
            format, or is not safe to load.
    """

    def __init__(self, folder: Path, kind: str | None = None) -> None:
        opened = open_export(folder)
        self.labels = list(opened.labels)
        kind, self._path = _chosen(opened, kind)
        self._model = _load(kind, self._path)
        with _closed_on_error(self._model):
            self._try(opened.folder / LABELS_FILE)

    def check_top(self, top: int | None) -> int:
        """The number of classes to show for each image; None stands for 3, or all if fewer.

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
        """Predict images in the order given, a batch at a time.

        All cores decode while the model computes; memory does not grow with the number of images.
        An image that cannot be read gets a prediction with an error.

        Args:
            paths: the images.
            top: see `check_top`.

        Raises:
            SettingsError: the model has fewer than `top` classes.
            ExportError: the model cannot be computed.
        """
        count = self.check_top(top)
        for window in _windows(on_all_cores(_read, paths)):
            images = [pixels for _, pixels in window if not isinstance(pixels, str)]
            rows = iter(self._probabilities(images) if images else ())
            for path, pixels in window:
                if isinstance(pixels, str):
                    yield Prediction(path, None, None, pixels)
                else:
                    yield self._prediction(path, next(rows), count)

    def _try(self, labels: Path) -> None:
        """Predict one image: the model must give a probability for each label."""
        image = np.zeros((_TRIED_SIDE, _TRIED_SIDE, 3), np.uint8)
        if self._probabilities([image]).shape != (1, len(self.labels)):
            raise ExportError(
                f"{labels} does not name one class for each output of {self._path.name}. "
                "Export again."
            )

    def _prediction(self, path: Path, row: np.ndarray, count: int) -> Prediction:
        best = np.argsort(-row, kind="stable")[:count]
        top = tuple((self.labels[number], float(row[number])) for number in best)
        return Prediction(path, *top[0], None, top)

    def _probabilities(self, images: Sequence[np.ndarray]) -> np.ndarray:
        try:
            return probabilities_of(lambda batch: self._model.predict(batch)[0], images)
        except ArchiveError as error:
            raise _unsafe(self._path, error) from error
        except TuneError as error:
            raise ExportError(
                f"{self._path} cannot be computed with ({error}). Export again."
            ) from error


def probabilities_of(predict: Predictor, images: Sequence[np.ndarray]) -> np.ndarray:
    """Class probabilities of decoded images of any sizes.

    Args:
        predict: from a batch of images of one size to probabilities.
        images: uint8 RGB, each of shape (height, width, 3).

    Returns:
        float32, shape (len(images), classes), in the order given.
    """
    results: dict[int, np.ndarray] = {}
    for numbers in _same_sized(images):
        batch = np.stack([images[number] for number in numbers])
        results.update(zip(numbers, np.asarray(predict(batch)), strict=True))
    return np.stack([results[number] for number in range(len(images))])


def _chosen(opened: ExportFolder, kind: str | None) -> tuple[str, Path]:
    """The format to load, and its file."""
    kind = next(iter(opened.models)) if kind is None else kind
    if kind not in opened.models:
        raise ExportError(
            f"{opened.folder} has no {kind} model, but {', '.join(opened.models)}. Choose one of "
            f"these, or export again with --format {kind}."
        )
    check_runtime(kind)
    return kind, opened.models[kind]


def _load(kind: str, path: Path) -> ModelProcess:
    """Vet a file while another process imports its runtime, then load it there."""
    model = ModelProcess(kind, path)
    try:
        with _closed_on_error(model):
            _CHECKS[kind](path)
            model.load()
    except ArchiveError as error:
        raise _unsafe(path, error) from error
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}.") from error
    except TuneError as error:
        raise ExportError(
            f"{path} is not a model that {FORMATS[kind].runtime} can load ({error}). Export again."
        ) from error
    return model


@contextlib.contextmanager
def _closed_on_error(model: ModelProcess) -> Iterator[None]:
    try:
        yield
    except BaseException:
        model.close()
        raise


def _unsafe(path: Path, error: ArchiveError) -> ExportError:
    return ExportError(f"{path} {error}. It was not opened.")


def _read(path: Path) -> Decoded:
    try:
        return path, "it is a folder without images" if path.is_dir() else read_image(path)
    except DecodeError as error:
        return path, error.reason
    except (OSError, ValueError) as error:  # a name that is too long, or has a null in it
        return path, f"it cannot be read: {getattr(error, 'strerror', None) or error}"


def _windows(images: Iterable[Decoded]) -> Iterator[list[Decoded]]:
    """Consecutive images, a batch of them, or fewer if they are large."""
    window: list[Decoded] = []
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
    """Indices of images of equal size, in batches of limited memory."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        groups.setdefault(image.shape, []).append(number)
    batches: list[list[int]] = []
    for numbers in groups.values():
        most = min(_BATCH, max(1, _BATCH_BYTES // max(1, images[numbers[0]].nbytes)))
        batches += [numbers[start : start + most] for start in range(0, len(numbers), most)]
    return batches
