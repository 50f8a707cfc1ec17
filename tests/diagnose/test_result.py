"""Causes are certain or significant, faults before limits; the rest is excluded."""

from dataclasses import replace

from tests.support.diagnosed import finding
from tuner.diagnose.finding import Finding
from tuner.diagnose.result import rank_causes


def test_faults_come_before_limits_and_larger_gains_first() -> None:
    causes, others = rank_causes(
        [
            finding("too few images", 0.2, 0.001),
            finding("leak", 0.03, None),
            finding("wrong labels", 0.08, 0.001),
            finding("overfitting", 0.05, 0.9),
        ]
    )
    assert [cause.cause for cause in causes] == ["wrong labels", "leak", "too few images"]
    assert [other.cause for other in others] == ["overfitting"]


def test_a_certain_fault_ranks_as_if_it_cost_5_points() -> None:
    certain = replace(finding("BatchNorm in training mode", -0.01, 0.8), certain=True)
    causes, _ = rank_causes(
        [
            finding("too few images", 0.2, 0.001),
            finding("wrong labels", 0.04, 0.001),
            certain,
            finding("leak", 0.06, None),
        ]
    )
    assert [cause.cause for cause in causes] == [
        "leak",
        "BatchNorm in training mode",
        "wrong labels",
        "too few images",
    ]


def test_a_fault_seen_in_a_model_comes_before_its_learning_rate() -> None:
    certain = replace(finding("BatchNorm in training mode", -0.01, 0.8), certain=True)
    causes, _ = rank_causes([finding("learning rate", 0.1, 0.001), certain])
    assert [cause.cause for cause in causes] == ["BatchNorm in training mode", "learning rate"]


def test_what_is_no_point_is_no_cause() -> None:
    assert (
        rank_causes([finding("leak", 0.004, None), finding("wrong labels", 0.009, 0.0001)])[0] == []
    )


def test_chances_are_corrected_for_all_that_were_tested() -> None:
    lucky = finding("wrong labels", 0.1, 0.02)
    assert [each.cause for each in rank_causes([lucky])[0]] == ["wrong labels"]
    tested = [finding(f"{number}", 0.0, 1.0) for number in range(3)]
    assert rank_causes([lucky, *tested])[0] == []
    counted = [finding(f"{number}", 0.0, None) for number in range(3)]
    assert [each.cause for each in rank_causes([lucky, *counted])[0]] == ["wrong labels"]


def test_a_limit_of_the_features_ranks_last_and_is_none_while_another_head_does_better() -> None:
    features = Finding(
        "limit of the features", "No head.", 0.3, None, harmless="Another head.", measured=False
    )
    causes, _ = rank_causes([features, finding("too few images", 0.04, 0.001)])
    assert [cause.cause for cause in causes] == ["too few images", "limit of the features"]
    causes, others = rank_causes([features, finding("overfitting", 0.04, 0.001)])
    assert [cause.cause for cause in causes] == ["overfitting"]
    assert others[0].sentence == "Another head."


def test_accuracy_of_the_most_frequent_class_comes_before_limits() -> None:
    majority = replace(finding("class imbalance", 0.25, None), measured=False)
    causes, _ = rank_causes([finding("too few images", 0.3, 0.001), majority])
    assert [cause.cause for cause in causes] == ["class imbalance", "too few images"]
