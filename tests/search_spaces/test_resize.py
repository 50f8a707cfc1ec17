import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from search_spaces.resize import resize, resizer

RNG = np.random.default_rng(0)
# height, width, image size: shrinking, enlarging, one of each, extremes, not whole ratios
SHAPES = [
    (64, 48, 32),
    (17, 33, 32),
    (200, 31, 64),
    (31, 200, 64),
    (240, 320, 224),
    (500, 7, 32),
    (33, 31, 32),
    (1, 1, 32),
    (1, 90, 32),
]


def noise(height: int, width: int, count: int = 1) -> np.ndarray:
    return RNG.integers(0, 256, (count, height, width, 3), np.uint8)


def by_tensorflow(images: np.ndarray, image_size: int) -> np.ndarray:
    return tf.image.resize(images, (image_size, image_size), antialias=True).numpy()


@pytest.mark.parametrize(("height", "width", "image_size"), SHAPES)
def test_equals_tensorflows_antialiased_resize(height: int, width: int, image_size: int) -> None:
    images = noise(height, width)
    exact = by_tensorflow(images, image_size)
    ours = np.asarray(resize(images, image_size))
    assert ours.shape == (1, image_size, image_size, 3)
    # ties are rounded up from 1/128 below the half on: never further than that from the exact value
    assert np.abs(ours - exact).max() <= 0.5 + 1 / 128 + 1e-3
    apart = np.abs(ours - np.floor(exact + 0.5))
    assert apart.max() <= 1
    assert apart.mean() < 0.03  # one value in 128 lies that close below a half


def test_differs_from_a_resize_without_antialiasing() -> None:
    images = noise(128, 128)
    plain = tf.image.resize(images, (32, 32)).numpy()
    assert np.abs(np.asarray(resize(images, 32)) - plain).mean() > 5


@pytest.mark.parametrize("image_size", [1, 32, 57, 224])
def test_an_image_of_the_right_size_stays_as_it_is(image_size: int) -> None:
    images = noise(image_size, image_size)
    assert np.array_equal(np.asarray(resize(images, image_size)), images)


@pytest.mark.parametrize(("height", "width", "image_size"), SHAPES)
def test_gives_whole_numbers_from_0_to_255(height: int, width: int, image_size: int) -> None:
    extreme = np.where(noise(height, width) < 128, 0, 255).astype(np.uint8)
    ours = np.asarray(resize(extreme, image_size))
    assert ours.dtype == np.float32
    assert np.array_equal(ours, np.round(ours))
    assert ours.min() >= 0
    assert ours.max() <= 255


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_plain_image_keeps_its_colour(level: int) -> None:
    plain = np.full((1, 100, 41, 3), level, np.uint8)
    assert np.all(np.asarray(resize(plain, 64)) == level)


def test_half_way_values_are_rounded_up() -> None:
    rows = np.array([0, 1], np.uint8).repeat(3)[None, :, None, None] * np.ones(
        (1, 1, 6, 3), np.uint8
    )
    halves = rows[:, 2:4]  # one row of 0 and one of 1
    assert np.all(np.asarray(resize(halves, 1)) == 1)


def test_integers_and_floats_give_the_same() -> None:
    images = noise(50, 70)
    assert np.array_equal(resize(images, 32), resize(images.astype("float32"), 32))


def test_the_model_gives_what_the_function_gives_for_any_size() -> None:
    model = resizer(32)
    for height, width, _ in SHAPES:
        images = noise(height, width)
        assert np.array_equal(model(images), resize(images, 32))


def test_a_graph_gives_what_eager_execution_gives() -> None:
    images = noise(60, 45, count=5)
    eager = np.asarray(resize(images, 32))
    assert np.array_equal(tf.function(lambda batch: resize(batch, 32))(images), eager)
    assert np.array_equal(resizer(32).predict(images, verbose=0), eager)


def test_an_image_does_not_depend_on_its_batch() -> None:
    images = noise(60, 45, count=5)
    together = np.asarray(resize(images, 32))
    assert np.array_equal(
        np.concatenate([resize(images[i : i + 1], 32) for i in range(5)]), together
    )


def test_the_model_loads_in_plain_keras(tmp_path: Path) -> None:
    images = noise(60, 45)
    path = tmp_path / "resize.keras"
    model = resizer(32)
    model.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    assert np.array_equal(loaded(images), model(images))
    assert np.array_equal(loaded(noise(20, 90)).shape, (1, 32, 32, 3))


def test_the_saved_model_names_no_code_of_ours(tmp_path: Path) -> None:
    resizer(32).save(tmp_path / "resize.keras")
    with zipfile.ZipFile(tmp_path / "resize.keras") as archive:
        config = json.loads(archive.read("config.json"))
    modules = {layer["module"] for layer in config["config"]["layers"]}
    assert modules
    assert all(module == "keras" or module.startswith("keras.") for module in modules), modules
    assert "search_spaces" not in json.dumps(config)


# The centre square

CROPPED = [
    (64, 48),
    (48, 64),
    (65, 48),
    (64, 49),
    (17, 34),
    (33, 31),
    (31, 33),
    (50, 50),
    (51, 51),
    (1, 9),
    (9, 1),
    (32, 200),
]


def centre(images: np.ndarray) -> np.ndarray:
    height, width = images.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]


@pytest.mark.parametrize(("height", "width"), CROPPED)
def test_a_crop_is_a_slice_that_is_resized(height: int, width: int) -> None:
    images = noise(height, width, count=3)
    ours, expected = (
        np.asarray(resize(images, 32, crop=True)),
        np.asarray(resize(centre(images), 32)),
    )
    # sums of another length may round otherwise in their last bit; one pixel aside is far more
    assert np.abs(ours - expected).max() <= 1
    assert np.mean(ours != expected) < 0.001
    if height != width:
        assert np.mean(ours != np.asarray(resize(images, 32))) > 0.2


@pytest.mark.parametrize(("height", "width"), [(32, 45), (90, 32), (32, 32)])
def test_a_centre_of_the_right_size_stays_as_it_is(height: int, width: int) -> None:
    images = noise(height, width)
    assert np.array_equal(np.asarray(resize(images, 32, crop=True)), centre(images))


def test_what_lies_outside_the_centre_changes_nothing() -> None:
    images = noise(40, 91)
    spoilt = 255 - images
    spoilt[:, :, 25:65] = images[:, :, 25:65]  # 25 = floor((91 - 40) / 2)
    assert np.array_equal(resize(spoilt, 32, crop=True), resize(images, 32, crop=True))
    spoilt[:, :, 25] = 255 - images[:, :, 25]
    assert not np.array_equal(resize(spoilt, 32, crop=True), resize(images, 32, crop=True))


def test_the_cropping_model_loads_in_plain_keras_and_takes_any_size(tmp_path: Path) -> None:
    resizer(32, crop=True).save(tmp_path / "crop.keras")
    with zipfile.ZipFile(tmp_path / "crop.keras") as archive:
        assert "search_spaces" not in archive.read("config.json").decode()
    loaded = keras.saving.load_model(tmp_path / "crop.keras", safe_mode=True)
    for height, width in CROPPED:
        images = noise(height, width, count=2)
        assert np.array_equal(loaded(images), resize(images, 32, crop=True))
