"""How long a search will still take, from what each of its trials is expected to cost.

Which configurations are still to come is known, since they are drawn from the search's seed; which
are promoted is not, so that a rung's places are shared out among the trials that may get them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuner.hyperband.rung_costs import Costs
from tuner.hyperband.schedule import Bracket, Schedule, Standing
from tuner.runs.records import TrialRecord


@dataclass(frozen=True)
class Work:
    """What a trial is expected to be trained still.

    Attributes:
        trial: its number.
        hyperparameters: of the trial.
        epochs: expected number.
        rungs: expected number, of those that have not ended their first epoch.
    """

    trial: int
    hyperparameters: Mapping[str, Any]
    epochs: float
    rungs: float


def work_left(
    schedule: Schedule,
    standings: Sequence[Standing],
    records: Sequence[TrialRecord],
    upcoming: Callable[[int], Mapping[str, Any] | None],
) -> list[Work]:
    """What is left of a search between two rungs, or when one begins.

    Args:
        schedule: the search.
        standings: every trial that was begun.
        records: the same trials.
        upcoming: hyperparameters of the trial of a number that is not begun yet, recipes first;
            None where the space has none left.
    """
    found = []
    for trial, (epochs, rungs) in expected_work(schedule, standings).items():
        begun = trial < len(records)
        values = records[trial].hyperparameters if begun else upcoming(trial)
        if values is not None:
            found.append(Work(trial, values, epochs, rungs))
    return found


def without_epochs(work: Sequence[Work], trial: int, epochs: int) -> list[Work]:
    """What is left once a trial has so many epochs of its rung behind it, at least one."""
    return [
        replace(each, epochs=each.epochs - epochs, rungs=each.rungs - 1)
        if each.trial == trial
        else each
        for each in work
    ]


def seconds_left(work: Sequence[Work], costs: Costs) -> float | None:
    """Estimate of what some work takes; None where nothing is known of what an epoch costs."""
    total = 0.0
    for each in work:
        seconds = costs.seconds(each.trial, each.hyperparameters, each.epochs, each.rungs)
        if seconds is None:
            return None
        total += seconds
    return total


def expected_work(
    schedule: Schedule, standings: Sequence[Standing]
) -> dict[int, tuple[float, float]]:
    """Epochs and rungs that each trial is expected to be trained still, by its number.

    Args:
        schedule: the search.
        standings: every trial that was begun, number for number; those to come get the next.
    """
    work: dict[int, tuple[float, float]] = {}
    number = len(standings)
    begun = {standing.slot: standing for standing in standings}
    for recipe in schedule.recipes:
        standing = begun.get(recipe)
        if standing is None:
            work[number] = float(schedule.max_epochs), 1.0
            number += 1
        elif not standing.scores and not standing.failed:
            work[standing.trial] = float(schedule.max_epochs), 1.0
    for iteration in range(schedule.iterations):
        for bracket in schedule.brackets:
            slot = (iteration, bracket.number)
            members = [each for each in standings if each.slot == slot]
            filled = sum(bool(each.scores) or not each.failed for each in members)
            new = range(number, number + max(0, bracket.rungs[0].size - filled))
            number += len(new)
            work |= _bracket_work(bracket, members, new)
    return work


def _bracket_work(
    bracket: Bracket, members: Sequence[Standing], new: range
) -> dict[int, tuple[float, float]]:
    work: dict[int, tuple[float, float]] = {}
    by_number = {standing.trial: standing for standing in members}
    # How likely each trial is to be trained in the rung below.
    chances = dict.fromkeys([*by_number, *new], 1.0)
    for number, rung in enumerate(bracket.rungs):
        if number:
            chances = _promotions(number, rung.size, by_number, chances)
        for trial, chance in chances.items():
            standing = by_number.get(trial)
            finished = standing is not None and (len(standing.scores) > number or standing.failed)
            if chance and not finished:
                epochs, rungs = work.get(trial, (0.0, 0.0))
                length = rung.end_epoch - rung.start_epoch
                work[trial] = epochs + chance * length, rungs + chance
    return work


def _promotions(
    rung: int, size: int, by_number: Mapping[int, Standing], below: Mapping[int, float]
) -> dict[int, float]:
    """How likely each trial is to be trained in a rung, from how likely it is in the one below."""
    standings = by_number.values()
    entered = {each.trial for each in standings if each.entered(rung)}
    held = sum(len(each.scores) > rung or not each.failed for each in standings
               if each.trial in entered)  # fmt: skip
    places = max(0, size - held)
    waiting = {
        trial: chance for trial, chance in below.items()
        if chance and trial not in entered and not _is_out(by_number.get(trial))
    }  # fmt: skip
    total = sum(waiting.values())
    if total <= places:
        return dict.fromkeys(entered, 1.0) | waiting
    scored = {trial for trial in waiting if _has_scored(by_number.get(trial), rung)}
    best = sorted(scored, key=lambda trial: -by_number[trial].scores[-1])
    others = max(int(len(scored) < len(waiting)), round(total - len(scored)))
    chances = {
        trial: _stays_ahead(rank, len(scored), len(scored) + others, places)
        for rank, trial in enumerate(best, start=1)
    }
    # What is left of the places is shared out among those that have no score yet.
    share = (places - sum(chances.values())) / max(total - len(scored), 1e-9)
    return dict.fromkeys(entered, 1.0) | {
        trial: chances.get(trial, chance * share) for trial, chance in waiting.items()
    }


def _has_scored(standing: Standing | None, rung: int) -> bool:
    return standing is not None and len(standing.scores) == rung


def _stays_ahead(rank: int, scored: int, members: int, places: int) -> float:
    """How likely the one of a rank among those with a score is among the first of all members.

    Any order of the members is taken to be as likely as any other.
    """
    ways = sum(
        math.comb(final - 1, rank - 1) * math.comb(members - final, scored - rank)
        for final in range(rank, places + 1)
    )
    return ways / math.comb(members, scored)


def _is_out(standing: Standing | None) -> bool:
    return standing is not None and standing.failed
