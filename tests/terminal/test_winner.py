"""What `tune best` prints of a winner: each accuracy beside what chance would score."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tuner.data.dataset import Dataset, ImageFile
from tuner.evaluate.baselines import LeftOut, compare
from tuner.evaluate.evaluation import Winner
from tuner.evaluate.held_out import details_of
from tuner.evaluate.leaked_images import Leaked
from tuner.evaluate.selection_bias import SelectionBias
from tuner.export.files import Calibration
from tuner.metrics.intervals import share_interval
from tuner.runs.records import COMPLETED, RungRecord, TrialRecord
from tuner.terminal.winner import print_winner, winner_row

TRIAL = TrialRecord(3, None, 0, 0, {}, COMPLETED, 5, None, (RungRecord(0, 2, 0.9, 1.0),))
WINNER = Winner(TRIAL, 0.91, 0.9, 120, 0.5, 0.48, 4, 0.71, 0.7)
LOOK = {
    "run": "first", "trial": "0003", "when": "2026-01-02T03:04:05+00:00", "shared": 84, "of": 84
}  # fmt: skip
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


def scored_winner() -> Winner:
    """A winner with all that is known of the test images, of seven classes with long names."""
    random = np.random.default_rng(0)
    names = tuple(f"a class with a very long name, number {number}" for number in range(7))
    labels = np.repeat(np.arange(7), 12)
    files = [
        ImageFile(f"{row:03}.png", names[label], "test", f"{row:03}")
        for row, label in enumerate(labels)
    ]
    probabilities = random.dirichlet(np.ones(7), 84) + 0.2 * np.eye(7)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    right = probabilities.argmax(axis=1) == labels
    details = details_of(probabilities, Dataset(Path(), names, tuple(files)))
    baselines = (
        compare("plain head", right, np.roll(right, 1), trial=0),
        compare("logistic regression", right, labels == 0),
    )
    values = {f"hyperparameter {number}": 0.1 for number in range(7)}
    return dataclasses.replace(
        WINNER,
        trial=dataclasses.replace(TRIAL, hyperparameters=values),
        test_accuracy=float(right.mean()),
        test_images=84,
        test_accuracy_interval=share_interval(int(right.sum()), 84),
        selection_bias=SelectionBias(60, 0.91, 0.874),
        baselines=baselines,
        details=details,
        accesses=(LOOK,),
    )


def test_a_winner_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    print_winner(scored_winner(), "val_accuracy")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "  bias-corrected      87.4 %: best of 60 trials, 3.6 points optimistic" in text
    assert "%: too few images to say more" in text
    assert "2 more classes with --json" in text
    assert "nothing that can be told from chance. Take the simple one." in " ".join(lines)
    assert "The test images were opened once, on 2026-01-02 for trial 0003." in text


def test_a_winner_without_selection_bias(capsys: pytest.CaptureFixture[str]) -> None:
    print_winner(
        dataclasses.replace(WINNER, selection_bias=SelectionBias(3, 0.91, 0.91)), "val_accuracy"
    )
    text = capsys.readouterr().out
    assert "  bias-corrected      91.0 %: best of 3 trials, not optimistic\n" in text


def test_a_leak_stands_below_the_test_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    leak = Leaked(12, 120, 10, 3, 0.861, (0.785, 0.915))
    print_winner(dataclasses.replace(WINNER, leaked=leak), "val_accuracy")
    lines = capsys.readouterr().out.splitlines()
    assert "took no part" not in "".join(lines)
    assert max(map(len, lines)) <= 80
    start = lines.index("Test accuracy         90.0 % of 120 images")
    assert " ".join(line.strip() for line in lines[start + 1 : start + 4]) == leak.sentence
    print_winner(dataclasses.replace(WINNER, leaked=Leaked(0, 120)), "val_accuracy")
    assert "took no part" in capsys.readouterr().out


def test_a_skipped_baseline_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "the weights of trial 0000 are gone from /a/folder/with/a/long/name/runs/first/trials."
    winner = dataclasses.replace(scored_winner(), left_out=(LeftOut("plain head", reason),))
    print_winner(winner, "val_accuracy")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert f"skipped: plain head, {reason}" in " ".join(line.strip() for line in lines)
    assert winner_row(winner)["left_out"][0]["reason"] == reason


def test_names_from_a_disk_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    scored = scored_winner()
    rows = [row | {"class": "\x1b[31mred"} for row in scored.details["per_class"]]
    winner = dataclasses.replace(
        scored,
        details={**scored.details, "per_class": rows},
        left_out=(LeftOut("logistic regression", "\x1b[2J.png cannot be read."),),
    )
    print_winner(winner, "val_accuracy")
    assert "\x1b" not in capsys.readouterr().out


def test_earlier_test_evaluations_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    accesses = (LOOK | {"run": "second", "shared": 83}, LOOK)
    print_winner(dataclasses.replace(WINNER, accesses=accesses), "val_accuracy")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(lines)
    assert "opened 2 times (runs: second, first)" in said
    assert "1 of these times shared 83 of the 84 images." in said


def test_the_row_of_a_winner_is_json() -> None:
    row = json.loads(json.dumps(winner_row(scored_winner())))
    low, high = row["test_accuracy_interval"]
    assert low < row["test_accuracy"] < high
    assert row["luck"]["flattery"] == pytest.approx(0.036)
    assert [each["name"] for each in row["opponents"]] == ["plain head", "logistic regression"]
    assert len(row["per_class"]) == 7
    assert row["test_balanced_accuracy"] == 0.7
    assert row["test_scores"]["macro_f1"] > 0


def test_a_calibration_that_did_not_help_is_reported() -> None:
    for temperature, after, rose in ((None, 0.05, False), (1.2, 0.04, False), (1.2, 0.06, True)):
        warning = Calibration(temperature, 0.05, after).warning
        assert (warning is not None and "rose" in warning) == rose
