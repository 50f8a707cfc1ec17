"""Replays of recorded searches: the time left as estimated, against the time that they took.

benchmarks/record_pace.py recorded them: the recipes and the first one to three brackets of real
searches, over heads alone and up to three unfrozen blocks. No constant of the estimate was tuned on
them.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.repository import ROOT
from tuner.hyperband.expected_work import Work, expected_work, without_epochs
from tuner.hyperband.schedule import Schedule, Standing, hyperband
from tuner.hyperband.time_left import RungCosts

RECORDED = {path.stem: path for path in (ROOT / "tests" / "support" / "pace").glob("*.json")}


class Replay:
    """A recorded search.

    Args:
        recorded: a file of benchmarks/record_pace.py.
        clock: "" for wall time, "processor_" for the processor's.
    """

    def __init__(self, recorded: dict[str, Any], clock: str) -> None:
        brackets = hyperband(recorded["max_epochs"], recorded["factor"])
        brackets = brackets[: recorded["brackets"]]  # as many as a time budget had left
        recipes = tuple(recorded["recipes"])
        self._schedule = Schedule(brackets, recorded["iterations"], recipes)
        self.rungs, self._clock = recorded["rungs"], clock
        self._first = {rung["trial"]: rung for rung in reversed(self.rungs)}
        expected = {
            json.dumps(rung["hyperparameters"]): rung["expected_epoch_seconds"]
            for rung in self.rungs
        }
        self._costs = RungCosts(
            lambda trial: self._first[trial]["hyperparameters"],
            lambda values: expected[json.dumps(values)],
        )
        self._standings: list[Standing] = []
        self.whole = sum(rung[f"{clock}seconds"] for rung in self.rungs)

    def moments(self) -> Iterator[tuple[float, float]]:
        """Seconds passed, and seconds left by estimate, after each epoch and each rung."""
        passed = 0.0
        for rung in self.rungs:
            number, start, end = rung["trial"], rung["start_epoch"], rung["end_epoch"]
            seconds, ends = rung[f"{self._clock}seconds"], rung[f"{self._clock}epoch_ends"]
            before = self._standings[number].scores if number < len(self._standings) else ()
            self._put(rung, before)
            work = self._work()
            for epochs, passed_here in enumerate(ends, start=1):
                self._costs.note(number, epochs, passed_here, passed_here - ends[0], running=True)
                yield passed + passed_here, self._left(without_epochs(work, number, epochs))
            self._put(rung, (*before, rung["score"]))
            self._costs.note(number, end - start, seconds, ends[-1] - ends[0])
            passed += seconds
            yield passed, self._left(self._work())

    def _put(self, rung: dict[str, Any], scores: tuple[float, ...]) -> None:
        number = rung["trial"]
        slot = rung["recipe"] or (rung["iteration"] or 0, rung["bracket"] or 0)
        self._standings[number : number + 1] = [Standing(number, slot, scores)]

    def _work(self) -> dict[int, Work]:
        return expected_work(self._schedule, self._standings)

    def _left(self, work: dict[int, Work]) -> float:
        left = self._costs.seconds(work)
        assert left is not None
        return left


def late_moments(
    name: str, clock: str, brackets: int | None = None
) -> tuple[float, list[tuple[float, float]]]:
    """Seconds of a whole search, and its moments from a quarter of them on."""
    recorded = json.loads(RECORDED[name].read_text(encoding="utf-8"))
    replay = Replay(recorded if brackets is None else shortened(recorded, brackets), clock)
    depths = {rung["hyperparameters"]["unfreeze_blocks"] for rung in replay.rungs}
    assert {0, 1, 2, 3} <= depths
    moments = [moment for moment in replay.moments() if moment[0] >= replay.whole / 4]
    assert len(moments) > 20
    return replay.whole, moments


def shortened(recorded: dict[str, Any], brackets: int) -> dict[str, Any]:
    """The search as it would have been with the first of its brackets alone."""
    kept = {
        each.number for each in hyperband(recorded["max_epochs"], recorded["factor"])[:brackets]
    }
    rungs = [rung for rung in recorded["rungs"] if rung["recipe"] or rung["bracket"] in kept]
    return recorded | {"brackets": brackets, "rungs": rungs}


# `beside`: tolerance besides 30 % of the time left, as a share of the whole search, for its end.
@pytest.mark.parametrize(
    ("name", "brackets", "beside"),
    [("emojis", 1, 0.01), ("quiet", 3, 0.01), ("digits", 2, 0.01), ("digits", 1, 0.06)],
)
def test_after_a_quarter_the_time_left_is_within_30_percent(
    name: str, brackets: int, beside: float
) -> None:
    """By the processor's clock, which other programs on the machine hardly affect.

    The digits have a larger tolerance where their search is cut off after a bracket: at two thirds
    of it, a trial of three unfrozen blocks led one of a single block without a score, and which of
    them is promoted, at twice the cost, is unknown.

    Nothing was tuned on the emojis and the quiet ones. No constant was tuned on the digits, but
    they showed that a rung's leader is more likely to be promoted.
    """
    whole, moments = late_moments(name, "processor_", brackets)
    for passed, estimate in moments:
        left = whole - passed
        assert abs(estimate - left) <= 0.3 * left + beside * whole, (passed, estimate, left)


@pytest.mark.parametrize(("brackets", "beside"), [(3, 0.01), (2, 0.01), (1, 0.02)])
def test_on_a_quiet_machine_it_is_so_by_the_wall_clock_too(brackets: int, beside: float) -> None:
    """Of all brackets, or the first ones, of a search on which nothing was tuned."""
    whole, moments = late_moments("quiet", "", brackets)
    for passed, estimate in moments:
        left = whole - passed
        assert abs(estimate - left) <= 0.3 * left + beside * whole, (passed, estimate, left)


@pytest.mark.parametrize("name", ["digits", "emojis"])
def test_on_a_busy_machine_the_end_is_within_30_percent_of_the_whole(
    name: str,
) -> None:
    """By the wall clock, while ever more other programs, up to twenty, shared two cores.

    What others will do is unknown: within 30 % of the time left does not hold here.
    """
    whole, moments = late_moments(name, "")
    for passed, estimate in moments:
        assert abs(passed + estimate - whole) <= 0.3 * whole, (passed, estimate, whole)
