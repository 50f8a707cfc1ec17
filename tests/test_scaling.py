"""What reaches the first convolution is told from what arrives for known colours."""

import keras
import numpy as np
import pytest

from tuner.scaling import COLOURS, Arrival, arrival, coloured_images, value_range


def arrived(matrix: np.ndarray, offset: float) -> Arrival:
    return arrival(coloured_images(4, 5) @ matrix + offset)


def test_colours_fill_whole_images() -> None:
    images = coloured_images(4, 5)
    assert images.shape == (len(COLOURS), 4, 5, 3)
    np.testing.assert_array_equal(images[:, 3, 4], COLOURS)


def test_what_keras_does_is_expected() -> None:
    images = keras.applications.resnet50.preprocess_input(coloured_images(4, 5))
    assert arrival(images).is_expected
    assert not arrival(images).is_untouched
    assert not arrival(images / 2).is_expected


def test_nothing_is_untouched() -> None:
    assert arrived(np.eye(3), 0).is_untouched
    assert not arrived(np.eye(3), 0).is_expected


def test_an_affine_function_is_found_again() -> None:
    matrix = np.random.default_rng(0).normal(size=(3, 3))
    found = arrived(matrix, 7.0)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-4)
    np.testing.assert_allclose(found.offset, 7.0, atol=1e-3)
    assert found.is_affine


def test_other_value_ranges_are_composed() -> None:
    preprocess = arrival(keras.applications.resnet50.preprocess_input(coloured_images(4, 4)))
    from_unit = Arrival(preprocess.matrix * 255, preprocess.offset, True)
    assert from_unit.of_images(0, 1).is_expected
    from_signed = Arrival(preprocess.matrix * 127.5, 127.5 + preprocess.offset, True)
    assert from_signed.of_images(-1, 1).is_expected


def test_a_constant_is_described() -> None:
    assert arrived(np.zeros((3, 3)), 2.0).description() == "mixed values from 2 to 2"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 255, (0, 255)),
        (3, 9, (0, 255)),
        (0, 1, (0, 1)),
        (-1, 1, (-1, 1)),
        (-0.2, 0.9, (-1, 1)),
        (-124, 151, None),
        (-0.5, 3, None),
        (0, 65535, None),
    ],
)
def test_ranges(low: float, high: float, expected: tuple[float, float] | None) -> None:
    assert value_range(np.array([low, high])) == expected
