"""The time left, told again of searches that were recorded, against the time that they took.

benchmarks/record_pace.py recorded them; no constant of the estimate was set by them. They were
recorded on a machine that was busy with other work, as a user's machine may be.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tuner.budget import TRIAL_SECONDS
from tuner.journal import STOPPED, RungRecord, TrialRecord
from tuner.remaining import Costs, seconds_left
from tuner.schedule import Schedule, Standing, hyperband

RECORDED = sorted((Path(__file__).parent / "data" / "pace").glob("*.json"))
_ERROR = 0.3


def name_of(path: Path) -> str:
    return path.stem


def test_there_are_recordings() -> None:
    assert RECORDED


@pytest.mark.parametrize("path", RECORDED, ids=name_of)
def test_from_a_quarter_on_the_end_is_told_within_30_percent_of_the_whole(path: Path) -> None:
    """Of the time that the search takes in all, which is what has passed and what is left."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    depths = {rung["hyperparameters"]["unfreeze_blocks"] for rung in recorded["rungs"]}
    assert len(depths) > 1
    whole = sum(rung["seconds"] for rung in recorded["rungs"])
    for passed, estimate in replayed(recorded):
        if passed >= whole / 4:
            assert abs(passed + estimate - whole) <= _ERROR * whole, (passed, estimate, whole)


def replayed(recorded: dict[str, Any]) -> list[tuple[float, float]]:
    """Seconds passed and seconds left by estimate, after each rung."""
    schedule = Schedule(
        hyperband(recorded["max_epochs"], recorded["factor"]),
        recorded["iterations"],
        tuple(recorded["recipes"]),
    )
    first = {rung["trial"]: rung for rung in reversed(recorded["rungs"])}
    expected = {
        json.dumps(rung["hyperparameters"]): rung["expected_epoch_seconds"]
        for rung in recorded["rungs"]
    }
    costs = Costs(lambda values: expected[json.dumps(values)], TRIAL_SECONDS)
    records: list[TrialRecord] = []
    passed, found = 0.0, []
    for rung in recorded["rungs"]:
        number, epochs = rung["trial"], rung["end_epoch"] - rung["start_epoch"]
        new = RungRecord(rung["start_epoch"], rung["end_epoch"], rung["score"], rung["seconds"])
        before = records[number].rungs if number < len(records) else ()
        records[number : number + 1] = [
            TrialRecord(
                number, rung["recipe"], rung["iteration"], rung["bracket"],
                rung["hyperparameters"], STOPPED, 1, None, (*before, new),
            )
        ]  # fmt: skip
        costs.note(number, rung["hyperparameters"], epochs, rung["seconds"])
        passed += rung["seconds"]
        standings = [
            Standing(
                each.id,
                each.recipe or (each.iteration or 0, each.bracket or 0),
                tuple(rung.score for rung in each.rungs),
            )
            for each in records
        ]
        left = seconds_left(
            schedule,
            standings,
            records,
            lambda trial: first[trial]["hyperparameters"] if trial in first else None,
            costs,
        )
        assert left is not None
        found.append((passed, left))
    return found
