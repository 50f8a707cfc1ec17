"""Importance of hyperparameters whose effect is known."""

import dataclasses
from typing import Any

import numpy as np

from tuner.report.importance import EPOCHS, LEAST_TRIALS, importances
from tuner.runs.records import COMPLETED, FAILED, RungRecord, TrialRecord


def trial(number: int, score: float, epochs: int = 9, **values: Any) -> TrialRecord:
    rung = RungRecord(0, epochs, score, 1.0)
    return TrialRecord(number, None, 0, 1, values, COMPLETED, 1, None, (rung,))


def test_what_decides_the_score_comes_first() -> None:
    random = np.random.default_rng(0)
    trials = []
    for number in range(60):
        rate, drop = random.uniform(size=2)
        epochs = int(random.choice([1, 3, 9]))
        score = rate + 0.1 * drop + 0.3 * np.log(epochs)
        trials.append(
            trial(number, float(score), epochs, rate=float(rate), drop=float(drop), same=1)
        )
    found = importances(trials)
    assert found is not None
    assert {row.name for row in found.rows} == {"rate", "drop", EPOCHS}
    shares = {row.name: row.share for row in found.rows}
    assert shares["rate"] > 3 * shares["drop"]
    assert shares[EPOCHS] > 3 * shares["drop"]
    assert found.r2 > 0.6
    assert "can be trusted" in found.trust


def test_noise_is_not_to_be_trusted() -> None:
    random = np.random.default_rng(0)
    trials = [
        trial(number, float(random.normal()), rate=float(random.uniform())) for number in range(40)
    ]
    found = importances(trials)
    assert found is not None
    assert "do not draw conclusions" in found.trust


def test_few_trials_have_no_importances() -> None:
    few = [trial(number, float(number), rate=number) for number in range(LEAST_TRIALS - 1)]
    assert importances(few) is None
    failed = dataclasses.replace(trial(99, 1.0, rate=1), status=FAILED)
    assert importances([*few, failed]) is None
