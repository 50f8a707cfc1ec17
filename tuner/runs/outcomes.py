"""A trial's predictions for the validation images, in a few bytes each."""

import zlib
from dataclasses import dataclass

import numpy as np

from tuner.errors import RunError

_PREDICTED, _PROBABILITY = np.dtype("<u2"), np.dtype("<f2")
_MOST_CLASSES = 2**16


@dataclass(frozen=True)
class Outcomes:
    """Predictions for the validation images at the end of a rung, in the images' order.

    Probabilities are rounded to half precision: 3 significant digits, and 0 below 3e-8.

    Attributes:
        predicted: the most probable class, uint16, shape (images,).
        confidence: its probability, float16, shape (images,).
        probability: of the image's label, float16, shape (images,).
    """

    predicted: np.ndarray
    confidence: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> "Outcomes":
        """Outcomes of probabilities, shape (images, classes), and int labels, shape (images,)."""
        if probabilities.shape[1] > _MOST_CLASSES:
            raise ValueError(f"Expected at most {_MOST_CLASSES} classes: {probabilities.shape}")
        rows = np.arange(len(labels))
        predicted = probabilities.argmax(axis=1)
        return cls(
            predicted.astype(_PREDICTED),
            probabilities[rows, predicted].astype(_PROBABILITY),
            probabilities[rows, labels].astype(_PROBABILITY),
        )

    def right(self, labels: np.ndarray) -> np.ndarray:
        """Whether each prediction is right, bool, shape (images,)."""
        return np.asarray(self.predicted == labels)

    def to_bytes(self) -> bytes:
        """The three arrays, concatenated and compressed; equal outcomes give equal bytes."""
        arrays = (self.predicted, self.confidence, self.probability)
        return zlib.compress(b"".join(array.tobytes() for array in arrays), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Outcomes":
        """Outcomes from `to_bytes`; raises RunError if the bytes are damaged."""
        try:
            plain = zlib.decompress(data)
        except zlib.error as error:
            raise RunError(f"the predictions of a trial are damaged: {error}.") from error
        count, rest = divmod(len(plain), _PREDICTED.itemsize + 2 * _PROBABILITY.itemsize)
        if rest:
            raise RunError("the predictions of a trial are damaged: bytes are missing.")
        predicted = np.frombuffer(plain, _PREDICTED, count)
        probabilities = np.frombuffer(plain, _PROBABILITY, 2 * count, predicted.nbytes)
        return cls(predicted, *probabilities.reshape(2, count))
