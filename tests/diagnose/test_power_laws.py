"""Known laws are recovered, forecasts cover them, and a flat curve promises nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.diagnose.finding import SIGNIFICANCE
from tuner.diagnose.power_laws import PowerLaws, fit_laws

IMAGES = 1000
SIZES = (125, 188, 250, 375, 500, 750, 1000)


def errors(a: float, b: float, c: float, sizes: object = SIZES) -> np.ndarray:
    return a + b * np.asarray(sizes, float) ** -c


def exact(law: tuple[float, float, float], images: int = 100_000) -> PowerLaws:
    """Laws of a curve without noise: as many images as it says are wrong, in two equal draws."""
    wrong = np.round(errors(*law) * images)
    right = np.arange(images) >= wrong[:, np.newaxis]
    return fit_laws(SIZES, np.stack([right, right]), IMAGES)


def noisy(
    law: tuple[float, float, float], random: np.random.Generator, images: int = 250, draws: int = 5
) -> PowerLaws:
    """Laws of a curve of images that are mostly hard or easy for every head, and partly chance."""
    shape = (draws, len(SIZES), images)
    own, chance = random.random(images), random.random(shape)
    right = np.where(random.random(shape) < 0.75, own, chance) >= errors(*law)[:, np.newaxis]
    right[:, -1] = right[0, -1]
    return fit_laws(SIZES, right, IMAGES)


@pytest.mark.parametrize("law", [(0.1, 3.0, 0.5), (0.0, 1.0, 0.2), (0.2, 20.0, 1.0)])
def test_a_law_without_noise_comes_back(law: tuple[float, float, float]) -> None:
    laws = exact(law)
    assert errors(*laws.best()) == pytest.approx(errors(*law), abs=0.005)
    assert laws.best()[2] == pytest.approx(law[2], abs=0.15)
    for factor, most in ((2, 0.01), (10, 0.02)):
        forecast = laws.forecast(factor * IMAGES)
        truth = 1 - errors(*law, factor * IMAGES)
        assert forecast.accuracy == pytest.approx(truth, abs=most)
        assert forecast.low <= truth <= forecast.high


@pytest.mark.parametrize(
    "law", [(0.1, 3.0, 0.5), (0.25, 0.0, 1.0), (0.02, 0.0, 1.0), (0.0, 1.0, 0.2), (0.2, 20.0, 1.0)]
)
def test_intervals_hold_the_truth_in_four_of_five_noisy_curves(
    law: tuple[float, float, float],
) -> None:
    random = np.random.default_rng(0)
    held = []
    for _ in range(20):
        laws = noisy(law, random)
        forecasts = [laws.forecast(factor * IMAGES) for factor in (2, 10)]
        held += [each.low <= 1 - errors(*law, each.images) <= each.high for each in forecasts]
    assert np.mean(held) >= 0.8


def test_an_interval_is_no_wider_than_its_use() -> None:
    forecast = noisy((0.1, 3.0, 0.5), np.random.default_rng(0)).forecast(2 * IMAGES)
    assert forecast.high - forecast.low < 0.2
    sure = noisy((0.1, 3.0, 0.5), np.random.default_rng(0), 10_000).forecast(2 * IMAGES)
    assert sure.high - sure.low < 0.05


def test_a_curve_that_rises_gains_surely() -> None:
    laws = noisy((0.1, 3.0, 0.5), np.random.default_rng(0))
    assert laws.chance_of_no_gain(2 * IMAGES) < SIGNIFICANCE
    assert laws.forecast(2 * IMAGES).gain == pytest.approx(0.028, abs=0.02)


@pytest.mark.parametrize("error", [0.02, 0.25])
def test_a_flat_curve_gains_nothing(error: float) -> None:
    random = np.random.default_rng(0)
    chances = [noisy((error, 0.0, 1.0), random).chance_of_no_gain(2 * IMAGES) for _ in range(20)]
    assert min(chances) > SIGNIFICANCE
    assert np.median(chances) > 0.5


def test_a_curve_that_falls_promises_nothing() -> None:
    right = np.random.default_rng(0).random((5, len(SIZES), 10_000)) >= np.linspace(
        0.1, 0.6, len(SIZES)
    ).reshape(-1, 1)
    laws = fit_laws(SIZES, right, IMAGES)
    assert laws.chance_of_no_gain(2 * IMAGES) > 0.95
    assert np.isfinite(laws.forecast(2 * IMAGES).accuracy)
    assert laws.forecast(2 * IMAGES).gain < 0.05


@pytest.mark.parametrize("is_right", [False, True])
def test_a_curve_without_any_variance_has_an_interval(is_right: bool) -> None:
    forecast = fit_laws(SIZES, np.full((5, len(SIZES), 50), is_right), IMAGES).forecast(2 * IMAGES)
    assert 0 <= forecast.low < forecast.high <= 1
    assert forecast.gain >= 0


@settings(max_examples=25, deadline=None)
@given(
    a=st.floats(0, 0.4),
    amplitude=st.floats(0, 0.5),
    c=st.floats(0.05, 2),
    images=st.integers(2, 300),
    seed=st.integers(0, 99),
)
def test_forecasts_rise_with_the_images_and_stay_below_one(
    a: float, amplitude: float, c: float, images: int, seed: int
) -> None:
    law = (a, amplitude * SIZES[0] ** c, c)
    laws = noisy(law, np.random.default_rng(seed), images)
    forecasts = [laws.forecast(count) for count in (1000, 1500, 2000, 10_000, 10**9)]
    for part in ("accuracy", "low", "high", "gain"):
        values = [getattr(each, part) for each in forecasts]
        assert values == sorted(values)
    assert all(0 <= each.low <= each.accuracy <= each.high <= 1 for each in forecasts)
    assert forecasts[0].gain == 0
    assert laws.chance_of_no_gain(1000) == pytest.approx(1.0)


def test_laws_seen_from_more_images_are_the_same_laws() -> None:
    laws = exact((0.1, 3.0, 0.5))
    further = laws.extended(4 * IMAGES)
    assert further.best() == pytest.approx(laws.best())
    before, after = laws.forecast(8 * IMAGES), further.forecast(8 * IMAGES)
    assert (after.accuracy, after.low, after.high) == pytest.approx(
        (before.accuracy, before.low, before.high)
    )
    expected = errors(0.1, 3.0, 0.5, [4 * IMAGES, 8 * IMAGES])
    assert after.gain == pytest.approx(expected[0] - expected[1], abs=0.002)
    assert after.gain < before.gain
