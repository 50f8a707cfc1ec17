"""Wrong scaling is priced as it reaches the network; small images are compared with larger ones."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces.recipes import plain_head
from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.data.dataset import ImageFile
from tuner.diagnose.experiment_data import ExperimentData, extract_features
from tuner.diagnose.image_size import LARGE_SIZE, image_size, typical_side
from tuner.diagnose.mistake_costs import UNIT, scaled_input
from tuner.model_check.pixel_mapping import PixelMapping
from tuner.storage.cache import Cache
from tuner.training.rows import Rows

PLAIN = Configuration.of(plain_head())
SIZE = 32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ExperimentData:
    """Images of two colours, which any scaling but a black one distinguishes."""
    random = np.random.default_rng(0)

    def rows(count: int) -> Rows:
        labels = (np.arange(count) % 2).astype(np.int32)
        colours = np.where(labels[:, None, None, None] == 1, 200, 60)
        noise = random.integers(0, 20, (count, SIZE, SIZE, 3))
        return Rows((colours + noise).astype(np.uint8), labels)

    with Cache(tmp_path_factory.mktemp("cache")) as cache:
        return extract_features(ResNet50Space(2, SIZE, "none"), rows(32), rows(16), cache)


def test_the_expected_scaling_costs_nothing(data: ExperimentData) -> None:
    expected = PixelMapping(np.eye(3)[::-1], -np.array([103.939, 116.779, 123.68]), is_affine=True)
    assert expected.is_expected
    right = data.heads.fit(PLAIN, [data.pooled_training], data.pooled_validation, 3, 0).right
    found = scaled_input(data, right, PLAIN, 3, 0, expected)
    assert found.gain == 0
    assert found.numbers["as_it_arrives"] == found.numbers["as_expected"]


def test_scaling_is_priced_as_it_arrives(data: ExperimentData) -> None:
    """On black images a head can only learn the frequencies of the classes."""
    right = np.ones(16, bool)
    black = scaled_input(
        data, right, PLAIN, 3, 0, PixelMapping(np.zeros((3, 3)), np.zeros(3), is_affine=True)
    )
    assert black.gain == pytest.approx(0.5)
    assert black.p_value is not None
    assert black.p_value < 0.01
    assert black.numbers["as_it_arrives"] == 0.5
    steps: list[tuple[str, int, int]] = []
    unit = scaled_input(data, right, PLAIN, 3, 0, on_progress=lambda *step: steps.append(step))
    assert [step[1:] for step in steps] == [(0, 48), (32, 48), (48, 48)]
    assert "divided by 255" in unit.sentence
    assert unit.numbers["arriving"] == UNIT.description()


def files(folder: Path, side: int, count: int = 4) -> tuple[list[ImageFile], list[ImageFile]]:
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        pixels = random.integers(0, 255, (side, side + 9, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        made.append(ImageFile(path.name, "ab"[number % 2], "train", content))
    return made, made


def test_small_originals_are_not_tried_larger(data: ExperimentData, tmp_path: Path) -> None:
    small = files(tmp_path, 40)
    assert typical_side(small[0], tmp_path) == 40
    with Cache(tmp_path / "cache") as cache:
        found = image_size(data, small, tmp_path, cache, PLAIN)
    assert (found.gain, found.p_value) == (0.0, None)
    assert "at most 40 px" in found.sentence


def test_what_the_originals_allow_is_tried(
    data: ExperimentData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 132 px a side: 128, the largest multiple of the network's stride."""
    middling = files(tmp_path, 132)
    gathered: list[int] = []

    def pretend(space: ResNet50Space, *rest: object) -> ExperimentData:
        gathered.append(space.image_size)
        return data.first(4, 4)

    monkeypatch.setattr("tuner.diagnose.image_size.extract_features", pretend)
    steps: set[str] = set()
    with Cache(tmp_path / "cache") as cache:
        found = image_size(
            data.first(4, 4),
            middling,
            tmp_path,
            cache,
            PLAIN,
            epochs=1,
            on_progress=lambda what, *_: steps.add(what),
        )
    assert gathered == [128]
    assert found.numbers["larger_size"] == 128
    assert "at 128 px" in found.sentence
    assert "--image-size 128" in str(found.remedy)
    assert steps == {"decoding images at 128 px"}


@pytest.mark.slow
def test_large_originals_are_tried_at_224(data: ExperimentData, tmp_path: Path) -> None:
    large = files(tmp_path, 240)
    four = data.first(4, 4)
    with Cache(tmp_path / "cache") as cache:
        found = image_size(four, large, tmp_path, cache, PLAIN, epochs=1)
    assert found.numbers["larger_size"] == LARGE_SIZE
    assert {"accuracy", "larger_accuracy"} <= set(found.numbers)
    assert "--image-size 224" in str(found.remedy)
