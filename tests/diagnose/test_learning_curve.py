"""Subsets are nested and stratified, heads learn from them, and the finding says what follows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.diagnose.finding import SIGNIFICANCE, TOO_FEW_IMAGES, judge
from tuner.diagnose.learning_curve import (
    SHARES,
    LearningCurve,
    data_finding,
    learning_curve,
    measure,
    nested_subsets,
)
from tuner.diagnose.power_laws import fit_laws
from tuner.training.rows import Rows

FEATURES = 40


def rows(count: int, seed: int, noise: float = 6.0, classes: int = 4) -> Rows:
    """Clusters; the noise decides how many images it takes to separate them."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(0).normal(size=(classes, FEATURES))
    return Rows(centres[labels] + noise * random.normal(size=(count, FEATURES)), labels)


@pytest.fixture(scope="module")
def rising() -> LearningCurve:
    return learning_curve(rows(800, 1), rows(600, 2))


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    seed=st.integers(0, 2**32 - 1),
)
def test_subsets_are_nested_and_keep_the_share_of_every_class(counts: list[int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    subsets = list(nested_subsets(labels, SHARES, np.random.default_rng(seed)))
    for smaller, larger in pairwise(subsets):
        assert set(smaller) <= set(larger)
    for share, subset in zip(SHARES, subsets, strict=True):
        assert (np.diff(subset) > 0).all()
        held = np.bincount(labels[subset], minlength=len(counts))
        for count, kept in zip(counts, held, strict=True):
            assert kept == (count and max(1, round(share * count)))
    assert subsets[-1].tolist() == list(range(len(labels)))


def test_draws_differ_and_the_same_seed_draws_the_same() -> None:
    training, validation = rows(100, 1), rows(200, 2)
    sizes, right = measure(training, validation, draws=3, seed=0)
    again, other = (measure(training, validation, draws=3, seed=seed)[1] for seed in (0, 1))
    assert right.shape == (3, len(sizes), 200)
    assert right.tobytes() == again.tobytes() != other.tobytes()
    assert (right[0, 0] != right[1, 0]).any()
    assert (right[:, -1] == right[0, -1]).all()


def test_accuracy_rises_with_the_images(rising: LearningCurve) -> None:
    assert rising.sizes == (100, 152, 200, 300, 400, 600, 800)
    assert rising.accuracies.shape == (10, 7)
    assert rising.accuracies[:, -1].mean() > rising.accuracies[:, 0].mean() + 0.05


def test_a_forecast_holds_what_twice_as_many_images_give() -> None:
    half, validation = rows(400, 1), rows(600, 2)
    laws = learning_curve(half, validation).laws
    assert laws is not None
    truth = learning_curve(rows(800, 1), validation).accuracies[0, -1]
    forecast = laws.forecast(800)
    assert forecast.low <= truth <= forecast.high


def test_rows_are_left_as_they_were_and_progress_is_reported() -> None:
    training, validation = rows(64, 1), rows(20, 2)
    training = Rows(training.x.astype(np.float32), training.y)
    before, steps = training.x.copy(), []
    curve = learning_curve(
        training, validation, draws=2, on_progress=lambda *step: steps.append(step)
    )
    assert training.x.tobytes() == before.tobytes()
    heads = 4 * 2 * (len(curve.sizes) - 1)  # in each of four parts
    assert steps == [("learning curve", done, heads) for done in range(1, heads + 1)]


def test_a_scale_of_the_features_changes_nothing() -> None:
    training, validation = rows(100, 1), rows(50, 2)
    scale = 10.0 ** np.linspace(-3, 3, FEATURES)
    scaled = [Rows(each.x * scale + 5 * scale, each.y) for each in (training, validation)]
    one = learning_curve(training, validation, draws=2).accuracies
    assert learning_curve(*scaled, draws=2).accuracies == pytest.approx(one, abs=0.03)


def test_a_class_of_one_image_is_in_every_subset() -> None:
    training = rows(120, 1)
    labels = training.y.copy()
    labels[7] = 4
    curve = learning_curve(Rows(training.x, labels), rows(50, 2), draws=2)
    assert curve.laws is not None
    subsets = nested_subsets(labels, SHARES, np.random.default_rng(0))
    assert all(7 in subset for subset in subsets)


@pytest.mark.parametrize(("count", "held_out"), [(8, 50), (8, 8)])
def test_too_few_images_are_reported(count: int, held_out: int) -> None:
    curve = learning_curve(rows(count, 1), rows(held_out, 2), draws=2)
    finding = data_finding(curve)
    assert curve.laws is None
    assert (finding.gain, finding.p_value, bool(finding.remedy)) == (0.0, 1.0, False)
    assert "too few images to extrapolate" in finding.sentence
    assert finding.numbers["sizes"][-1] == count


def test_more_images_are_the_remedy_where_accuracy_rises(rising: LearningCurve) -> None:
    finding = data_finding(rising)
    assert finding.cause == TOO_FEW_IMAGES
    assert finding.gain > 0.01
    assert finding.p_value < SIGNIFICANCE
    assert finding.sentence.startswith("Accuracy still grows")
    assert "Collect more images" in str(finding.remedy)
    assert finding.numbers["twice"]["images"] == 1600
    assert finding.numbers["ten_times"]["high"] <= 1


def test_a_plateau_asks_for_nothing() -> None:
    finding = data_finding(learning_curve(rows(800, 1, 0.5), rows(300, 2, 0.5)))
    assert finding.gain < 0.005
    assert finding.p_value > 0.5
    judged = judge([finding])[0]
    assert not judged.is_cause
    assert judged.sentence.startswith("More images would hardly raise accuracy")
    assert not judged.remedy


def test_of_few_images_the_curve_is_that_of_all_of_them() -> None:
    training, validation = rows(160, 1, noise=3.0), rows(40, 2, noise=3.0)
    curve = learning_curve(training, validation)
    assert curve.sizes[-1] == 150  # three parts of four
    sizes, right = measure(training, validation, draws=10, seed=0)
    alone = LearningCurve(sizes, right.mean(axis=2), fit_laws(sizes, right, 160))
    assert curve.laws is not None
    assert alone.laws is not None
    surer, less_sure = (each.laws.forecast(320) for each in (curve, alone))
    assert surer.high - surer.low < less_sure.high - less_sure.low


def test_images_that_are_alike_stay_in_one_part() -> None:
    """Each image is there twice: apart from its copy it is no easier than without."""
    labels = np.random.default_rng(1).integers(0, 4, 60)
    noise = np.random.default_rng(2).normal(size=(60, FEATURES))
    twice = Rows(np.repeat(noise, 2, axis=0), np.repeat(labels, 2))
    halves = Rows(twice.x[:90], twice.y[:90]), Rows(twice.x[90:], twice.y[90:])
    groups = np.repeat(np.arange(60), 2)
    assert learning_curve(*halves, groups=groups).accuracies[:, -1].mean() < 0.45
    assert learning_curve(*halves).accuracies[:, -1].mean() > 0.5


def test_a_sentence_says_both_forecasts_with_their_intervals() -> None:
    sizes = (125, 250, 500, 750, 1000)
    right = np.random.default_rng(0).random((5, 5, 40)) >= 0.3
    laws = fit_laws(sizes, right, 1000)
    finding = data_finding(LearningCurve(sizes, right.mean(axis=2), laws))
    twice = laws.forecast(2000)
    assert f"{100 * twice.accuracy:.0f} % ({100 * twice.low:.0f} to" in finding.sentence
    assert "1,000 training images" in finding.sentence
    assert "with ten times as many" in finding.sentence
    assert finding.p_value == laws.chance_of_no_gain(2000)


def test_of_a_sample_the_forecast_is_that_of_all_images(rising: LearningCurve) -> None:
    seen, whole = data_finding(rising), data_finding(rising, 20_000)
    assert whole.numbers["twice"]["images"] == 40_000
    assert whole.numbers["ten_times"]["images"] == 200_000
    assert 0 < whole.gain < seen.gain
    assert "with 800 training images, and would be" in whole.sentence
    assert "with all 20,000" in whole.sentence
    assert "with all" not in seen.sentence
    assert data_finding(rising, 100) == seen  # its parts hold validation images too


def test_of_a_sample_that_was_divided_the_forecast_is_that_of_all_images_too() -> None:
    curve = learning_curve(rows(400, 1), rows(100, 2), draws=4)
    assert curve.sizes[-1] == 375
    finding = data_finding(curve, 4000)
    assert "with 375 training images" in finding.sentence
    assert "with all 4,000" in finding.sentence
