"""Find images that are near: the same picture changed as a whole, or much alike.

Copies in two splits inflate a score, and their files differ, so that digests do not find them. The
fingerprint of an image holds the low frequencies of its brightness, as in pHash (C. Zauner,
Implementation and Benchmarking of Perceptual Image Hash Functions, 2010), but in 16 bits each and
for the image with and without its border, and a coarse map of its colours. Two images are near if
the frequencies correlate and the colours are close. `second_look` then tells copies from the rest.

Found are copies with JPEG quality 30 or more, half to twice the size, up to 5 % cropped off every
side, brightness or contrast changed by a tenth, a gamma of 0.8 to 1.25, another format, or without
colour (benchmarks/near_duplicates.py). ImageHash 4.3.2 finds less than a third of the copies
cropped by 2 % with as few false pairs. A mirrored image counts as another: left and right are
classes in many sets, such as hands and arrows.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from PIL import Image

# Increment when `fingerprint` changes; the first number of each fingerprint.
VERSION = 2

# The least correlation and the largest distance of colours, in grey levels, of near images. Chosen
# by benchmarks/near_duplicates.py on half of its images, and tested on the other half.
SIMILARITY = 0.98
COLOUR_DISTANCE = 12.0

# Its weights overlap, so that a border between two of its pixels moves little with the size.
_FILTER = Image.Resampling.BILINEAR
_SIDE = 16  # pixels of the reduced image
_KEPT = 12  # frequencies a direction; those above are what a lower quality or size changes
_SEARCHED = 5  # frequencies a direction of the first pass
_BORDERS = (0.0, 0.025, 0.05)  # share cropped off each side, by view
# Each image is compared with crops of the other.
_COMBINATIONS = [(0, view) for view in range(len(_BORDERS))]
_COMBINATIONS += [(view, 0) for view in range(1, len(_BORDERS))]
_COLOUR_SIDE = 4
# Unit vectors are scaled by this and rounded. Sums of products stay below 2**24, exact in float32:
# the result does not depend on the order of summation or the number of threads.
_UNIT = 1000
_LEAST_CONTRAST = 2.0  # grey levels: JPEG noise on a flat image stays below
_LEAST_DIRECTIONS = 2.5  # frequencies that share the energy
# Images of few directions, such as one upright shape, correlate by chance: of 1,636 icons, copies
# of eight such images reach 0.999, and different ones stay below 0.985.
_SIMILARITY_OF_FEW = 0.998
_CLOSER = 0.5  # share of COLOUR_DISTANCE allowed between them
# Largest share of the energy in slopes from side to side: above it, an image is a gradient.
_LARGEST_SLOPE = 0.1
_LARGEST_CONTRAST_RATIO = 1.5
# Without colour, only brightness separates a grey copy from the same shape in another colour.
_LARGEST_GREY_CONTRAST_RATIO = 1.1
_LEAST_COLOUR = 4.0  # grey levels from grey: below it, an image has no colour to compare

_HEAD = 2  # version; contrast in hundredths, negative for an image of few directions
_COLOURS = 2 * _COLOUR_SIDE**2
_LENGTH = _HEAD + _COLOURS + len(_BORDERS) * _KEPT**2
_FORMAT = np.dtype("<i2")
_SAMPLED_SIDE = 256
_BLOCK = 512  # images: the products of two blocks stay in a core's cache
_EXACT_BLOCK = 1 << 16
# A second look takes 7 ms: of many images before one background, it is for these alone.
_CLOSEST = 4
_TURNED = 2_000  # images that are also compared mirrored and turned
_MOST_PAIRS = 10_000


def fingerprint(pixels: np.ndarray) -> bytes:
    """Describe a picture so that `near_pairs` finds its copies.

    Takes less than a millisecond for 64 x 64 pixels and a few for a photo of any size.

    Args:
        pixels: uint8 RGB, shape (height, width, 3).

    Returns:
        932 bytes. A flat image or a gradient is marked as not comparable: it is near to none, not
        even itself. An image of few directions, such as one upright shape, is marked to need a
        closer match.
    """
    image = _reduced(pixels)
    reduced = [_without_border(image.getchannel("Y"), border) for border in _BORDERS]
    contrast = reduced[0].std()
    row = np.zeros(_LENGTH, _FORMAT)
    row[0] = VERSION
    if contrast >= _LEAST_CONTRAST:
        small = image.resize((_COLOUR_SIDE, _COLOUR_SIDE), _FILTER)
        frequencies = [_frequencies(view) for view in reduced]
        row[1] = round(contrast * 100) * (-1 if _is_of_few(frequencies[0]) else 1)
        row[_HEAD : _HEAD + _COLOURS] = np.asarray(small)[:, :, 1:].astype(np.int16).ravel() - 128
        row[_HEAD + _COLOURS :] = np.concatenate([_rounded(found) for found in frequencies])
    return row.tobytes()


def near_pairs(fingerprints: Sequence[bytes], similarity: float = SIMILARITY) -> np.ndarray:
    """All pairs of near images, by an exact search.

    Time grows with the square of the number of images, memory with the number of images and pairs.

    Args:
        fingerprints: of each image.
        similarity: least correlation, from 0 to 1, inclusive.

    Returns:
        Indices, int64, shape (m, 2), the lower first, in ascending order. Images that are not
        comparable are in no pair.

    Raises:
        ValueError: a fingerprint is malformed or of another version.
    """
    rows = _rows(fingerprints)
    views = rows[:, _HEAD + _COLOURS :].reshape(len(rows), len(_BORDERS), _KEPT, _KEPT)
    least = np.float32(round(similarity * _UNIT**2))
    found = [np.empty((0, 2), np.int64)]
    for candidates in _candidates(_searched(views), least):
        for start in range(0, len(candidates), _EXACT_BLOCK):
            pairs = candidates[start : start + _EXACT_BLOCK]
            pairs = pairs[_alike_in_colour(rows, pairs)]
            closely = max(round(_SIMILARITY_OF_FEW * _UNIT**2), float(least))
            needed = np.where(_of_few(rows, pairs), closely, least)
            found.append(pairs[_correlations(views, pairs) >= needed])
    return np.unique(np.concatenate(found), axis=0)


def turned_pairs(fingerprints: Sequence[bytes]) -> np.ndarray:
    """Pairs of images of which one is much like the other mirrored, turned, or both.

    The frequencies of a mirrored image are its own with other signs, those of a turned one are
    transposed as well. Of many images the first `_TURNED` are compared with the rest.

    Returns:
        Indices, int64, shape (m, 2), the lower first, in ascending order.
    """
    rows = _rows(fingerprints)
    whole = rows[:, _HEAD + _COLOURS :].reshape(len(rows), len(_BORDERS), _KEPT, _KEPT)[:, 0]
    comparable = np.flatnonzero(whole.any(axis=(1, 2)) & (rows[:, 1] > 0))
    whole = whole[comparable].astype(np.float32)
    signs = np.where(np.arange(_KEPT) % 2, -1, 1).astype(np.float32)
    least = np.float32(round(SIMILARITY * _UNIT**2))
    found = [np.empty((0, 2), np.int64)]
    for upright in (whole, whole.swapaxes(1, 2)):
        for down, right in product((np.ones(_KEPT, np.float32), signs), repeat=2):
            if upright is whole and down[1] == right[1] == 1:
                continue  # neither mirrored nor turned
            turned = (upright * down[:, np.newaxis] * right)[:_TURNED]
            correlations = turned.reshape(-1, _KEPT**2) @ whole.reshape(-1, _KEPT**2).T
            found.append(np.argwhere(correlations >= least))
    pairs = comparable[np.concatenate(found)]
    return np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)


def closest(fingerprints: Sequence[bytes], pairs: np.ndarray) -> np.ndarray:
    """Of near pairs, those that are the closest few of either image, and not too many.

    Args:
        fingerprints: of each image.
        pairs: see `near_pairs`.

    Returns:
        int64, shape (k, 2), the closest first.
    """
    rows = _rows(fingerprints)
    views = rows[:, _HEAD + _COLOURS :].reshape(len(rows), len(_BORDERS), _KEPT, _KEPT)
    blocks = range(0, len(pairs), _EXACT_BLOCK)
    found = [_correlations(views, pairs[start : start + _EXACT_BLOCK]) for start in blocks]
    order = np.argsort(-np.concatenate([np.empty(0, np.int32), *found]), kind="stable")
    ends = pairs[order]
    by_image = np.argsort(ends.ravel(), kind="stable")
    images = ends.ravel()[by_image]
    ranks = np.empty(len(images), np.int64)
    ranks[by_image] = np.arange(len(images)) - np.searchsorted(images, images)
    return ends[(ranks.reshape(-1, 2) < _CLOSEST).any(axis=1)][:_MOST_PAIRS]


def _reduced(pixels: np.ndarray) -> Image.Image:
    """As YCbCr; of a large photo only every k-th pixel, since hundreds are averaged later."""
    step = max(1, min(pixels.shape[:2]) // _SAMPLED_SIDE)
    return Image.fromarray(np.ascontiguousarray(pixels[::step, ::step])).convert("YCbCr")


def _cosines() -> np.ndarray:
    """The first `_KEPT` rows of the orthonormal DCT-II of `_SIDE` values."""
    rows, columns = np.mgrid[:_KEPT, :_SIDE]
    basis = np.cos(np.pi * rows * (2 * columns + 1) / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis)


def _weights() -> np.ndarray:
    """Weights of frequencies: none for the mean, falling off where copies begin to differ.

    The factor `frequency` balances the 1 / frequency amplitudes of natural images (D. Field,
    Relations between the statistics of natural images and the response properties of cortical
    cells, 1987); without it, every dark circle on white would be the same picture.
    """
    frequency = np.hypot(*np.mgrid[:_KEPT, :_KEPT])
    return np.asarray(frequency * np.exp(-((frequency / (_SIDE / 2)) ** 2)))


_BASIS = _cosines()
_WEIGHTS = _weights()


def _without_border(brightness: Image.Image, border: float) -> np.ndarray:
    """The image without its border, float64, shape (`_SIDE`, `_SIDE`)."""
    width, height = brightness.size
    box = (width * border, height * border, width * (1 - border), height * (1 - border))
    return np.asarray(brightness.resize((_SIDE, _SIDE), _FILTER, box=box), np.float64)


def _frequencies(reduced: np.ndarray) -> np.ndarray:
    """Weighted frequencies of brightness, float64, shape (`_KEPT`, `_KEPT`)."""
    return np.asarray(_WEIGHTS * (_BASIS @ reduced @ _BASIS.T))


def _is_of_few(found: np.ndarray) -> bool:
    """Whether so few frequencies hold the energy that different pictures correlate."""
    energy = np.sum(found**2)
    return bool(energy**2 < _LEAST_DIRECTIONS * np.sum(found**4))


def _rounded(found: np.ndarray) -> np.ndarray:
    """As a vector of length `_UNIT`; zeros for a gradient, which would match any other."""
    energy = np.sum(found**2)
    slopes = found[0, 1] ** 2 + found[1, 0] ** 2
    if energy == 0 or (_is_of_few(found) and slopes > _LARGEST_SLOPE * energy):
        return np.zeros(_KEPT**2, np.int16)
    return np.round(found.ravel() * (_UNIT / np.sqrt(energy))).astype(np.int16)


def _rows(fingerprints: Sequence[bytes]) -> np.ndarray:
    """Fingerprints as int16, shape (n, `_LENGTH`)."""
    if any(len(one) != _LENGTH * _FORMAT.itemsize for one in fingerprints):
        raise ValueError(f"Expected fingerprints of {_LENGTH * _FORMAT.itemsize} bytes.")
    rows = np.frombuffer(b"".join(fingerprints), _FORMAT).reshape(-1, _LENGTH)
    if np.any(rows[:, 0] != VERSION):
        raise ValueError(f"Expected fingerprints of version {VERSION}: compute them again.")
    return rows


def _searched(views: np.ndarray) -> np.ndarray:
    """The lowest frequencies of each view, with the norm of the rest in place of the mean.

    By the Cauchy-Schwarz inequality, the product of two such vectors is at least that of the whole
    ones, so that this first pass misses no pair. float32, shape (views, n, 25).
    """
    searched = np.empty((len(_BORDERS), len(views), _SEARCHED, _SEARCHED), np.float32)
    for low, view in zip(searched, views.swapaxes(0, 1), strict=True):
        low[:] = view[:, :_SEARCHED, :_SEARCHED]
        rest = np.square(view, dtype=np.float32).sum((1, 2)) - np.square(low).sum((1, 2))
        low[:, 0, 0] = np.ceil(np.sqrt(rest))
    return searched.reshape(len(_BORDERS), len(views), _SEARCHED**2)


def _candidates(searched: np.ndarray, least: np.float32) -> Iterator[np.ndarray]:
    """Pairs that may reach `least` in any combination of views, block by block."""
    count = searched.shape[1]
    for start in range(0, count, _BLOCK):
        ours = searched[:, start : start + _BLOCK]
        for other in range(start, count, _BLOCK):
            theirs = searched[:, other : other + _BLOCK]
            found = [np.empty((0, 2), np.int64)]
            for one, two in _COMBINATIONS:
                products = ours[one] @ theirs[two].T
                if products.max() >= least:  # seldom, and faster than argwhere
                    found.append(np.argwhere(products >= least))
            pairs = np.unique(np.concatenate(found), axis=0) + np.array([start, other])
            yield pairs[pairs[:, 0] < pairs[:, 1]]


def _correlations(views: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The largest correlation of any combination for each pair, times `_UNIT` squared."""
    if not len(pairs):
        return np.empty(0, np.int32)
    one, two = (views[pairs[:, side]].astype(np.int32) for side in (0, 1))
    products = [
        np.einsum("nij,nij->n", one[:, first], two[:, second]) for first, second in _COMBINATIONS
    ]
    return np.max(products, axis=0)


def _alike_in_colour(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Whether each pair has similar contrast, and similar colours unless one is grey."""
    contrast = np.abs(rows[:, 1][pairs].astype(np.float32))
    ratio = contrast.max(1) / np.maximum(contrast.min(1), 1)
    colours = rows[:, _HEAD : _HEAD + _COLOURS][pairs].astype(np.int32)
    grey = np.abs(colours).max(2) < _LEAST_COLOUR
    apart = np.square(colours[:, 0] - colours[:, 1]).sum(1)
    near = apart <= COLOUR_DISTANCE**2 * _COLOURS
    closer = apart <= (_CLOSER * COLOUR_DISTANCE) ** 2 * _COLOURS
    of_few = _of_few(rows, pairs)
    alike = np.where(of_few, closer, near) & (ratio <= _LARGEST_CONTRAST_RATIO)
    copies = grey.any(1) & ~of_few
    similar = ratio <= _LARGEST_GREY_CONTRAST_RATIO
    return np.where(of_few, alike & similar, alike | (copies & similar))


def _of_few(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Whether each pair has an image of few directions, marked by negative contrast."""
    return np.asarray((rows[:, 1][pairs] < 0).any(axis=1))
