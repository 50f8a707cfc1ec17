"""A second look at near images: one picture changed as a whole, or only much alike.

`near_duplicates` compares images at 16 x 16 pixels, where two prints on the same shirt are one
picture. Here the pair is compared at up to 96 x 96: one image is aligned with the other (B. Lucas
and T. Kanade, An Iterative Image Registration Technique, 1981: scale and place, with gain and
offset), and the local structure of both is compared (contrast and structure of SSIM, Z. Wang et
al., Image Quality Assessment, 2004), and their colours. A copy agrees everywhere; another object,
or a scratch, differs somewhere. benchmarks/shared_backgrounds.py measures it, and chose AGREEMENT.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from scipy import ndimage

from tuner.counting import Progress
from tuner.data.survey_cache import FactStore
from tuner.decoding.decode import batches, decode_each, on_all_cores, read_bytes
from tuner.decoding.formats import DecodeError

# Increment when `compare` changes.
VERSION = 1

# A copy has at least this agreement in all but 3 of 1,000 places, and differs nowhere by more grey
# levels than this. One file saved again is compared without alignment, and more strictly.
AGREEMENT = 0.5
CHANGE = 20.0
_CHANGE_OF_CONTRAST = 0.5
_RECODED_AGREEMENT = 0.7
_RECODED_CHANGE = 12.0
_RECODED_MEAN_CHANGE = 6.0
_COLOUR_CHANGE = 30.0  # of either chroma, more locally than JPEG and gamma change it
_LEAST_COLOUR = 4.0  # below it, an image is grey, and colours are not compared

_LEAST_SIDE, _SIDE = 16, 96  # pixels
_WINDOW = 9  # pixels, of structure; of brightness 3
_NOISE = 60.0  # variance that is no structure, in squared grey levels
_BLUR = 0.6  # pixels: edges of another resolution or compression differ less
_FILTER = PIL.Image.Resampling.BILINEAR
_STARTS = (1.0, 0.95, 1.05)  # scales that the alignment begins with
_ITERATIONS = 6
_ALIGNED = 0.985  # correlation at which no other start is tried


class Likeness(IntEnum):
    """What two near images are.

    ALIKE: a second shot, or different things before one background. COPY: one picture, resized,
    cropped, recompressed or brightened. RECODED: one picture, pixel for pixel, saved again.
    """

    ALIKE = 0
    COPY = 1
    RECODED = 2


class Image(NamedTuple):
    """A readable image: its file, SHA-256, width and height."""

    path: Path
    sha256: str
    size: tuple[int, int]


def look_again(
    images: Sequence[Image],
    pairs: Iterable[tuple[int, int]],
    store: FactStore,
    on_progress: Progress,
) -> dict[tuple[int, int], Likeness]:
    """The likeness of each near pair, given as indices; what the store knows is not compared.

    Pairs with a file that can no longer be read are left out.
    """
    found: dict[tuple[int, int], Likeness] = {}
    new = []
    for one, other in pairs:
        likeness = store.likeness(images[one].sha256, images[other].sha256)
        if likeness is None:
            new.append((one, other))
        else:
            found[one, other] = Likeness(likeness)
    wanted = [images[number] for number in sorted({*chain(*new)})]
    together = batches(wanted, lambda image: image.path)
    details = dict(chain.from_iterable(on_all_cores(_details, together)))
    new = [pair for pair in new if all(images[number].sha256 in details for number in pair)]
    compared = on_all_cores(partial(_compare, images, details), new)
    for done, (pair, likeness) in enumerate(zip(new, compared, strict=True), start=1):
        found[pair] = likeness
        store.put_likeness(images[pair[0]].sha256, images[pair[1]].sha256, likeness)
        on_progress("comparing near images", done, len(new))
    return found


def _details(images: list[Image]) -> list[tuple[str, np.ndarray]]:
    """By SHA-256; without images that can no longer be read."""
    data = []
    for image in images:
        with suppress(DecodeError):
            data.append((image.sha256, read_bytes(image.path)))
    decoded = decode_each([content for _, content in data])
    return [
        (sha256, detail(pixels))
        for (sha256, _), pixels in zip(data, decoded, strict=True)
        if not isinstance(pixels, DecodeError)
    ]


def _compare(
    images: Sequence[Image], details: Mapping[str, np.ndarray], pair: tuple[int, int]
) -> Likeness:
    one, other = (images[number] for number in pair)
    return compare(details[one.sha256], details[other.sha256], one.size == other.size)


def detail(pixels: np.ndarray) -> np.ndarray:
    """What `compare` needs of an image: YCbCr, uint8, square, 16 to 96 pixels a side."""
    side = min(max(_LEAST_SIDE, min(pixels.shape[:2])), _SIDE)
    image = PIL.Image.fromarray(pixels).convert("YCbCr")
    return np.asarray(image.resize((side, side), _FILTER))


def compare(one: np.ndarray, other: np.ndarray, equal_size: bool) -> Likeness:
    """Compare the details of two near images.

    Args:
        one: see `detail`.
        other: see `detail`.
        equal_size: whether the images have the same width and height.
    """
    side = min(len(one), len(other))
    ours, theirs = (_channels(each, side) for each in (one, other))
    change = np.abs(ours[0] - theirs[0]).mean()
    if equal_size and change <= _RECODED_MEAN_CHANGE:
        everywhere = np.ones((side, side), bool)
        if _agree(ours, theirs, everywhere, _RECODED_AGREEMENT, _RECODED_CHANGE):
            return Likeness.RECODED
    if _is_grey(ours) or _is_grey(theirs):
        ours[1:], theirs[1:] = 128, 128
    moved, covered = _aligned(ours, theirs)
    change = max(CHANGE, _CHANGE_OF_CONTRAST * ours[0].std())  # of misplaced edges
    return Likeness.COPY if _agree(ours, moved, covered, AGREEMENT, change) else Likeness.ALIKE


def _channels(image: np.ndarray, side: int) -> np.ndarray:
    """Brightness and colours as float32, shape (3, side, side)."""
    reduced = PIL.Image.fromarray(image).resize((side, side), _FILTER)
    image = np.moveaxis(np.array(reduced, np.float32), -1, 0)
    return np.asarray(ndimage.gaussian_filter(image, (0, _BLUR, _BLUR)))


def _is_grey(image: np.ndarray) -> bool:
    return bool(np.abs(image[1:] - 128).max() < _LEAST_COLOUR)


def _aligned(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Their image moved onto ours, and where it covers ours; of several starts, the best."""
    best = (-1.0, theirs, np.ones(ours.shape[1:], bool))
    for start in _STARTS:
        places, covered = _registered(ours[0], theirs[0], start)
        moved = np.stack([_sampled(channel, places) for channel in theirs])
        correlation = _correlation(ours[0][covered], moved[0][covered])
        if correlation > best[0]:
            best = (correlation, moved, covered)
        if correlation > _ALIGNED:
            break
    return best[1:]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    ours, theirs = one - one.mean(), other - other.mean()
    return float((ours * theirs).sum() / max(np.sqrt((ours**2).sum() * (theirs**2).sum()), 1e-6))


def _registered(
    ours: np.ndarray, theirs: np.ndarray, scale: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Gauss-Newton on two scales, two shifts, gain and offset, from a first scale."""
    side = len(ours)
    down, right = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
    smooth, other = (ndimage.gaussian_filter(each, 1.0) for each in (ours, theirs))
    slopes = np.gradient(other)
    found = np.array([scale, scale, 0, 0])
    for _ in range(_ITERATIONS):
        places, covered = _places(found, down, right)
        moved, below, beside = (_sampled(each, places)[covered] for each in (other, *slopes))
        y, x, target = down[covered], right[covered], smooth[covered]
        columns = (below * y, beside * x, below, beside, -target, -np.ones_like(target))
        jacobian = np.stack(columns, axis=-1).astype(np.float64)
        normal = jacobian.T @ jacobian + 1e-3 * np.eye(6)
        found += np.linalg.solve(normal, -(jacobian.T @ moved))[:4]
        found[:2] = found[:2].clip(0.8, 1.25)
        found[2:] = found[2:].clip(-0.15 * side, 0.15 * side)
    return _places(found, down, right)


def _places(
    found: np.ndarray, down: np.ndarray, right: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Where each of our pixels is in their image, and which are inside."""
    last = len(down) - 1
    places = [found[0] * down + found[2] + last / 2, found[1] * right + found[3] + last / 2]
    return places, np.all([(each >= 0) & (each <= last) for each in places], axis=0)


def _sampled(image: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    return np.asarray(ndimage.map_coordinates(image, places, order=1, mode="nearest"))


def _agree(
    ours: np.ndarray, theirs: np.ndarray, covered: np.ndarray, agreement: float, change: float
) -> bool:
    """Whether structure, brightness and colours agree wherever ours is covered."""
    matched = _in_our_tone(ours[0], theirs[0], covered)
    within = _within(covered, 3)
    if np.abs(_local(ours[0] - matched, 3)[within]).max() > change:
        return False
    within = _within(covered, _WINDOW)
    if np.quantile(_structure(ours[0], matched)[within], 0.003) < agreement:
        return False
    recoloured = np.abs([_local(ours[k] - theirs[k], _WINDOW)[within] for k in (1, 2)])
    return bool(np.quantile(recoloured, 0.99, axis=1).max() <= _COLOUR_CHANGE)


def _in_our_tone(ours: np.ndarray, theirs: np.ndarray, covered: np.ndarray) -> np.ndarray:
    contrast = ours[covered].std() / max(theirs[covered].std(), 1e-3)
    return np.asarray((theirs - theirs[covered].mean()) * contrast + ours[covered].mean())


def _structure(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Local agreement in contrast and structure, -1 to 1."""
    mean, other = _local(ours, _WINDOW), _local(theirs, _WINDOW)
    spread = _local(ours**2, _WINDOW) - mean**2 + _local(theirs**2, _WINDOW) - other**2
    common = _local(ours * theirs, _WINDOW) - mean * other
    return np.asarray((2 * common + _NOISE) / (spread + _NOISE))


def _local(image: np.ndarray, window: int) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(image, window))


def _within(covered: np.ndarray, window: int) -> np.ndarray:
    """Where a window is covered as a whole."""
    return np.asarray(ndimage.minimum_filter(covered, window, mode="constant"))
