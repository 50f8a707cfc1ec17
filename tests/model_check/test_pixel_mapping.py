"""What reaches the first convolution is fitted to known colours."""

import keras
import numpy as np
import pytest

from tuner.model_check.pixel_mapping import (
    CAFFE,
    COLOURS,
    RGB,
    SIGNED,
    TORCH,
    UNIT,
    PixelMapping,
    colour_images,
    fit_mapping,
    mapping_by_range,
)


def mapped(matrix: np.ndarray, offset: float) -> PixelMapping:
    return fit_mapping(colour_images(4, 5) @ matrix + offset)


def test_colours_fill_whole_images() -> None:
    images = colour_images(4, 5)
    assert images.shape == (len(COLOURS), 4, 5, 3)
    np.testing.assert_array_equal(images[:, 3, 4], COLOURS)


def test_what_keras_does_is_expected() -> None:
    images = keras.applications.resnet50.preprocess_input(colour_images(4, 5))
    assert fit_mapping(images).is_expected
    assert not fit_mapping(images).is_untouched
    assert not fit_mapping(images / 2).is_expected


def test_nothing_is_untouched() -> None:
    assert mapped(np.eye(3), 0).is_untouched
    assert not mapped(np.eye(3), 0).is_expected


def test_an_affine_function_is_found_again() -> None:
    matrix = np.random.default_rng(0).normal(size=(3, 3))
    found = mapped(matrix, 7.0)
    np.testing.assert_allclose(found.matrix, matrix, atol=1e-4)
    np.testing.assert_allclose(found.offset, 7.0, atol=1e-3)
    assert found.is_affine


def test_what_is_done_to_images_first_is_composed() -> None:
    preprocess = fit_mapping(keras.applications.resnet50.preprocess_input(colour_images(4, 4)))
    from_unit = PixelMapping(preprocess.matrix * 255, preprocess.offset, True)
    assert from_unit.after(UNIT).is_expected
    from_signed = PixelMapping(preprocess.matrix * 127.5, 127.5 + preprocess.offset, True)
    assert from_signed.after(SIGNED).is_expected


def test_a_constant_is_described() -> None:
    assert mapped(np.zeros((3, 3)), 2.0).description() == "mixed values from 2 to 2"


@pytest.mark.parametrize(("mode", "expected"), [("caffe", CAFFE), ("tf", SIGNED), ("torch", TORCH)])
def test_keras_does_what_its_modes_are_named_after(mode: str, expected: PixelMapping) -> None:
    images = keras.applications.imagenet_utils.preprocess_input(colour_images(4, 5), mode=mode)
    assert fit_mapping(images).is_like(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 255, RGB),
        (3, 9, RGB),
        (-25, 275, RGB),
        (0, 1, UNIT),
        (-0.1, 1.1, UNIT),
        (-1, 1, SIGNED),
        (-0.2, 0.9, SIGNED),
        (-1, -0.5, SIGNED),
        (-1.1, 1.1, SIGNED),
        (-2.1, 2.6, TORCH),
        (-0.5, 2.6, TORCH),
        (-2.1, 0.3, TORCH),
        (-124, 151, CAFFE),
        (-124, -104, CAFFE),
        (-80, 300, None),
        (-20, 120, None),
        (-40, 100, None),
        (0, 2, None),
        (0, 65535, None),
        (-32768, 32767, None),
    ],
)
def test_the_range_of_values_shows_the_scaling(
    low: float, high: float, expected: PixelMapping | None
) -> None:
    assert mapping_by_range(np.array([low, high])) is expected
