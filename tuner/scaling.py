"""Which numbers reach a ResNet's first convolution, and whether it was trained on such.

Images of one colour each pass resizing, cropping and flipping unchanged, so what arrives is a
function of the colour alone; an affine function is fitted to it.
"""

from dataclasses import dataclass

import numpy as np

# keras.applications.resnet50.preprocess_input: BGR minus ImageNet's mean of blue, green and red.
_MEAN_BGR = np.array([103.939, 116.779, 123.68])
_SWAP = np.eye(3)[::-1]
# A share of the range: PyTorch's rounded means (123.675, ...) are the same.
_TOLERANCE = 0.01
# Corners of the cube of colours, and its inside.
COLOURS = np.array(
    [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [40, 90, 200], [128, 60, 9]]
).astype("float32")


@dataclass(frozen=True)
class Arrival:
    """What reaches the network as a function of the RGB values 0 to 255 of an image.

    Attributes:
        matrix: shape (3, 3); channels = RGB @ matrix + offset.
        offset: shape (3,).
        is_affine: whether that describes it.
    """

    matrix: np.ndarray
    offset: np.ndarray
    is_affine: bool

    @property
    def is_expected(self) -> bool:
        """Whether it equals keras.applications.resnet50.preprocess_input."""
        return self._is(_SWAP, -_MEAN_BGR)

    @property
    def is_untouched(self) -> bool:
        """Whether the images arrive as they are."""
        return self._is(np.eye(3), np.zeros(3))

    def of_images(self, low: float, high: float) -> "Arrival":
        """The same for images whose values lie between others than 0 and 255."""
        factor = (high - low) / 255
        offset = self.offset + low * self.matrix.sum(axis=0)
        return Arrival(self.matrix * factor, offset, self.is_affine)

    def description(self) -> str:
        """What arrives, in words with figures."""
        low, high = _ranges(self.matrix, self.offset)
        span = f"{_rounded(low.min())} to {_rounded(high.max())}"
        if not self.is_affine:
            return "values that are no linear function of the colours"
        order = self._order()
        if self._is(np.eye(3), -_MEAN_BGR[::-1]) or self._is(np.eye(3), -_MEAN_BGR):
            return f"RGB instead of BGR, with the mean subtracted ({span})"
        if self._is(np.eye(3) / 255, np.zeros(3)) or self._is(_SWAP / 255, np.zeros(3)):
            return f"{order} values divided by 255 ({span})"
        if self._is(np.eye(3) / 127.5, -np.ones(3)) or self._is(_SWAP / 127.5, -np.ones(3)):
            return f"{order} values scaled to [-1, 1]"
        if self.is_untouched:
            return f"RGB values without any preprocessing ({span})"
        return f"{order} values from {span}"

    def _order(self) -> str:
        strongest = np.abs(self.matrix).argmax(axis=0).tolist()
        return {(0, 1, 2): "RGB", (2, 1, 0): "BGR"}.get(tuple(strongest), "mixed")

    def _is(self, matrix: np.ndarray, offset: np.ndarray) -> bool:
        tolerance = _TOLERANCE * np.abs(matrix).max()
        return (
            self.is_affine
            and bool(np.all(np.abs(self.matrix - matrix) <= tolerance))
            and bool(np.all(np.abs(self.offset - offset) <= 255 * tolerance))
        )


def coloured_images(height: int, width: int) -> np.ndarray:
    """One image of each of COLOURS, float32, shape (colours, height, width, 3)."""
    return np.broadcast_to(COLOURS[:, None, None], (len(COLOURS), height, width, 3)).copy()


def arrival(arrived: np.ndarray) -> Arrival:
    """Fits what arrived to the colours that were sent.

    Args:
        arrived: what entered the backbone for `coloured_images`, shape (colours, height, width, 3).
    """
    middle = arrived[:, arrived.shape[1] // 2, arrived.shape[2] // 2].astype("float64")
    sent = np.column_stack([COLOURS, np.ones(len(COLOURS))])
    solution = np.linalg.lstsq(sent, middle, rcond=None)[0]
    misfit = np.abs(sent @ solution - middle).max()
    is_affine = bool(misfit <= _TOLERANCE * max(float(np.ptp(middle)), 1e-6))
    return Arrival(solution[:3], solution[3], is_affine)


def value_range(images: np.ndarray) -> tuple[float, float] | None:
    """Which range the values of images belong to: (0, 255), (0, 1), (-1, 1), or None for others."""
    low, high = float(images.min()), float(images.max())
    if low < -1 or high > 255:
        return None
    if high > 1:
        return (0.0, 255.0) if low >= 0 else None
    return (0.0, 1.0) if low >= 0 else (-1.0, 1.0)


def _rounded(value: float) -> str:
    return f"{round(float(value), 6) + 0.0:.4g}"  # no -0


def _ranges(matrix: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each channel over all colours."""
    return (
        offset + 255 * np.minimum(matrix, 0).sum(axis=0),
        offset + 255 * np.maximum(matrix, 0).sum(axis=0),
    )
