"""What a trial made of each validation image, kept in a few bytes an image.

Accuracies, confusions, mistakes, reliability and the luck of the best of many trials follow from
it, so that no image has to be computed again.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from tuner.errors import RunError

_PREDICTED, _PROBABILITY = np.dtype("<u2"), np.dtype("<f2")
_MOST_CLASSES = 2**16


@dataclass(frozen=True)
class Outcomes:
    """What a trial made of each validation image at the end of a rung, in the images' order.

    Probabilities are rounded to half precision: to 3 significant digits, and to 0 below 3e-8.

    Attributes:
        predicted: number of the most probable class, uint16, shape (images,).
        confidence: its probability, float16, shape (images,).
        probability: that of the image's own class, float16, shape (images,).
    """

    predicted: np.ndarray
    confidence: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> "Outcomes":
        """Those of a network's output.

        Args:
            probabilities: shape (images, classes), of at most 65,536 classes.
            labels: int class numbers, shape (images,).
        """
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
        """Whether each image is named rightly, bool, shape (images,).

        Args:
            labels: int class numbers in the same order.
        """
        return np.asarray(self.predicted == labels)

    def to_bytes(self) -> bytes:
        """The three arrays, one after the other, compressed; the same for equal ones."""
        arrays = (self.predicted, self.confidence, self.probability)
        return zlib.compress(b"".join(array.tobytes() for array in arrays), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Outcomes":
        """What `to_bytes` gave.

        Raises:
            RunError: it is not that.
        """
        try:
            plain = zlib.decompress(data)
        except zlib.error as error:
            raise RunError(f"what a trial made of its images is damaged: {error}.") from error
        count, rest = divmod(len(plain), _PREDICTED.itemsize + 2 * _PROBABILITY.itemsize)
        if rest:
            raise RunError("what a trial made of its images is damaged: bytes are missing.")
        predicted = np.frombuffer(plain, _PREDICTED, count)
        probabilities = np.frombuffer(plain, _PROBABILITY, 2 * count, predicted.nbytes)
        return cls(predicted, *probabilities.reshape(2, count))
