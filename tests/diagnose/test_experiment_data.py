"""Images and their features stay together, and compiled programs agree with the network."""

import numpy as np
import pytest

from search_spaces.backbone import preprocess
from search_spaces.resnet50 import ResNet50Space
from tests.support.diagnosed import frozen_features
from tuner.diagnose.experiment_data import ExperimentData, compiled, extract_features
from tuner.storage.cache import Cache
from tuner.training.rows import Rows


def rows(count: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return Rows(pixels, (np.arange(count) % 3).astype(np.int32))


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> ExperimentData:
    with Cache(tmp_path_factory.mktemp("cache")) as cache:
        return extract_features(
            ResNet50Space(3, 32, "none"),
            rows(12, 0),
            rows(5, 1),
            cache,
            lambda *step: steps.append(step),
        )


def test_features_are_those_of_their_images(data: ExperimentData) -> None:
    for images, pooled in (
        (data.training, data.pooled_training),
        (data.validation, data.pooled_validation),
    ):
        features = frozen_features(data.backbone.lend(0), images.x)
        assert pooled.x.shape == (len(images.y), 2048)
        np.testing.assert_allclose(pooled.x, features, rtol=1e-4, atol=1e-5)
        assert pooled.y.tolist() == images.y.tolist()


def test_it_reports_progress(data: ExperimentData, steps: list[tuple[str, int, int]]) -> None:
    assert ("training features", 12, 12) in steps
    assert ("validation features", 5, 5) in steps


def test_the_first_images_keep_their_features_and_labels(data: ExperimentData) -> None:
    few = data.first(7, 2)
    assert np.array_equal(few.training.x, data.training.x[:7])
    assert np.array_equal(few.pooled_training.x, data.pooled_training.x[:7])
    assert few.pooled_validation.y.tolist() == [0, 1]
    assert data.first(100, 100).training.y.tolist() == data.training.y.tolist()


def test_images_are_prepared_by_the_given_function(data: ExperimentData) -> None:
    network, pixels = data.backbone.lend(0), data.validation.x
    usual = frozen_features(network, pixels)
    assert np.array_equal(frozen_features(network, pixels, preprocess), usual)
    black = frozen_features(network, pixels, lambda images: 0 * images)
    np.testing.assert_allclose(black, np.broadcast_to(black[:1], black.shape), rtol=1e-5)
    assert not np.allclose(black, usual)


def test_inference_is_what_the_network_predicts(data: ExperimentData) -> None:
    network, pixels = data.backbone.lend(0), data.validation.x
    program = compiled(network, training=False)
    expected = network(preprocess(pixels.astype("float32")), training=False)
    np.testing.assert_allclose(program(pixels), np.asarray(expected), rtol=1e-4, atol=1e-5)
