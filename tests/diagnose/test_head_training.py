"""Heads are trained on pooled features alone, the same way twice, view after view."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.diagnose.head_training import Heads
from tuner.training.rows import Rows

if TYPE_CHECKING:
    import keras

PLAIN = Configuration(head_layers=0, dropout=0.0, l2=0.0, learning_rate=1e-2)


@pytest.fixture(scope="module")
def heads(random_backbone: "keras.Model") -> Heads:
    return Heads(ResNet50Space(3, 32, "none"), PretrainedBackbone(random_backbone))


def rows(count: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count).astype(np.int32)
    features = random.normal(size=(count, 2048)).astype(np.float32)
    features[np.arange(count), labels] += 40
    return Rows(features, labels)


def test_a_head_learns_and_reports_correct_rows(heads: Heads) -> None:
    validation = rows(60, 1)
    fit = heads.fit(PLAIN, [rows(150, 0)], validation, epochs=6, seed=0)
    assert len(fit.val_accuracies) == len(fit.train_losses) == 6
    assert fit.right.mean() == pytest.approx(fit.val_accuracies[-1])
    assert fit.right.mean() > 0.8
    assert (fit.probabilities.argmax(axis=1) == validation.y).tolist() == fit.right.tolist()


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(heads: Heads) -> None:
    training, validation = [rows(64, 0)], rows(30, 1)
    one, again, other = (heads.fit(PLAIN, training, validation, 2, seed) for seed in (0, 0, 1))
    assert one.probabilities.tobytes() == again.probabilities.tobytes()
    assert one.probabilities.tobytes() != other.probabilities.tobytes()


def test_epochs_take_turns_with_the_views(heads: Heads) -> None:
    first, second, validation = rows(64, 0), rows(64, 2), rows(30, 1)
    turns = heads.fit(PLAIN, [first, second], validation, 2, 0)
    assert turns.train_losses[0] == heads.fit(PLAIN, [first], validation, 1, 0).train_losses[0]
    assert turns.train_losses[1] != heads.fit(PLAIN, [first], validation, 2, 0).train_losses[1]
