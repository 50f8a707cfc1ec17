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
from tuner.terminal.winner import winner_lines

TRIAL = TrialRecord(3, None, 0, 0, {}, COMPLETED, 5, None, (RungRecord(0, 2, 0.9, 1.0),))
ACCESS = {
    "run": "first",
    "trial": "0003",
    "when": "2026-01-02T03:04:05+00:00",
    "shared": 84,
    "of": 84,
}


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
    values = {f"hyperparameter {number}": 0.1 for number in range(7)}
    return Winner(
        trial=dataclasses.replace(TRIAL, hyperparameters=values),
        preferred="best",
        classes=4,
        validation_accuracy=0.91,
        validation_balanced_accuracy=0.71,
        validation_majority_rate=0.48,
        test_images=84,
        test_accuracy=float(right.mean()),
        test_balanced_accuracy=0.7,
        test_accuracy_interval=share_interval(int(right.sum()), 84),
        majority_rate=0.5,
        selection_bias=SelectionBias(60, 0.91, 0.874),
        baselines=(
            compare("plain head", right, np.roll(right, 1), trial=0),
            compare("logistic regression", right, labels == 0),
        ),
        left_out=(),
        leaked=Leaked(0, 84),
        accesses=(ACCESS,),
        details=details_of(probabilities, Dataset(Path(), names, tuple(files))),
    )


WINNER = dataclasses.replace(
    scored_winner(),
    trial=TRIAL,
    test_accuracy=0.9,
    test_images=120,
    test_accuracy_interval=(0.82, 0.95),
    selection_bias=None,
    leaked=Leaked(0, 120),
)
TEST = [
    "Test accuracy         90.0 % of 120 images that took no part in the search",
    "  95 % interval       82.0 to 95.0 %",
]
CHANCE = ["Always answering the most frequent class: 50.0 % (test), 48.0 % (validation)"]
BALANCED = [
    "Mean of the classes   70.0 % (test), 71.0 % (validation), which chose it",
    "Always answering the most frequent class: 25.0 % (mean of the classes)",
]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("val_accuracy", ["Validation accuracy   91.0 %, which chose it", *CHANCE]),
        ("val_loss", ["Validation accuracy   91.0 %", *CHANCE]),
        ("val_balanced_accuracy", ["Validation accuracy   91.0 %", *CHANCE, *BALANCED]),
    ],
)
def test_the_accuracies_of_a_winner(objective: str, expected: list[str]) -> None:
    lines = winner_lines(WINNER, objective)
    head = ["Winner: trial 0003, 2 epochs", *TEST, *expected]
    assert lines[: len(head)] == head
    assert lines[len(head)].startswith("The search gained")


def test_a_winner_is_one_screen() -> None:
    lines = winner_lines(scored_winner(), "val_accuracy", details=True)
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "  bias-corrected      87.4 %: best of 60 trials, 3.6 points optimistic" in text
    assert "2 more classes with --json" in text
    assert "which may be chance. Take the simple one with --prefer simple." in " ".join(lines)
    assert "The test images were opened once, on 2026-01-02 for trial 0003." in text


def test_only_the_verdict_without_details() -> None:
    lines = winner_lines(scored_winner(), "val_accuracy")
    text = "\n".join(lines)
    assert "Take the simple one" in " ".join(lines)
    for detail in ("macro F1", "precision", "McNemar", "opened once"):
        assert detail not in text


def test_a_winner_without_selection_bias() -> None:
    winner = dataclasses.replace(WINNER, selection_bias=SelectionBias(3, 0.91, 0.91))
    assert "  bias-corrected      91.0 %: best of 3 trials, not optimistic" in winner_lines(
        winner, "val_accuracy"
    )


def test_a_leak_stands_below_the_test_accuracy() -> None:
    leak = Leaked(12, 120, 10, 3, 0.861, (0.785, 0.915))
    lines = winner_lines(dataclasses.replace(WINNER, leaked=leak), "val_accuracy", details=True)
    assert "took no part" not in "".join(lines)
    assert max(map(len, lines)) <= 80
    start = lines.index("Test accuracy         90.0 % of 120 images")
    assert " ".join(line.strip() for line in lines[start + 2 : start + 5]) == leak.sentence


def test_a_skipped_baseline_is_named() -> None:
    reason = "the weights of trial 0000 are gone from /a/folder/with/a/long/name/runs/first/trials."
    winner = dataclasses.replace(scored_winner(), left_out=(LeftOut("plain head", reason),))
    lines = winner_lines(winner, "val_accuracy", details=True)
    assert max(map(len, lines)) <= 80
    assert f"skipped: plain head, {reason}" in " ".join(line.strip() for line in lines)
    assert winner.to_json()["left_out"][0]["reason"] == reason


def test_names_from_a_disk_are_text() -> None:
    scored = scored_winner()
    rows = [row | {"class": "\x1b[31mred"} for row in scored.details["per_class"]]
    winner = dataclasses.replace(
        scored,
        details={**scored.details, "per_class": rows},
        left_out=(LeftOut("logistic regression", "\x1b[2J.png cannot be read."),),
    )
    assert "\x1b" not in "".join(winner_lines(winner, "val_accuracy", details=True))


def test_earlier_test_evaluations_are_counted() -> None:
    accesses = (ACCESS | {"run": "second", "shared": 83}, ACCESS)
    lines = winner_lines(dataclasses.replace(WINNER, accesses=accesses), "val_accuracy")
    assert max(map(len, lines)) <= 80
    said = " ".join(lines)
    assert "opened 2 times (runs: second, first)" in said
    assert "1 of these times shared 83 of the 84 images." in said


def test_the_row_of_a_winner_is_json() -> None:
    row = json.loads(json.dumps(scored_winner().to_json()))
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
