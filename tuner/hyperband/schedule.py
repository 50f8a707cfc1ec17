"""Hyperband's arithmetic: brackets, rungs, and what is to be done next.

Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 18;
bracket sizes as in keras_tuner.Hyperband. Everything here is a pure function: what comes next
follows from the schedule and from how far each trial has come, and from nothing else, so that a
search that was interrupted goes on exactly as it would have.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True)
class Rung:
    """Trials that are trained from one epoch count to the next, and then compared.

    Attributes:
        size: number of trials.
        start_epoch: epochs they have behind them.
        end_epoch: epochs they have behind them afterwards.
    """

    size: int
    start_epoch: int
    end_epoch: int


@dataclass(frozen=True)
class Bracket:
    """One successive-halving schedule.

    Attributes:
        number: how many halvings it has; 0 trains everything to the end.
        rungs: from the widest to the longest.
    """

    number: int
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class Schedule:
    """A whole search.

    Attributes:
        brackets: one Hyperband iteration, the most aggressive bracket first.
        iterations: how often the brackets are run, each time with new configurations.
        recipes: names of the configurations that are trained first, outside the brackets.
    """

    brackets: tuple[Bracket, ...]
    iterations: int = 1
    recipes: tuple[str, ...] = ()

    @property
    def max_epochs(self) -> int:
        """Epochs of a trial that is never stopped."""
        return self.brackets[0].rungs[-1].end_epoch

    def rungs(self, bracket: int) -> tuple[Rung, ...]:
        """Those of the bracket of that number."""
        return next(each.rungs for each in self.brackets if each.number == bracket)

    @property
    def total_trials(self) -> int:
        """Configurations that the search tries, recipes included."""
        each = sum(bracket.rungs[0].size for bracket in self.brackets)
        return each * self.iterations + len(self.recipes)

    @property
    def total_epochs(self) -> int:
        """Epochs that the search trains, recipes included."""
        each = sum(
            rung.size * (rung.end_epoch - rung.start_epoch)
            for bracket in self.brackets
            for rung in bracket.rungs
        )
        return each * self.iterations + len(self.recipes) * self.max_epochs


@dataclass(frozen=True)
class Standing:
    """How far one trial has come.

    Attributes:
        trial: the trial's number.
        slot: (iteration, bracket number), or the name of the recipe that it trains.
        scores: score of each rung that it finished; higher is better.
        running: whether it is being trained on its next rung.
        failed: whether it failed on its next rung.
    """

    trial: int
    slot: tuple[int, int] | str
    scores: tuple[float, ...] = ()
    running: bool = False
    failed: bool = False

    def entered(self, rung: int) -> bool:
        """Whether it has begun the rung of that number."""
        begun = len(self.scores) + (self.running or self.failed)
        return begun > rung


@dataclass(frozen=True)
class Task:
    """What is to be trained next.

    Attributes:
        slot: as in Standing.
        trial: number of the trial that goes on, or None for a new configuration.
        rung: number of the rung within its bracket.
        start_epoch: epochs that the trial has behind it.
        end_epoch: epochs that it is to have behind it.
    """

    slot: tuple[int, int] | str
    trial: int | None
    rung: int
    start_epoch: int
    end_epoch: int


class Pause(Enum):
    """Why there is no task."""

    WAIT = "running trials must end before the next can be chosen"
    DONE = "the search is complete"


def hyperband(max_epochs: int, factor: int) -> tuple[Bracket, ...]:
    """The brackets of one Hyperband iteration, the most aggressive first.

    Args:
        max_epochs: epochs of the last rung of every bracket, at least 1.
        factor: each rung keeps about one trial in `factor`, at least 2.
    """
    most = 0
    while factor ** (most + 1) <= max_epochs:
        most += 1
    return tuple(_bracket(number, max_epochs, factor) for number in range(most, -1, -1))


def plan(schedule: Schedule, factor: int, cost: Callable[[Schedule], float]) -> Schedule:
    """The largest schedule of the same kind that is affordable.

    With fewer `max_epochs`, or without its last brackets, or both; of those that are affordable the
    one that trains the most epochs in all, and of such the one whose finalists train the longest.

    Args:
        schedule: the search as it was asked for.
        factor: of its brackets.
        cost: what a schedule costs as a share of what there is: affordable up to 1.

    Returns:
        The schedule; if none is affordable, one bracket of a single epoch.
    """
    candidates = [
        shortened(schedule, factor, max_epochs, count)
        for max_epochs in range(schedule.max_epochs, 0, -1)
        for count in range(len(hyperband(max_epochs, factor)), 0, -1)
    ]
    affordable = [candidate for candidate in candidates if cost(candidate) <= 1]
    return max(affordable, key=lambda s: s.total_epochs, default=candidates[-1])


def shortened(schedule: Schedule, factor: int, max_epochs: int, brackets: int) -> Schedule:
    """A schedule of the same kind with other `max_epochs` and only its first brackets."""
    return replace(schedule, brackets=hyperband(max_epochs, factor)[:brackets])


def next_task(
    schedule: Schedule, standings: Sequence[Standing], exhausted: bool = False
) -> Task | Pause:
    """Decides what is to be trained next.

    A trial that fails on its first rung is replaced by a new configuration, and one that fails
    later by the next best of the rung below, so that every rung has the size that the schedule
    says. When the space has no configuration left, a bracket that could not be filled trains what
    it has to the end.

    Args:
        schedule: the search.
        standings: every trial that was ever begun.
        exhausted: whether the space has no configuration left that was not tried.
    """
    begun = {standing.slot for standing in standings}
    for recipe in schedule.recipes:
        if recipe not in begun:
            return Task(recipe, None, 0, 0, schedule.max_epochs)
    for iteration in range(schedule.iterations):
        for bracket in schedule.brackets:
            slot = (iteration, bracket.number)
            members = [standing for standing in standings if standing.slot == slot]
            task = _bracket_task(bracket, slot, members, exhausted)
            if task is not None:
                return task
    running = any(standing.running for standing in standings)
    return Pause.WAIT if running else Pause.DONE


def closing_task(schedule: Schedule, standings: Sequence[Standing]) -> Task | Pause:
    """What is to be trained next when there is time for one more finalist alone.

    That is the trial of the newest bracket that has come furthest, the best of those, on its next
    rung; ahead of its turn, if the rung below is not complete.

    Args:
        schedule: the search.
        standings: every trial that was ever begun.
    """
    slots = [standing.slot for standing in standings if not isinstance(standing.slot, str)]
    if not slots:
        return Pause.DONE
    newest = slots[-1]
    rungs = schedule.rungs(newest[1])
    members = [s for s in standings if s.slot == newest and s.scores and not s.failed]
    leader = max(members, key=lambda member: (len(member.scores), member.scores[-1]), default=None)
    if leader is None or len(leader.scores) == len(rungs):
        return Pause.DONE
    return _task(newest, leader.trial, rungs, len(leader.scores))


def may_go_on(schedule: Schedule, standings: Sequence[Standing]) -> set[int]:
    """Numbers of the trials that can still be promoted, or are running.

    Args:
        schedule: the search.
        standings: every trial that was ever begun.
    """
    found = {standing.trial for standing in standings if standing.running}
    for standing in standings:
        if isinstance(standing.slot, str) or standing.failed or not standing.scores:
            continue
        rungs = schedule.rungs(standing.slot[1])
        above = rungs[len(standing.scores) :]
        beside = [other for other in standings if other.slot == standing.slot]
        # Where the space had too few configurations to fill a bracket, all of them go on.
        filled = sum(not other.failed or bool(other.scores) for other in beside)
        short = filled < rungs[0].size
        passed = sum(len(other.scores) > len(standing.scores) for other in beside)
        if above and (short or passed < above[0].size):
            found.add(standing.trial)
    return found


def unfinished_task(schedule: Schedule, standing: Standing) -> Task:
    """The rung that a trial was on when its process ended.

    Args:
        schedule: the search.
        standing: a trial that is running.
    """
    if isinstance(standing.slot, str):
        return Task(standing.slot, standing.trial, 0, 0, schedule.max_epochs)
    rungs = schedule.rungs(standing.slot[1])
    return _task(standing.slot, standing.trial, rungs, len(standing.scores))


def _bracket(number: int, max_epochs: int, factor: int) -> Bracket:
    # Each bracket gets about the same number of epochs: the sizes of keras_tuner.Hyperband.
    last_size = math.ceil(1 + math.log(max_epochs, factor)) / (number + 1)
    ends = [math.ceil(max_epochs / factor ** (number - rung)) for rung in range(number + 1)]
    return Bracket(
        number,
        tuple(
            Rung(math.ceil(last_size * factor ** (number - rung)), start, end)
            for rung, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
        ),
    )


def _bracket_task(
    bracket: Bracket, slot: tuple[int, int], members: Sequence[Standing], exhausted: bool
) -> Task | Pause | None:
    """The bracket's next task; WAIT while it cannot be known; None when the bracket is done."""
    filled = [member for member in members if not member.failed or member.scores]
    keeps_all = len(filled) < bracket.rungs[0].size
    if keeps_all and not exhausted:
        return _task(slot, None, bracket.rungs, 0)
    for number, rung in enumerate(bracket.rungs[1:], start=1):
        if any(member.running for member in members if len(member.scores) < number):
            return Pause.WAIT
        ranked = sorted(
            (member for member in members if len(member.scores) >= number),
            key=lambda member: (-member.scores[number - 1], member.trial),
        )
        waiting = [member for member in ranked if not member.entered(number)]
        inside = [
            member for member in ranked if member.entered(number) and not _fell(member, number)
        ]
        if waiting and (keeps_all or len(inside) < rung.size):
            return _task(slot, waiting[0].trial, bracket.rungs, number)
    return None


def _task(slot: tuple[int, int], trial: int | None, rungs: Sequence[Rung], number: int) -> Task:
    return Task(slot, trial, number, rungs[number].start_epoch, rungs[number].end_epoch)


def _fell(member: Standing, rung: int) -> bool:
    """Whether the trial failed on that rung."""
    return member.failed and len(member.scores) == rung
