"""Augmentation as K fixed views of each image, so that their features can be cached.

A view depends on (mode, view number, content of the image): it is the same in every run. Epoch e of
every trial trains on view e mod K; validation uses the original images.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from tuner.counting import Progress, silent
from tuner.data.pixel_store import write_images
from tuner.decoding.decode import on_all_cores
from tuner.errors import SettingsError
from tuner.storage.cache import Cache
from tuner.storage.digests import bytes_digest, key_of

_VERSION = 1
_FILE = "view.npy"


@dataclass(frozen=True)
class Strength:
    """Largest changes, drawn uniformly between minus and plus each value.

    `zoom` is the share of each side that is cropped, `colour` that of brightness, contrast and
    saturation.
    """

    zoom: float
    degrees: float
    colour: float


# Each mirrors every other view of an image; "flip" does nothing else.
MODES = {
    "flip": Strength(zoom=0.0, degrees=0.0, colour=0.0),
    "light": Strength(zoom=0.15, degrees=5.0, colour=0.1),
    "strong": Strength(zoom=0.35, degrees=20.0, colour=0.3),
}


def prepare_views(
    pixels: np.ndarray,
    mode: str,
    count: int,
    cache: Cache,
    on_progress: Progress = silent,
) -> list[np.ndarray]:
    """Draw `count` views of images, uint8, shape (n, size, size, 3), or find them in the cache.

    Returns:
        Read-only memory maps of the same shape, one for each view; for "none" the pixels alone.
    """
    if mode == "none":
        return [pixels]
    if mode not in MODES:
        raise SettingsError(f"there is no augmentation {mode!r}. Choose none, {', '.join(MODES)}.")

    def report(view: int, done: int) -> None:
        on_progress("drawing views", view * len(pixels) + done, count * len(pixels))

    digest = bytes_digest(pixels)
    views = []
    for view in range(count):
        key = key_of(_VERSION, mode, view, digest)
        fill = partial(_write_view, pixels, mode, view, partial(report, view))
        views.append(np.load(cache.get_or_create("views", key, fill) / _FILE, mmap_mode="r"))
    return views


def draw_view(image: np.ndarray, mode: str, view: int) -> np.ndarray:
    """One view of one image, uint8 of the same shape, (size, size, 3)."""
    strength = MODES[mode]
    content = zlib.crc32(image.tobytes())
    random = np.random.default_rng((content, list(MODES).index(mode), view))
    angle, zoom, *colour = random.uniform(-1, 1, 5)
    mirrored = (content + view) % 2 == 1
    drawn = Image.fromarray(np.ascontiguousarray(image))
    if strength.colour:
        enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for enhancer, change in zip(enhancers, colour, strict=True):
            drawn = enhancer(drawn).enhance(1 + strength.colour * change)
    shift = random.uniform(-1, 1, 2) if strength.zoom else (0.0, 0.0)
    scale = 1 - strength.zoom * abs(zoom)
    coefficients = _affine(
        len(image), mirrored, math.radians(strength.degrees * angle), scale, shift
    )
    resampling, fill = Image.Resampling.BILINEAR, _border(np.asarray(drawn))
    affine = Image.Transform.AFFINE
    return np.asarray(drawn.transform(drawn.size, affine, coefficients, resampling, fillcolor=fill))


def _affine(
    size: int, mirror: bool, angle: float, scale: float, shift: "np.ndarray | tuple[float, float]"
) -> tuple[float, ...]:
    """Coefficients from target to source pixels: a rotated, smaller square inside the image."""
    centre = size / 2
    sign = -1.0 if mirror else 1.0
    a, b = scale * math.cos(angle) * sign, -scale * math.sin(angle)
    d, e = scale * math.sin(angle) * sign, scale * math.cos(angle)
    room = centre * (1 - scale)
    x, y = centre + room * float(shift[0]), centre + room * float(shift[1])
    return a, b, x - a * centre - b * centre, d, e, y - d * centre - e * centre


def _border(image: np.ndarray) -> tuple[int, ...]:
    """The mean colour of the four corners, which fills what a rotation uncovers."""
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]
    return tuple(int(value) for value in corners.mean(axis=0).round())


def _write_view(
    pixels: np.ndarray, mode: str, view: int, on_image: Callable[[int], None], folder: Path
) -> None:
    drawn = on_all_cores(lambda number: draw_view(pixels[number], mode, view), range(len(pixels)))
    write_images(folder / _FILE, drawn, len(pixels), pixels.shape[1], on_image)
