"""What a search takes as images and labels, and what it refuses in a sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tuner.data.arrays import class_numbers, labelled_images, labelled_pair
from tuner.errors import DataError

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (11, 6, 5, 3), np.uint8)
Y = np.arange(11) % 3
ONE_HOT = np.eye(3)[Y]

# What gives the same as (X, Y)
SAME: dict[str, Callable[[], tuple[Any, Any]]] = {
    "arrays": lambda: (X, Y),
    "a column": lambda: (X, Y[:, np.newaxis]),
    "one-hot": lambda: (X, ONE_HOT),
    "a list of labels": lambda: (X, Y.tolist()),
    "one view": lambda: ([X], Y),
    "unbatched": lambda: (tf.data.Dataset.from_tensor_slices((X, Y)), None),
    "batched": lambda: (tf.data.Dataset.from_tensor_slices((X, Y)).batch(4), None),
    "one batch": lambda: (tf.data.Dataset.from_tensors((X, Y)), None),
    "batched one-hot": lambda: (tf.data.Dataset.from_tensor_slices((X, ONE_HOT)).batch(4), None),
    "unbatched one-hot": lambda: (tf.data.Dataset.from_tensor_slices((X, ONE_HOT)), None),
    "unbatched column": lambda: (tf.data.Dataset.from_tensor_slices((X, Y[:, None])), None),
    "whole floats": lambda: (
        tf.data.Dataset.from_tensor_slices((X.astype(np.float32), Y)).batch(4),
        None,
    ),
    "of unknown length": lambda: (
        tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda *_: True).batch(4),
        None,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_every_form_gives_the_same(name: str) -> None:
    (images,), labels = labelled_images("x", *SAME[name](), classes=3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, X)
    assert labels.dtype.kind == "i"
    np.testing.assert_array_equal(labels, Y, strict=False)
    assert labels.shape == (11,)


def test_arrays_are_taken_as_they_are() -> None:
    views = [X.astype(np.float32), X[:, ::-1].astype(np.float32)]
    found, labels = labelled_images("x", views, Y)
    assert all(one is other for one, other in zip(found, views, strict=True))
    assert labels is Y


def test_a_shuffling_dataset_is_read_once() -> None:
    shuffling = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(11).batch(3)
    (images,), labels = labelled_images("x", shuffling)
    before = {(image.tobytes(), int(label)) for image, label in zip(X, Y, strict=True)}
    assert {(i.tobytes(), int(n)) for i, n in zip(images, labels, strict=True)} == before


def slices(*parts: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


def sizes() -> tf.data.Dataset:
    signature = (tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int64))
    images = [X[0], X[1], X[2][:4]]
    return tf.data.Dataset.from_generator(
        lambda: zip(images, Y[:3], strict=True), output_signature=signature
    )


SCALED = X.astype(np.float32) / 255
REFUSED: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "scaled array": (lambda: (SCALED, Y), "whole RGB values 0 to 255: leave out any scaling"),
    "scaled dataset": (lambda: (slices(SCALED, Y).batch(4), None), "leave out any scaling"),
    "beyond 255": (lambda: (X.astype(int) * 2, Y), "whole RGB values 0 to 255"),
    "below 0": (lambda: (X.astype(int) - 1, Y), "whole RGB values 0 to 255"),
    "no numbers": (lambda: (np.full(X.shape, np.nan), Y), "whole RGB values 0 to 255"),
    "masks": (lambda: (X > 9, Y), "whole RGB values 0 to 255"),
    "late fraction": (
        lambda: (np.concatenate([X] * 30 + [SCALED]), np.zeros(341, int)),
        "whole RGB values",
    ),
    "infinite": (lambda: (slices(X, Y).repeat(), None), r"never ends: leave out repeat\(\)"),
    "empty dataset": (lambda: (slices(X, Y).take(0), None), "x is empty"),
    "without labels": (lambda: (slices(X), None), "must give pairs"),
    "with weights": (lambda: (slices(X, Y, Y), None), "must give pairs"),
    "of dictionaries": (lambda: (slices({"x": X, "y": Y}), None), "must give pairs"),
    "several sizes": (lambda: (sizes(), None), "images of 4 x 5 and 6 x 5 pixels: resize"),
    "labels twice": (lambda: (slices(X, Y), Y), "holds the labels: leave out y"),
    "grey": (lambda: (X[..., :1], Y), r"numpy\.repeat\(images, 3, axis=-1\)"),
    "grey without channels": (lambda: (X[..., 0], Y), r"numpy\.stack\(\[images\] \* 3, axis=-1\)"),
    "grey dataset": (lambda: (slices(X[..., :1], Y), None), r"numpy\.repeat"),
    "four channels": (lambda: (np.concatenate([X, X[..., :1]], -1), Y), "give colour images"),
    "list of images": (lambda: (list(X), Y), r"into one array with numpy\.stack"),
    "nested lists": (lambda: (X.tolist(), Y), "but is a list"),
    "tensor": (lambda: (tf.constant(X), Y), "NumPy array"),
    "no images": (lambda: (X[:0], Y[:0]), r"has \(0, 6, 5, 3\)"),
    "no views": (lambda: ([], Y), "at least one view"),
    "views of two shapes": (lambda: ([X, X[:5]], Y), "all views of one shape"),
    "too few labels": (lambda: (X, Y[:5]), "has 11 images, but 5 labels"),
    "a class too many": (lambda: (X, Y + 1), "has the class number 3, but the space has 3"),
    "negative": (lambda: (X, Y - 1), "from 0, but one is -1"),
    "text": (lambda: (X, np.array(["cat"] * 11)), "must be integers"),
    "text in a dataset": (lambda: (slices(X, ["cat"] * 11), None), "must be integers"),
    "regression": (lambda: (X, Y + 0.5), "regression is out of scope"),
    "whole floats": (lambda: (X, Y + 0.0), "must be integers"),
    "no labels": (lambda: (X, None), "must be integers"),
    "soft": (lambda: (X, ONE_HOT * 0.9), "soft targets are out of scope"),
    "multi-label": (lambda: (X, np.ones((11, 3), int)), "multi-label targets are out of scope"),
    "of no class": (lambda: (X, ONE_HOT * 0), "multi-label targets are out of scope"),
    "ragged": (lambda: (X, [[0], [1, 2]]), "are no array of numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    build, expected = REFUSED[name]
    with pytest.raises(DataError, match=expected) as raised:
        labelled_images("x", *build(), classes=3)
    assert str(raised.value).endswith(".")
    assert len(str(raised.value).splitlines()) == 1


def test_images_of_another_size_than_the_space_takes() -> None:
    labelled_images("x", X[:, :5], Y, image_size=5)
    for x in (X, X[:, :, :4]):
        with pytest.raises(DataError, match=r"has images of 6 x [45] pixels, but .* takes 5 x 5"):
            labelled_images("x", x, Y, image_size=5)


def test_a_pair_or_a_dataset() -> None:
    for data in ((X, Y), [X, ONE_HOT], slices(X, Y).batch(4)):
        images, labels = labelled_pair("validation_data", data)
        np.testing.assert_array_equal(images, X)
        np.testing.assert_array_equal(labels, Y)


@pytest.mark.parametrize("data", [None, X, (X,), (X, Y, Y)], ids=["none", "array", "one", "three"])
def test_what_is_no_pair(data: Any) -> None:
    with pytest.raises(DataError, match=r"validation_data must be a pair \(images, labels\)"):
        labelled_pair("validation_data", data)


def test_a_pair_has_one_view() -> None:
    with pytest.raises(DataError, match="must have one view, but has 2"):
        labelled_pair("validation_data", ([X, X], Y))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_class_numbers_of_any_integer_type(dtype: type) -> None:
    np.testing.assert_array_equal(class_numbers("x", Y.astype(dtype)), Y)
