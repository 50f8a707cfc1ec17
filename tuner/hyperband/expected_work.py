"""The training that each trial is expected to get still, by how likely it is to be promoted.

Which trials are promoted is not known before their rung is complete, so each has a probability.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import hypergeom

from tuner.hyperband.schedule import Bracket, Schedule, Standing


class Work(NamedTuple):
    """Training that a trial is expected to get.

    Attributes:
        epochs: expected number.
        rungs: expected number of rungs whose first epoch is still to come.
    """

    epochs: float
    rungs: float


def expected_work(schedule: Schedule, standings: Sequence[Standing]) -> dict[int, Work]:
    """The training that each trial is expected to get still, by its number.

    Args:
        schedule: the search.
        standings: every trial that was begun, in order; those to come get the next numbers.
    """
    work = {}
    new = itertools.count(len(standings))
    slots: dict[Any, dict[int, Standing]] = defaultdict(dict)
    for standing in standings:
        slots[standing.slot][standing.trial] = standing
    for recipe in schedule.recipes:
        begun = next(iter(slots[recipe].values()), None) or Standing(next(new), recipe)
        if not begun.scores and not begun.failed:
            work[begun.trial] = Work(schedule.max_epochs, 1)
    for iteration, bracket in itertools.product(range(schedule.iterations), schedule.brackets):
        work |= _bracket_work(bracket, iteration, slots[iteration, bracket.number], new)
    return work


def without_epochs(work: Mapping[int, Work], trial: int, epochs: int) -> dict[int, Work]:
    """What is left once a trial has trained `epochs` epochs of its rung, at least one."""
    left = work[trial]
    return {**work, trial: Work(left.epochs - epochs, left.rungs - 1)}


def _bracket_work(
    bracket: Bracket, iteration: int, begun: Mapping[int, Standing], new: Iterator[int]
) -> dict[int, Work]:
    filled = sum(bool(standing.scores) or not standing.failed for standing in begun.values())
    missing = itertools.islice(new, max(0, bracket.rungs[0].size - filled))
    members = {**begun, **{n: Standing(n, (iteration, bracket.number)) for n in missing}}
    work = dict.fromkeys(members, Work(0.0, 0.0))
    reached = dict.fromkeys(members, 1.0)
    for number, rung in enumerate(bracket.rungs):
        if number:
            reached = _promoted(number, rung.size, members, reached)
        for trial, probability in reached.items():
            if len(members[trial].scores) <= number and not members[trial].failed:
                epochs, rungs = work[trial]
                length = rung.end_epoch - rung.start_epoch
                work[trial] = Work(epochs + probability * length, rungs + probability)
    return {trial: left for trial, left in work.items() if left.rungs}


def _promoted(
    rung: int, size: int, members: Mapping[int, Standing], below: Mapping[int, float]
) -> dict[int, float]:
    """Probability of each trial to reach a rung, from that of the rung below.

    Any order of the members is taken to be equally likely, as far as their scores do not say more.
    """
    inside = {trial: 1.0 for trial in below if members[trial].entered(rung)}
    held = sum(len(members[trial].scores) > rung or not members[trial].failed for trial in inside)
    places = max(0, size - held)
    waiting = {
        trial: probability
        for trial, probability in below.items()
        if probability and trial not in inside and not members[trial].failed
    }
    expected = sum(waiting.values())
    if expected <= places:
        return inside | waiting
    scored = [trial for trial in waiting if len(members[trial].scores) == rung]
    scored.sort(key=lambda trial: -members[trial].scores[-1])
    unscored = expected - len(scored)
    rivals = len(scored) + max(int(len(scored) < len(waiting)), round(unscored))
    # The one of rank r is promoted if at least r of those with a score are among the best.
    stays = hypergeom.sf(np.arange(len(scored)), rivals, len(scored), places).tolist()
    share = (places - sum(stays)) / max(unscored, 1e-9)  # left to each trial without a score
    return (
        inside
        | {trial: probability * share for trial, probability in waiting.items()}
        | dict(zip(scored, stays, strict=True))
    )
