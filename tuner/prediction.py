"""Prediction from an export: plain Keras, none of our layers, nothing that could run code.

`python -m tuner.prediction MODEL LIST OUT` predicts the files that LIST, a JSON array, names and
writes their probabilities to OUT (.npy); the parity check of an export runs it.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuner.decode import DecodeError, read_image
from tuner.errors import ExportError

SCHEMA_VERSION = 1
MODEL_FILE = "model.keras"
_BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """What an export says of one image.

    Attributes:
        path: the image, as it was named.
        label: name of the most probable class, or None if the image cannot be read.
        probability: its probability, 0 to 1.
        error: why the image cannot be read, or None.
    """

    path: Path
    label: str | None
    probability: float | None
    error: str | None = None


class Export:
    """An export's folder, checked and loaded.

    Args:
        folder: as `tune best --export` wrote it.

    Attributes:
        labels: class names in the order of the model's outputs.

    Raises:
        ExportError: it is no export, was changed, or was written by a newer version.
    """

    def __init__(self, folder: Path) -> None:
        description = _read_json(folder, "export.json")
        _check(folder, description)
        labels = _read_json(folder, "labels.json")
        self._model = load_keras(folder / MODEL_FILE)
        if getattr(self._model, "input_shape", None) != (None, None, None, 3):
            raise ExportError(f"{folder / MODEL_FILE} does not take images. Export again.")
        if not isinstance(labels, list) or self._model.output_shape != (None, len(labels)):
            raise ExportError(
                f"{folder / 'labels.json'} does not name one class for each output of the model. "
                "Export again."
            )
        self.labels = [str(label) for label in labels]

    def predict(self, paths: Sequence[Path]) -> Iterator[Prediction]:
        """Predicts images one after the other, in the order given."""
        for path in paths:
            try:
                pixels = read_image(path)
            except DecodeError as error:
                yield Prediction(path, None, None, error.reason)
                continue
            probabilities = probabilities_of(self._model, [pixels])[0]
            best = int(probabilities.argmax())
            yield Prediction(path, self.labels[best], float(probabilities[best]))


def load_keras(path: Path) -> Any:
    """Loads a .keras file in safe mode.

    Raises:
        ExportError: it is not a Keras model, or holds something that stock Keras does not have.
    """
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # keras raises whatever its parsers met first
        raise ExportError(f"{path} is not a model that stock Keras can load.") from error


def probabilities_of(model: Any, images: Sequence[np.ndarray]) -> np.ndarray:
    """Class probabilities of decoded images of any sizes.

    Args:
        model: an exported model.
        images: uint8 RGB, each of shape (height, width, 3).

    Returns:
        float32, shape (len(images), classes), in the order given.
    """
    results: list[np.ndarray] = []
    for batch in _same_sized(images):
        results.extend(model.predict_on_batch(np.stack(batch)))
    return np.stack(results)


def _same_sized(images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Neighbours of equal size, together."""
    batch: list[np.ndarray] = []
    for image in images:
        if batch and (batch[0].shape != image.shape or len(batch) == _BATCH):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def _check(folder: Path, description: Any) -> None:
    try:
        schema, files = int(description["schema"]), dict(description["files"])
    except (TypeError, KeyError, ValueError) as error:
        raise ExportError(f"{folder / 'export.json'} is damaged. Export again.") from error
    if schema > SCHEMA_VERSION:
        raise ExportError(
            f"{folder} was written by a newer version (schema {schema}, this one reads up to "
            f"{SCHEMA_VERSION}). Upgrade tune-resnet50."
        )
    for name in (MODEL_FILE, "labels.json"):
        path = folder / name
        try:
            unchanged = sha256(path) == files.get(name)
        except OSError as error:
            raise ExportError(f"{path} cannot be read: {error.strerror}. Export again.") from error
        if not unchanged:
            raise ExportError(f"{path} has changed since it was exported. Export again.")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(folder: Path, name: str) -> Any:
    if not folder.is_dir():
        raise ExportError(
            f"there is no export folder {folder}. Make one with: tune best --export {folder}"
        )
    try:
        return json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{folder} is not an export: {name} is missing or damaged. "
            "Make one with: tune best --export DIR"
        ) from error


def _main(model: str, list_file: str, out: str) -> None:
    paths = json.loads(Path(list_file).read_text("utf-8"))
    loaded = load_keras(Path(model))
    parts = [
        probabilities_of(loaded, [read_image(Path(path)) for path in paths[start : start + _BATCH]])
        for start in range(0, len(paths), _BATCH)
    ]
    np.save(out, np.concatenate(parts), allow_pickle=False)


if __name__ == "__main__":
    _main(*sys.argv[1:])
