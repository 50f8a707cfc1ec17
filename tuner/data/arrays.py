"""Check the arrays or tf.data.Dataset that a user passes to the tuner.

Anything but whole RGB values 0 to 255 and class numbers is refused: it would train, without error.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tuner.errors import DataError

_ROWS = 256  # checked at a time, so that memory stays flat


def labelled_images(
    name: str,
    x: Any,
    y: Any = None,
    classes: int | None = None,
    image_size: int | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Check images and labels, and read a tf.data.Dataset, once and in its order, into arrays.

    If a Dataset shuffles, only one with a seed and without `reshuffle_each_iteration` can resume.

    Args:
        name: of the argument, for messages.
        x: array of shape (n, height, width, 3), a list of several such views of the same images, or
            a tf.data.Dataset of (images, labels), batched or not.
        y: integers, shape (n,) or (n, 1), or one-hot rows, shape (n, classes); None for a Dataset.
        classes: number of classes, if it is known.
        image_size: height and width, if they are known.

    Returns:
        The views, arrays unchanged and a Dataset as uint8; and the labels, integers, shape (n,).
    """
    if isinstance(x, tf.data.Dataset):
        if y is not None:
            raise DataError(f"{name} is a Dataset, which holds the labels: leave out y.")
        images, y = _read(name, x)
        views = [images]
    else:
        views = _views(name, x)
        for view in views:
            _check_values(name, view)
    labels = class_numbers(name, y)
    if len(labels) != len(views[0]):
        raise DataError(f"{name} has {len(views[0])} images, but {len(labels)} labels.")
    if classes is not None and labels.max() >= classes:
        raise DataError(
            f"{name} has the class number {labels.max()}, but the space has {classes} classes, "
            f"which are 0 to {classes - 1}."
        )
    height, width = views[0].shape[1:3]
    if image_size is not None and (height, width) != (image_size, image_size):
        raise DataError(
            f"{name} has images of {height} x {width} pixels, but the space takes {image_size} x "
            f"{image_size}: resize them, or give the space another image_size."
        )
    return views, labels


def labelled_pair(
    name: str, data: Any, classes: int | None = None, image_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Check (images, labels), or a Dataset of such pairs, as `labelled_images` does."""
    pair = (data, None) if isinstance(data, tf.data.Dataset) else data
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(f"{name} must be a pair (images, labels), or a tf.data.Dataset of them.")
    views, labels = labelled_images(name, pair[0], pair[1], classes, image_size)
    if len(views) > 1:
        raise DataError(f"{name} must have one view, but has {len(views)}.")
    return views[0], labels


def class_numbers(name: str, y: Any) -> np.ndarray:
    """Class numbers, shape (n,), from integers, a column of integers, or one-hot rows."""
    try:
        labels = np.asarray(y)
    except ValueError as error:
        raise DataError(f"the labels of {name} are no array of numbers: {error}.") from error
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else _from_one_hot(name, labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"the labels of {name} must be integers of shape (n,), but are {labels.dtype} of shape "
            f"{labels.shape}: give class numbers from 0 (regression is out of scope)."
        )
    if labels.size and labels.min() < 0:
        raise DataError(
            f"the labels of {name} must be class numbers from 0, but one is {labels.min()}."
        )
    return labels


def _from_one_hot(name: str, rows: np.ndarray) -> np.ndarray:
    if rows.dtype.kind not in "biuf" or not np.isin(rows, (0, 1)).all():
        raise DataError(
            f"the labels of {name} have several columns that are not one-hot: give class numbers "
            "from 0 (regression and soft targets are out of scope)."
        )
    if (rows.sum(axis=1) != 1).any():
        raise DataError(
            f"a row of the labels of {name} does not name exactly one class: multi-label targets "
            "are out of scope."
        )
    return rows.argmax(axis=1)


def _views(name: str, x: Any) -> list[np.ndarray]:
    views: Sequence[Any] = [x] if isinstance(x, np.ndarray) else x
    if not isinstance(views, list | tuple) or not all(isinstance(v, np.ndarray) for v in views):
        raise DataError(
            f"{name} must be a NumPy array of shape (n, height, width, 3), a list of such views of "
            f"the same images, or a tf.data.Dataset, but is a {type(x).__name__}."
        )
    for view in views:
        _check_shape(name, view)
    if len({view.shape for view in views}) != 1:
        raise DataError(f"{name} must hold at least one view, and all views of one shape.")
    return list(views)


def _check_shape(name: str, images: np.ndarray) -> None:
    if images.ndim == 4 and images.shape[-1] == 3 and len(images):
        return
    remedy = "give colour images as one array"
    if images.ndim == 4 and images.shape[-1] == 1:
        remedy = "make grayscale images RGB with numpy.repeat(images, 3, axis=-1)"
    elif images.ndim == 3 and images.shape[-1] == 3:
        remedy = "put single images into one array with numpy.stack"
    elif images.ndim == 3:
        remedy = "make grayscale images RGB with numpy.stack([images] * 3, axis=-1)"
    raise DataError(
        f"{name} must hold images of shape (n, height, width, 3), but has {images.shape}: {remedy}."
    )


def _check_values(name: str, images: np.ndarray) -> None:
    if images.dtype == np.uint8:
        return
    for start in range(0, len(images), _ROWS):
        rows = images[start : start + _ROWS]
        if (
            rows.dtype.kind not in "iuf"
            or not ((rows >= 0) & (rows <= 255) & (rows % 1 == 0)).all()
        ):
            raise DataError(
                f"{name} must hold whole RGB values 0 to 255: leave out any scaling, then round "
                "the images and cast them to uint8."
            )


def _read(name: str, dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError(f"{name} never ends: leave out repeat(), or add take(n).")
    spec = dataset.element_spec
    pair = isinstance(spec, tuple) and len(spec) == 2
    if not pair or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise DataError(f"{name} must give pairs (images, labels), but gives {spec}.")
    parts = list(_batches(name, dataset))
    if not parts:
        raise DataError(f"{name} is empty.")
    sizes = sorted({images.shape[1:3] for images, _ in parts})
    if len(sizes) > 1:
        raise DataError(
            f"{name} has images of {' and '.join(f'{h} x {w}' for h, w in sizes[:2])} pixels: "
            "resize them to one size."
        )
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _batches(name: str, dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for images, labels in dataset.as_numpy_iterator():
        if images.ndim == 3:
            images, labels = images[np.newaxis], np.asarray(labels)[np.newaxis]
        _check_shape(name, images)
        _check_values(name, images)
        yield images.astype(np.uint8), labels
