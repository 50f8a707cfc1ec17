"""Each treatment of BatchNorm does what history says, and only that."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from search_spaces.resnet50 import ResNet50Space
from tests.support.diagnosed import frozen_features
from tuner.diagnose.batchnorm_ladder import Ladder, deals
from tuner.diagnose.batchnorm_treatments import FINE_TUNED, HISTORY, TREATMENTS
from tuner.diagnose.experiment_data import (
    ExperimentData,
    batch_features,
    compiled,
    extract_features,
)
from tuner.diagnose.head_training import HeadFit
from tuner.storage.cache import Cache
from tuner.training.rows import Rows

if TYPE_CHECKING:
    import keras

COUNT, SIZE = 40, 32


def rows(count: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype(np.int32)
    pixels = random.integers(0, 100, (count, SIZE, SIZE, 3), np.uint8)
    pixels[labels == 1, :, :16] += 120
    return Rows(pixels, labels)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ExperimentData:
    folder: Path = tmp_path_factory.mktemp("cache")
    with Cache(folder) as cache:
        return extract_features(ResNet50Space(2, SIZE, "none"), rows(COUNT, 0), rows(20, 1), cache)


@pytest.fixture(scope="module")
def ladder(data: ExperimentData) -> Ladder:
    return Ladder(data, seeds=(0, 1), epochs=2, end_to_end_epochs=1)


@pytest.fixture
def copy(ladder: Ladder) -> "keras.Model":
    return ladder._copy(trainable=True)


def test_every_treatment_can_be_run_and_has_its_history(ladder: Ladder) -> None:
    assert {"usual", "legacy", "frozen", "tutorial", "thawed", "recalibrated"} <= set(TREATMENTS)
    assert all(len(HISTORY[name]) > 40 for name in TREATMENTS)
    with pytest.raises(KeyError):
        ladder.run(["unheard of"])


def test_data_hold_the_features_of_the_frozen_backbone(data: ExperimentData) -> None:
    expected = frozen_features(data.backbone.model, data.validation.x)
    np.testing.assert_allclose(data.pooled_validation.x, expected, rtol=1e-4, atol=1e-5)
    assert data.pooled_training.x.shape == (COUNT, 2048)


def test_the_first_images_keep_their_features_and_labels(data: ExperimentData) -> None:
    few = data.first(7, 3)
    assert np.array_equal(few.training.x, data.training.x[:7])
    assert np.array_equal(few.pooled_validation.x, data.pooled_validation.x[:3])
    assert np.array_equal(few.pooled_training.y, data.training.y[:7])
    assert len(few.validation.y) == 3


def test_deals_hold_every_image_once_and_differ() -> None:
    one, other = deals(100, 2, seed=0)
    for deal in (one, other):
        assert sorted(np.concatenate(deal)) == list(range(100))
        assert {len(batch) for batch in deal} <= {33, 34}
    assert not np.array_equal(np.concatenate(one), np.concatenate(other))
    assert [len(batch) for batch in deals(5, 1, seed=0)[0]] == [5]


def test_batch_statistics_depend_on_the_batch_and_inference_does_not(
    copy: "keras.Model", data: ExperimentData
) -> None:
    pixels = data.validation.x
    halves = [np.arange(10), np.arange(10, 20)]
    stripes = [np.arange(0, 20, 2), np.arange(1, 20, 2)]
    program = compiled(copy, training=True)
    one, other = (batch_features(program, pixels, batches) for batches in (halves, stripes))
    assert np.abs(one - other).max() > 0.01
    alone = frozen_features(data.backbone.model, pixels[:1])
    together = frozen_features(data.backbone.model, pixels)[:1]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["usual", "own_input_nested", "tf_keras_layers"])
def test_what_keras_freezes_today_is_frozen(ladder: Ladder, name: str) -> None:
    (treatment,) = ladder.run([name])
    assert treatment.equals_frozen
    assert (treatment.moved, treatment.statistics) == (0, 106)
    assert treatment.right.tolist() == ladder.frozen.right.tolist()


def test_legacy_trains_on_other_features_than_it_validates(ladder: Ladder) -> None:
    (legacy,) = ladder.run(["legacy"])
    assert not legacy.equals_frozen
    assert (legacy.moved, legacy.statistics) == (0, 106)
    assert legacy.train_accuracies != ladder.frozen.train_accuracies
    assert legacy.right.shape == (2, 20)


def test_images_that_change_class_in_other_batches_are_counted(
    ladder: Ladder, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [
        np.array([[1, 0], [1, 0], [0, 1], [0, 1]]),
        np.array([[1, 0], [0, 1], [0, 1], [0, 1]]),
    ]
    fits = [HeadFit(each, each[:, 0] == 1, (0.5,), (0.5,), (1.0,)) for each in scores]
    given = iter([[fits[0]], [fits[1]]])
    monkeypatch.setattr(ladder, "_fits", lambda *_: next(given))
    (treatment,) = ladder.run(["own_input_batch"])
    assert treatment.batch_dependent == 0.25


def test_statistics_of_the_batch_move_none_because_none_are_updated(data: ExperimentData) -> None:
    ladder = Ladder(data, seeds=(0,), epochs=1)
    network, program = ladder._batchwise
    program(data.training.x)
    assert ladder._moved_by_batches() == 0
    network.get_layer("conv1_bn").momentum = 0.9
    compiled(network, training=True)(data.training.x)
    assert ladder._moved_by_batches() == 2


def test_recalibration_moves_every_statistic(ladder: Ladder) -> None:
    steps: list[tuple[str, int, int]] = []
    (treatment,) = ladder.run(["recalibrated"], lambda *step: steps.append(step))
    assert treatment.moved == treatment.statistics == 106
    assert [step[1:] for step in steps] == [(0, 1), (1, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tutorial", "thawed"])
def test_what_is_trained_end_to_end_moves_every_statistic(ladder: Ladder, name: str) -> None:
    steps: list[tuple[str, int, int]] = []
    (treatment,) = ladder.run([name], lambda *step: steps.append(step))
    assert treatment.moved == treatment.statistics == 106
    assert treatment.right.shape == (1, 20)
    epochs = treatment.epochs
    assert [step[1:] for step in steps] == [
        (3 * each, 3 * epochs) for each in (*range(epochs + 1), epochs)
    ]


@pytest.mark.slow
def test_fine_tuning_with_frozen_batchnorm_moves_no_statistic(ladder: Ladder) -> None:
    (treatment,) = ladder.run([FINE_TUNED])
    assert (treatment.moved, treatment.statistics) == (0, 106)
    assert not treatment.equals_frozen


def test_the_backbone_is_left_as_it_was(ladder: Ladder, data: ExperimentData) -> None:
    before = [array.copy() for array in data.backbone.model.get_weights()]
    ladder.run(["recalibrated"])
    after = data.backbone.model.get_weights()
    assert all(map(np.array_equal, before, after))
