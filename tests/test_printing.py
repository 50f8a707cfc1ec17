"""What `tune best` prints of a winner: each accuracy beside what chance would score."""

import dataclasses

import pytest

from tuner.evaluation import Winner
from tuner.journal import COMPLETED, RungRecord, TrialRecord
from tuner.printing import print_winner

TRIAL = TrialRecord(3, None, 0, 0, {}, COMPLETED, 5, None, (RungRecord(0, 2, 0.9, 1.0),))
WINNER = Winner(TRIAL, 0.91, 0.9, 120, 0.5, 0.48, 4, 0.71, 0.7)
ACCURACIES = [
    "Test accuracy         90.0 % of 120 images that took no part in the search",
    "Always answering the most frequent class: 48.0 % (validation), 50.0 % (test)",
]
BALANCED = [
    "Mean of the classes   71.0 %, which chose it; 70.0 % of the test images",
    "Always answering the most frequent class: 25.0 % (mean of the classes)",
]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("val_accuracy", ["Validation accuracy   91.0 %, which chose it", *ACCURACIES]),
        ("val_loss", ["Validation accuracy   91.0 %", *ACCURACIES]),
        ("val_balanced_accuracy", ["Validation accuracy   91.0 %", *ACCURACIES, *BALANCED]),
    ],
)
def test_the_accuracies_of_a_winner(
    capsys: pytest.CaptureFixture[str], objective: str, expected: list[str]
) -> None:
    print_winner(WINNER, objective)
    assert capsys.readouterr().out.splitlines() == ["Winner: trial 0003, 2 epochs", *expected]


def test_a_balanced_accuracy_that_was_not_recorded_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_winner(dataclasses.replace(WINNER, test_balanced_accuracy=None), "val_balanced_accuracy")
    assert "Mean of the classes" not in capsys.readouterr().out
