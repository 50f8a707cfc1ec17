"""Experiments on heads find what was planted, and nothing where nothing was."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import ResNet50Space
from tests.support.clusters import CLASSES, clusters, mislabelled
from tuner.diagnose.feature_ceiling import ceiling, features_limit
from tuner.diagnose.finding import SIGNIFICANCE, Finding, judge
from tuner.diagnose.head_training import HEAD, Heads
from tuner.diagnose.lagging_batchnorm import BATCHNORM_HEAD, lagging_batchnorm
from tuner.diagnose.overfitting import overfitting
from tuner.errors import SettingsError
from tuner.features.classifiers import logistic_regression, projection

if TYPE_CHECKING:
    import keras

SMALL = replace(HEAD, head_width=32)


@pytest.fixture(scope="module")
def backbone(random_backbone: "keras.Model") -> PretrainedBackbone:
    return PretrainedBackbone(random_backbone)


@pytest.fixture(scope="module")
def space() -> ResNet50Space:
    return ResNet50Space(CLASSES, 32, "none")


@pytest.fixture(scope="module")
def heads(space: ResNet50Space, backbone: PretrainedBackbone) -> Heads:
    return Heads(space, backbone)


def test_a_lag_is_seen_at_momentum_99_and_not_with_current_statistics(
    space: ResNet50Space, backbone: PretrainedBackbone
) -> None:
    training, validation = clusters(320, 0, 2.5, offset=10), clusters(120, 1, 2.5, offset=10)
    steps: list[tuple[str, int, int]] = []
    found = lagging_batchnorm(
        space,
        backbone,
        training,
        validation,
        configuration=replace(BATCHNORM_HEAD, head_width=32),
        on_progress=lambda *step: steps.append(step),
    )
    assert steps == [("lagging BatchNorm", done, 9) for done in range(10)]
    assert found.p_value < 0.001
    assert found.gain > 0.1
    assert found.numbers["initial_share"] == pytest.approx(0.99**30)  # of 10 steps an epoch
    assert len(found.numbers["moving_val_accuracies"]) == 3
    assert found.numbers["current_val_accuracies"][-1] > 0.88
    assert found.numbers["moving_val_accuracies"][0] < 0.75
    assert "0.99" in found.sentence
    assert found.remedy


def test_a_short_memory_does_not_lag(space: ResNet50Space, backbone: PretrainedBackbone) -> None:
    training, validation = clusters(320, 0, 2.5, offset=10), clusters(120, 1, 2.5, offset=10)
    found = lagging_batchnorm(
        space,
        backbone,
        training,
        validation,
        momentum=0.5,
        configuration=replace(BATCHNORM_HEAD, head_width=32),
    )
    assert found.p_value > SIGNIFICANCE
    assert "lag is negligible" in judge([found])[0].sentence


def test_a_head_without_batchnorm_cannot_lag(
    space: ResNet50Space, backbone: PretrainedBackbone
) -> None:
    with pytest.raises(SettingsError, match="no BatchNorm"):
        lagging_batchnorm(
            space, backbone, clusters(64, 0), clusters(32, 1), configuration=SMALL, epochs=1
        )


def test_regularisation_does_not_cure_wrong_validation_labels(heads: Heads) -> None:
    training = clusters(160, 0)
    validation, _ = mislabelled(clusters(160, 1), 0.3, 3)
    steps: list[tuple[str, int, int]] = []
    found = overfitting(
        heads,
        training,
        validation,
        epochs=12,
        on_progress=lambda *step: steps.append(step),
    )
    assert found.numbers["overfits"]
    assert found.numbers["train_accuracy"] >= 0.97
    assert len(found.numbers["grid"]) == 9
    (judged,) = judge([found])
    assert not judged.is_cause
    assert "does not cure" in judged.sentence
    assert not judged.remedy
    assert steps == [("overfitting", done, 9) for done in range(1, 10)]


def test_a_good_fit_is_not_called_overfitted(heads: Heads) -> None:
    found = overfitting(heads, clusters(160, 0), clusters(120, 1), configuration=SMALL, epochs=12)
    assert not found.numbers["overfits"]
    assert "does not overfit" in found.sentence
    assert found.p_value > SIGNIFICANCE


def test_the_ceiling_is_what_sklearn_reaches() -> None:
    training, validation = clusters(240, 0, 2.5), clusters(120, 1, 2.5)
    found = ceiling(training, validation, np.zeros(120, bool))
    turn = projection(training.x)
    own = found.numbers["logistic regression"]
    fitted = logistic_regression(own["setting"]).fit(turn.transform(training.x), training.y)
    assert own["val_accuracy"] == fitted.score(turn.transform(validation.x), validation.y)
    own = found.numbers["nearest neighbours"]
    neighbours = KNeighborsClassifier(own["setting"], metric="cosine").fit(training.x, training.y)
    assert own["val_accuracy"] == neighbours.score(validation.x, validation.y)
    assert found.cause == "weak head"
    assert found.gain == found.numbers[found.numbers["chosen"]]["val_accuracy"]


def test_a_head_at_the_ceiling_leaves_nothing() -> None:
    found = ceiling(clusters(240, 0), clusters(120, 1), np.ones(120, bool))
    assert found.gain <= 0
    judged = judge([found])[0]
    assert "ceiling of the features" in judged.sentence
    assert not judged.remedy


def limit(*accuracies: float, others: tuple[float, float], images: int = 200) -> Finding:
    grid = [{"dropout": 0.0, "l2": 1e-6, "val_accuracy": accuracy} for accuracy in accuracies]
    names = ("logistic regression", "nearest neighbours")
    found = {name: {"val_accuracy": each} for name, each in zip(names, others, strict=True)}
    return features_limit(
        Finding("overfitting", "", 0.0, 1.0, numbers={"grid": grid, "train_accuracy": 1.0}),
        Finding("weak head", "", 0.0, 1.0, numbers={"head": 0.5, "chosen": names[0], **found}),
        images,
    )


def test_what_no_head_changes_is_a_limit_of_the_features() -> None:
    judged = judge([limit(0.72, 0.75, 0.74, others=(0.73, 0.7))])[0]
    assert judged.is_cause
    assert judged.gain == pytest.approx(0.25)
    assert judged.effect == "at most 25.0 points"
    assert "72.0 % to 75.0 %" in judged.sentence
    assert "the features, the images or the labels" in judged.sentence
    assert "tune search DATA also trains 1 to 16 backbone blocks" in str(judged.remedy)


@pytest.mark.parametrize(
    ("accuracies", "others", "images"),
    [((0.85, 0.93), (0.8, 0.7), 200), ((0.8, 0.8), (0.95, 0.7), 200), ((0.8,), (0.8, 0.7), 20)],
    ids=["one head is healthy", "a classifier is", "too few images to tell"],
)
def test_a_healthy_set_has_no_limit(
    accuracies: tuple[float, ...], others: tuple[float, float], images: int
) -> None:
    assert not judge([limit(*accuracies, others=others, images=images)])[0].is_cause
