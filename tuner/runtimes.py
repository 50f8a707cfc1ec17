"""An exported file of any format, loaded in its own runtime."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tuner.artifacts import FORMATS, check_formats
from tuner.elsewhere import LOADERS, Predictor
from tuner.errors import ExportError

_BATCH = 32
_BATCH_BYTES = 100 * 10**6


def load_runtime(name: str, path: Path) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Loads an exported file.

    Args:
        name: its format, a key of `FORMATS`.
        path: the file; of a SavedModel, its folder.

    Returns:
        Function from decoded images of any sizes, uint8 RGB, each (height, width, 3), to class
        probabilities, float32, (images, classes), in the order given.

    Raises:
        ExportError: the format's packages are not installed, or the file cannot be loaded.
    """
    check_formats([name])
    try:
        predict = LOADERS[name](str(path))
    except Exception as error:  # each runtime raises its own types
        raise ExportError(
            f"{path} is not a file that {FORMATS[name].runtime} can load. Export again."
        ) from error
    return lambda images: probabilities_of(predict, images)


def probabilities_of(predict: Predictor, images: Sequence[np.ndarray]) -> np.ndarray:
    """Class probabilities of images of any sizes, neighbours of one size together.

    Args:
        predict: from a batch to its probabilities.
        images: uint8 RGB, each (height, width, 3); at least one.

    Returns:
        float32, shape (images, classes), in the order given.
    """
    return np.concatenate([predict(np.stack(batch)) for batch in _same_sized(images)])


def _same_sized(images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for image in images:
        full = len(batch) == _BATCH or (len(batch) + 1) * image.nbytes > _BATCH_BYTES
        if batch and (batch[0].shape != image.shape or full):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch
