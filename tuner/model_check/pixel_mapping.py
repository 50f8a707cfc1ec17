"""The numbers that reach a network, as a function of an image's RGB values.

Resizing, cropping and flipping leave images of one colour unchanged, so what reaches the network is
a function of the colour alone, and an affine function is fitted to it.
"""

from dataclasses import dataclass

import numpy as np

# ImageNet's mean of blue, green and red as keras.applications.resnet50 subtracts it, and mean and
# deviation of red, green and blue as PyTorch has them, for values from 0 to 1.
_MEAN_BGR = np.array([103.939, 116.779, 123.68])
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_SWAP = np.eye(3)[::-1]
# A share of the range: PyTorch's rounded means (123.675, ...) count as the same.
_TOLERANCE = 0.01
_OVERSHOOT = 0.2
# Values normalised by ImageNet's mean and deviation lie between -2.12 and 2.64.
_MOST_DEVIATIONS = 3.0
# Values minus ImageNet's mean lie between -124 and 151; resized dark images may reach as far
# below 0 as bright ones minus the mean.
_LEAST_CENTRED, _SURELY_CENTRED, _MOST_CENTRED = -150.0, -50.0, 160.0
# Corners of the colour cube, and two colours inside it.
COLOURS = np.array(
    [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [40, 90, 200], [128, 60, 9]]
).astype("float32")


@dataclass(frozen=True)
class PixelMapping:
    """An affine function of RGB values from 0 to 255: channels = RGB @ matrix + offset.

    Attributes:
        matrix: shape (3, 3).
        offset: shape (3,).
        is_affine: whether the function fits.
    """

    matrix: np.ndarray
    offset: np.ndarray
    is_affine: bool

    @property
    def is_expected(self) -> bool:
        """Whether it equals keras.applications.resnet50.preprocess_input."""
        return self.is_like(CAFFE)

    @property
    def is_untouched(self) -> bool:
        """Whether it leaves images as they are."""
        return self.is_like(RGB)

    def is_like(self, other: "PixelMapping") -> bool:
        """Whether both are the same, but for rounding."""
        return self._is(other.matrix, other.offset)

    def after(self, first: "PixelMapping") -> "PixelMapping":
        """The composition with a mapping that is applied first."""
        matrix, offset = first.matrix @ self.matrix, first.offset @ self.matrix + self.offset
        return PixelMapping(matrix, offset, self.is_affine)

    def description(self) -> str:
        """The mapped values in words, such as "RGB values divided by 255 (0 to 1)"."""
        low = self.offset + 255 * np.minimum(self.matrix, 0).sum(axis=0)
        high = self.offset + 255 * np.maximum(self.matrix, 0).sum(axis=0)
        span = f"{_rounded(low.min())} to {_rounded(high.max())}"
        if not self.is_affine:
            return "values that are no linear function of the colours"
        order = self._order()
        if self._is(np.eye(3), -_MEAN_BGR[::-1]) or self._is(np.eye(3), -_MEAN_BGR):
            return f"RGB instead of BGR, with the mean subtracted ({span})"
        if self._is(UNIT.matrix, UNIT.offset) or self._is(_SWAP / 255, np.zeros(3)):
            return f"{order} values divided by 255 ({span})"
        if self._is(SIGNED.matrix, SIGNED.offset) or self._is(_SWAP / 127.5, -np.ones(3)):
            return f"{order} values scaled to [-1, 1]"
        if self.is_like(TORCH):
            return f"RGB values normalised by ImageNet's mean and deviation ({span})"
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


# Unchanged, divided by 255, scaled to [-1, 1], and the two modes of
# keras.applications.imagenet_utils.preprocess_input that use ImageNet's statistics.
RGB = PixelMapping(np.eye(3), np.zeros(3), is_affine=True)
UNIT = PixelMapping(np.eye(3) / 255, np.zeros(3), is_affine=True)
SIGNED = PixelMapping(np.eye(3) / 127.5, -np.ones(3), is_affine=True)
CAFFE = PixelMapping(_SWAP, -_MEAN_BGR, is_affine=True)
TORCH = PixelMapping(np.diag(1 / (255 * _DEVIATION)), -_MEAN / _DEVIATION, is_affine=True)


def colour_images(height: int, width: int) -> np.ndarray:
    """One image of each of COLOURS, float32, shape (colours, height, width, 3)."""
    return np.broadcast_to(COLOURS[:, None, None], (len(COLOURS), height, width, 3)).copy()


def fit_mapping(pixels: np.ndarray) -> PixelMapping:
    """Fit the pixels that reach a backbone to the colours that were sent.

    Args:
        pixels: the backbone's input for `colour_images`, shape (colours, height, width, 3).
    """
    middle = pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].astype("float64")
    sent = np.column_stack([COLOURS, np.ones(len(COLOURS))])
    solution = np.linalg.lstsq(sent, middle, rcond=None)[0]
    misfit = np.abs(sent @ solution - middle).max()
    is_affine = bool(misfit <= _TOLERANCE * max(float(np.ptp(middle)), 1e-6))
    return PixelMapping(solution[:3], solution[3], is_affine)


def mapping_by_range(images: np.ndarray) -> PixelMapping | None:
    """Guess how images were scaled by the range of their values; None where that is unclear.

    Bicubic and Lanczos resizing overshoot the range of an image by up to a fifth of it.
    """
    low, high = float(images.min()), float(images.max())
    overshoots = low >= -_OVERSHOOT * high
    if overshoots and high <= 1 + _OVERSHOOT:
        return UNIT
    if max(-low, high) <= 1 + _OVERSHOOT:
        return SIGNED
    if low < 0 and max(-low, high) <= _MOST_DEVIATIONS:
        return TORCH
    centred = low < -1 and high <= _MOST_CENTRED
    if overshoots and not centred and _MOST_DEVIATIONS < high <= 255 * (1 + _OVERSHOOT):
        return RGB
    if centred and _LEAST_CENTRED <= low <= _SURELY_CENTRED:
        return CAFFE
    return None


def _rounded(value: float) -> str:
    return f"{round(float(value), 6) + 0.0:.4g}"  # no -0
