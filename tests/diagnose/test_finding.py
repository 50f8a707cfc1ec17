"""Gains are tested on pairs of images, and corrected for how many were tried."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tuner.diagnose.finding import Finding, Remedy, judge
from tuner.metrics.significance import best_of, corrected, paired_gain


def right(*counts: tuple[int, bool]) -> np.ndarray:
    return np.concatenate([np.full(count, value) for count, value in counts])


def test_a_gain_of_many_images_is_none_by_chance() -> None:
    gain, p_value = paired_gain(right((60, True), (40, False)), right((80, True), (20, False)))
    assert gain == pytest.approx(0.2)
    assert p_value < 0.001


def test_no_change_is_no_gain() -> None:
    same = right((60, True), (40, False))
    assert paired_gain(same, same) == (0.0, 1.0)


@pytest.mark.parametrize(("before", "p_value"), [(False, 0.5), (True, 1.0)])
def test_one_image_that_changes_proves_nothing(before: bool, p_value: float) -> None:
    one = right((1, before), (9, True))
    assert paired_gain(one, right((1, not before), (9, True)))[1] == pytest.approx(p_value)


def test_a_loss_is_no_gain() -> None:
    gain, p_value = paired_gain(right((80, True), (20, False)), right((60, True), (40, False)))
    assert gain == pytest.approx(-0.2)
    assert p_value > 0.99


def test_images_that_change_both_ways_are_chance() -> None:
    before = right((10, True), (10, False), (80, True))
    after = right((10, False), (11, True), (79, True))
    assert paired_gain(before, after)[1] > 0.3


@pytest.mark.parametrize(("better", "worse"), [(5, 0), (8, 2), (12, 9)])
def test_of_one_seed_it_is_the_sign_test(better: int, worse: int) -> None:
    before = right((worse, True), (better, False), (50, True))
    after = right((worse, False), (better, True), (50, True))
    exact = binomtest(better, better + worse, alternative="greater").pvalue
    assert paired_gain(before, after)[1] == pytest.approx(exact, abs=0.02)


def test_seeds_are_no_more_images() -> None:
    before, after = right((50, True), (10, False)), right((50, True), (4, True), (6, False))
    _, once = paired_gain(before, after)
    gain, thrice = paired_gain(np.stack([before] * 3), np.stack([after] * 3))
    assert gain == pytest.approx(4 / 60)
    assert thrice == once


FIX = Remedy(("Fix it.",))


def of(gain: float, p_value: float | None, *, certain: bool = False) -> Finding:
    return Finding("x", "It is.", gain, p_value, FIX, certain=certain, harmless="It is not.")


def test_what_is_no_cause_has_the_harmless_sentence_and_no_remedy() -> None:
    for finding in (of(0.2, 0.06), of(0.009, 0.001), of(0.009, None)):
        judged = judge([finding])[0]
        assert not judged.is_cause
        assert (judged.sentence, str(judged.remedy)) == ("It is not.", "")
    judged = judge([of(0.2, 0.04)])[0]
    assert judged.is_cause
    assert (judged.sentence, judged.remedy) == ("It is.", FIX)


def test_what_is_certain_takes_no_part_in_the_correction() -> None:
    findings = [of(0.2, 0.04), of(0.0, 0.9, certain=True), of(0.1, None)]
    assert [each.is_cause for each in judge(findings)] == [True, True, True]
    assert not judge([*findings, of(0.0, 0.9)])[0].is_cause


def test_the_corrected_p_value_is_kept_and_shown() -> None:
    judged = judge([of(0.2, 0.01), of(0.1, 0.02), of(0.0, None)])
    assert [each.corrected_p_value for each in judged] == [0.02, 0.02, None]
    assert [each.p_value for each in judged] == [0.01, 0.02, None]
    assert [each.certainty for each in judged] == ["p 0.02", "p 0.02", "counted"]
    assert judged[0].to_json()["corrected_p_value"] == 0.02
    alone = judge([of(0.1, 0.02, certain=True), of(0.2, 0.01)])[0]
    assert alone.certainty == "p 0.02, seen in your model"


def test_the_effect_of_a_cause_in_words() -> None:
    assert of(0.2, 0.01).effect == "+20.0 points"
    assert replace(of(0.2, 0.01), overstated=True).effect == "overstated by 20.0 points"
    for gain, p_value in ((-0.01, 0.8), (0.005, 0.01), (0.1, 0.3)):
        assert of(gain, p_value, certain=True).effect == "costs too little to measure here"
        assert of(gain, p_value).cost == "costs too little to measure here"
    assert of(0.1, 0.01, certain=True).effect == "+10.0 points"
    assert of(0.1, 0.01).cost == "costs 10.0 points"
    assert replace(of(0.0, None, certain=True), measured=False).effect.endswith("not measured")


def test_correction_is_that_of_holm() -> None:
    assert corrected([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert corrected([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_correction_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = corrected(p_values)
    assert all(a >= p and a <= 1 for a, p in zip(adjusted, p_values, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all()
    assert min(adjusted) == min(1.0, min(p_values) * len(p_values))


def test_the_best_of_many_that_guess_is_no_better_than_one() -> None:
    random = np.random.default_rng(0)
    luck = [best_of(random.random((12, 200)) < 0.5).mean() for _ in range(200)]
    assert np.mean(luck) == pytest.approx(0.5, abs=0.01)


def test_the_best_is_chosen_where_there_is_one() -> None:
    candidates = np.stack([np.arange(200) % 10 < tenths for tenths in (5, 9, 6)])
    assert best_of(candidates).mean() == 0.9
