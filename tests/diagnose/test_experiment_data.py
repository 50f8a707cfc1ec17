"""Images and their features stay together, and both programs give what the network gives."""

import numpy as np
import pytest

from search_spaces.backbone import preprocess
from search_spaces.resnet50 import ResNet50Space
from tuner.diagnose.experiment_data import Evidence, compiled, frozen_features, gather
from tuner.storage.cache import Cache
from tuner.training.rows import Rows


def rows(count: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return Rows(pixels, (np.arange(count) % 3).astype(np.int32))


@pytest.fixture(scope="module")
def told() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def evidence(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[str, int, int]]
) -> Evidence:
    with Cache(tmp_path_factory.mktemp("cache")) as cache:
        return gather(
            ResNet50Space(3, 32, "none"), rows(12, 0), rows(5, 1), cache,
            lambda *step: told.append(step),
        )  # fmt: skip


def test_features_are_those_of_their_images(evidence: Evidence) -> None:
    for images, pooled in (
        (evidence.training, evidence.pooled_training),
        (evidence.validation, evidence.pooled_validation),
    ):
        features = frozen_features(evidence.backbone.lend(0), images.x)
        assert pooled.x.shape == (len(images.y), 2048)
        np.testing.assert_allclose(pooled.x, features, rtol=1e-4, atol=1e-5)
        assert pooled.y.tolist() == images.y.tolist()


def test_it_tells_how_far_it_is(evidence: Evidence, told: list[tuple[str, int, int]]) -> None:
    assert ("training features", 12, 12) in told
    assert ("validation features", 5, 5) in told


def test_the_first_images_keep_their_features_and_labels(evidence: Evidence) -> None:
    few = evidence.first(7, 2)
    assert np.array_equal(few.training.x, evidence.training.x[:7])
    assert np.array_equal(few.pooled_training.x, evidence.pooled_training.x[:7])
    assert few.pooled_validation.y.tolist() == [0, 1]
    assert evidence.first(100, 100).training.y.tolist() == evidence.training.y.tolist()


def test_what_prepares_the_images_is_asked(evidence: Evidence) -> None:
    network, pixels = evidence.backbone.lend(0), evidence.validation.x
    usual = frozen_features(network, pixels)
    assert np.array_equal(frozen_features(network, pixels, preprocess), usual)
    black = frozen_features(network, pixels, lambda images: 0 * images)
    np.testing.assert_allclose(black, np.broadcast_to(black[:1], black.shape), rtol=1e-5)
    assert not np.allclose(black, usual)


def test_inference_is_what_the_network_predicts(evidence: Evidence) -> None:
    network, pixels = evidence.backbone.lend(0), evidence.validation.x
    program = compiled(network, training=False)
    expected = network(preprocess(pixels.astype("float32")), training=False)
    np.testing.assert_allclose(program(pixels), np.asarray(expected), rtol=1e-4, atol=1e-5)
