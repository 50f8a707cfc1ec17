"""Planted wrong labels are found and counted; images that are merely hard are not."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space
from tests.support.clusters import CLASSES, clusters, mislabelled
from tuner.diagnose.finding import SIGNIFICANCE, judge
from tuner.diagnose.head_training import Heads
from tuner.diagnose.label_noise import WrongLabels, _Count, find_wrong_labels, suspects
from tuner.training.rows import Rows

if TYPE_CHECKING:
    import keras

PLAIN = Configuration(head_layers=0, dropout=0.0, l2=1e-6, learning_rate=1e-2)
TRAINING, VALIDATION = 480, 160


@pytest.fixture(scope="module")
def heads(random_backbone: "keras.Model") -> Heads:
    return Heads(ResNet50Space(CLASSES, 32, "none"), PretrainedBackbone(random_backbone))


def found_in(
    heads: Heads, apart: float, share: float, **options: object
) -> tuple[WrongLabels, np.ndarray]:
    """The result on clusters, and which labels of all rows are wrong."""
    training, wrong = mislabelled(clusters(TRAINING, 0, apart), share, 2)
    validation, wrong_validation = mislabelled(clusters(VALIDATION, 1, apart), share, 3)
    found = find_wrong_labels(heads, PLAIN, training, validation, epochs=8, **options)
    return found, np.concatenate([wrong, wrong_validation])


def test_planted_wrong_labels_are_found(heads: Heads) -> None:
    steps: list[tuple[str, int, int]] = []
    found, wrong = found_in(heads, 8, 0.2, on_progress=lambda *step: steps.append(step))
    assert found.finding.p_value < 0.001
    assert found.share == pytest.approx(0.2, abs=0.08)
    assert found.interval[0] < 0.2 < found.interval[1]
    assert wrong[found.rows].mean() > 0.85
    assert wrong[found.rows].sum() / wrong.sum() > 0.7
    # The accuracy that a fifth of wrong validation labels hides.
    assert 0.12 < found.finding.gain < 0.35
    assert "labels are wrong" in found.finding.sentence
    assert steps == [("wrong labels", done, 12) for done in range(1, 13)]


def test_the_right_label_is_suggested(heads: Heads) -> None:
    found, wrong = found_in(heads, 8, 0.2)
    true = np.concatenate([clusters(TRAINING, 0).y, clusters(VALIDATION, 1).y])
    planted = wrong[found.rows]
    assert (found.suggested[planted] == true[found.rows][planted]).mean() > 0.9


@pytest.mark.parametrize("apart", [8, 2])
def test_correct_labels_are_not_called_wrong_however_hard_the_images(
    heads: Heads, apart: float
) -> None:
    found, _ = found_in(heads, apart, 0)
    assert found.finding.p_value > SIGNIFICANCE
    assert not judge([found.finding])[0].remedy
    assert len(found.rows) < 0.03 * (TRAINING + VALIDATION)


def test_wrong_labels_of_hard_images_are_counted(heads: Heads) -> None:
    found, _ = found_in(heads, 2.5, 0.2)
    assert found.finding.p_value < SIGNIFICANCE
    assert found.finding.numbers["validation_accuracy"] < 0.75
    assert found.share == pytest.approx(0.2, abs=0.08)


def test_copies_do_not_confirm_each_other(heads: Heads) -> None:
    """Each image is there twice with its wrong label, and one could confirm the other."""
    training, wrong = mislabelled(clusters(240, 0), 0.2, 2)
    twice = Rows(np.repeat(training.x, 2, axis=0), np.repeat(training.y, 2))
    groups = np.concatenate([np.repeat(np.arange(240), 2), np.arange(240, 240 + VALIDATION)])
    validation = clusters(VALIDATION, 1)
    found = find_wrong_labels(heads, PLAIN, twice, validation, groups=groups, epochs=2)
    planted = np.concatenate([np.repeat(wrong, 2), np.zeros(VALIDATION, bool)])
    assert planted[found.rows].mean() > 0.85


def test_suspects_are_the_most_suspicious_first() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    right = np.array([0.9, 0.8, 0.2, 0.9, 0.9, 0.9, 0.1, 0.8, 0.9])
    probabilities = np.column_stack([1 - right, 1 - right])
    probabilities[np.arange(9), labels] = right
    assert suspects(labels, probabilities, 9).tolist() == [6, 2]
    assert suspects(labels, probabilities, 1).tolist() == [6]
    assert suspects(labels, probabilities, 0).tolist() == []


def test_a_row_without_a_prediction_is_no_suspect() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    probabilities = np.full((7, 3), 0.05)
    probabilities[np.arange(7), labels] = 0.9
    probabilities[0] = 0.05, 0.9, 0.05
    probabilities[6] = np.nan
    assert suspects(labels, probabilities, 7).tolist() == [0]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Not even for classes of one image, of which cleanlab warns."""
    random, labels = np.random.default_rng(0), np.arange(40) % 5
    labels[-1] = 5
    probabilities = random.dirichlet(np.ones(6), 40)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(suspects(labels, probabilities, 40))
    assert capfd.readouterr() == ("", "")


def test_more_differences_are_tolerated_in_classes_with_few_images() -> None:
    """Six differences in the 42 most confident predictions are too many in large classes only."""
    p_values = {}
    for images, different in ((208, 6), (2080, 60)):
        labels = np.arange(images) % 8
        probabilities = np.full((images, 8), 0.02)
        probabilities[np.arange(images), labels] = 0.86
        wrong = np.arange(different)
        probabilities[wrong] = np.roll(probabilities[wrong], 1, axis=1)
        p_values[images] = _Count.of(labels, probabilities).p_value
    assert p_values[208] > SIGNIFICANCE
    assert p_values[2080] < 1e-6


@pytest.mark.parametrize("count", [2, 20])
def test_a_few_images_are_too_few(heads: Heads, count: int) -> None:
    random = np.random.default_rng(0)
    rows = Rows(
        random.normal(size=(count, 2048)).astype(np.float32), (np.arange(count) % 2).astype("int32")
    )
    found = find_wrong_labels(heads, Configuration(head_layers=0), rows, rows)
    assert "too few" in found.finding.sentence
    assert (found.finding.gain, found.finding.p_value, len(found.rows)) == (0.0, None, 0)
