"""Statistics of given images are measured, and written for a search to use."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from search_spaces.backbone import build_backbone
from tests.support.diagnosed import frozen_features
from tuner.diagnose.batchnorm_statistics import (
    batchnorms,
    check_weights_target,
    recalibrate,
    write_weights,
)
from tuner.diagnose.experiment_data import compiled
from tuner.errors import WeightsError


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def test_the_statistics_of_a_frozen_backbone_become_those_of_the_images(
    backbone: keras.Model, pixels: np.ndarray
) -> None:
    layer = backbone.get_layer("conv1_bn")
    momentum = layer.momentum
    expected = compiled(freed_copy(backbone), training=True)(pixels)
    recalibrate(backbone, pixels)
    np.testing.assert_allclose(frozen_features(backbone, pixels), expected, rtol=1e-2, atol=1e-3)
    assert layer.momentum == momentum
    assert not any(layer.trainable for layer in backbone.layers)


def test_flags_are_set_back_after_a_failure(backbone: keras.Model, pixels: np.ndarray) -> None:
    layer = backbone.get_layer("conv1_bn")
    momentum = layer.momentum
    with pytest.raises((TypeError, ValueError)):
        recalibrate(backbone, pixels[..., :2])
    assert (layer.momentum, layer.trainable) == (momentum, False)


def test_written_weights_are_those_that_a_search_reads(
    backbone: keras.Model, pixels: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "mine.weights.h5"
    recalibrate(backbone, pixels)
    check_weights_target(path)
    write_weights(backbone, path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    read = build_backbone(32, path)
    for one, other in zip(batchnorms(backbone), batchnorms(read), strict=True):
        np.testing.assert_array_equal(one.moving_variance, other.moving_variance)
    np.testing.assert_array_equal(frozen_features(backbone, pixels), frozen_features(read, pixels))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.h5", r"must end in \.weights\.h5"),
        ("nowhere/mine.weights.h5", r"no folder .*nowhere"),
        ("there.weights.h5", r"there\.weights\.h5 exists"),
        ("dangling.weights.h5", r"dangling\.weights\.h5 exists"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "there.weights.h5").touch()
    (tmp_path / "dangling.weights.h5").symlink_to("missing")
    with pytest.raises(WeightsError, match=message):
        check_weights_target(tmp_path / name)


def test_a_folder_that_is_closed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(WeightsError, match=re.escape(f"{tmp_path} cannot be written to")):
        check_weights_target(tmp_path / "mine.weights.h5")


def test_a_failed_write_leaves_nothing(backbone: keras.Model, tmp_path: Path) -> None:
    class Full(keras.Model):
        def save_weights(self, path: Path) -> None:
            Path(path).touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(WeightsError, match="No space left on device"):
        write_weights(Full(), tmp_path / "mine.weights.h5")
    assert not list(tmp_path.iterdir())


def freed_copy(backbone: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    for layer in copy.layers:
        layer.trainable = True
    return copy
