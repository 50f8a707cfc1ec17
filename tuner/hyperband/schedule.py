"""Hyperband: brackets, rungs, and which trial starts or is promoted next (`next_task`).

Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 18;
bracket sizes as in keras_tuner.Hyperband. All functions are pure: the next task depends on the
schedule and on the standing of each trial alone, so an interrupted search resumes exactly.
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
        start_epoch: epochs done before it.
        end_epoch: epochs done after it.
    """

    size: int
    start_epoch: int
    end_epoch: int


@dataclass(frozen=True)
class Bracket:
    """One successive-halving schedule.

    Attributes:
        number: of halvings; 0 trains every trial to the end.
        rungs: in order, each with fewer trials than the one before.
    """

    number: int
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class Schedule:
    """A whole search.

    Attributes:
        brackets: one Hyperband iteration, the most aggressive bracket first.
        iterations: how often the brackets are run, each time with new configurations.
        recipes: names of configurations that are trained first, outside the brackets.
    """

    brackets: tuple[Bracket, ...]
    iterations: int = 1
    recipes: tuple[str, ...] = ()

    @property
    def max_epochs(self) -> int:
        """Epochs of a trial that is never stopped."""
        return self.brackets[0].rungs[-1].end_epoch

    def rungs(self, bracket: int) -> tuple[Rung, ...]:
        """The rungs of a bracket, by its number."""
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
    """The rungs of one trial so far.

    Attributes:
        trial: its number.
        slot: (iteration, bracket number), or the name of its recipe.
        scores: one for each finished rung; higher is better.
        running: whether its next rung is in training.
        failed: whether it failed on its next rung.
    """

    trial: int
    slot: tuple[int, int] | str
    scores: tuple[float, ...] = ()
    running: bool = False
    failed: bool = False

    def entered(self, rung: int) -> bool:
        """Whether it has begun a rung, by the rung's number within the bracket."""
        begun = len(self.scores) + (self.running or self.failed)
        return begun > rung


@dataclass(frozen=True)
class Task:
    """The rung of a trial to train next.

    Attributes:
        slot: as in Standing.
        trial: number of the promoted trial, or None for a new configuration.
        rung: number of the rung within its bracket.
        start_epoch: epochs done before it.
        end_epoch: epochs done after it.
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
        max_epochs: epochs of a trial that reaches the last rung, at least 1.
        factor: each rung promotes about one trial in `factor`, at least 2.

    Example:
        >>> [rung.size for rung in hyperband(max_epochs=9, factor=3)[0].rungs]
        [9, 3, 1]
    """
    most = 0
    while factor ** (most + 1) <= max_epochs:
        most += 1
    return tuple(_bracket(number, max_epochs, factor) for number in range(most, -1, -1))


def largest_affordable(
    schedule: Schedule, factor: int, cost: Callable[[Schedule], float]
) -> Schedule:
    """The affordable schedule with the most epochs: fewer `max_epochs`, fewer brackets, or both.

    Between equal sums of epochs, the one with larger `max_epochs`.

    Args:
        schedule: the whole search.
        factor: of its brackets.
        cost: of a schedule, as a share of what can be spent: affordable up to 1.

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
    """The same search with other `max_epochs` and only its first brackets."""
    return replace(schedule, brackets=hyperband(max_epochs, factor)[:brackets])


def next_task(
    schedule: Schedule, standings: Sequence[Standing], exhausted: bool = False
) -> Task | Pause:
    """The next rung to train: recipes first, then bracket by bracket, rung by rung.

    Once every trial of a rung has a score, the best are promoted in order (`_bracket_task`). A
    trial that fails on its first rung is replaced by a new configuration, and one that fails later
    by the next best of the rung below, so that every rung has its full size. When the space has no
    configuration left, all trials of an unfilled bracket are trained to the end.

    Args:
        schedule: the search.
        standings: every trial that was ever begun.
        exhausted: whether every configuration of the space was tried.
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
    """The next rung of the leading trial, for when time suffices for it alone.

    The leader is the trial of the newest bracket with the most rungs, and the best of those. It is
    promoted even if the rung below is not complete.

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


def running_or_promotable(schedule: Schedule, standings: Sequence[Standing]) -> set[int]:
    """Numbers of the trials that are running or may still be promoted.

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
        # Where the space had too few configurations to fill a bracket, all of them are promoted.
        filled = sum(not other.failed or bool(other.scores) for other in beside)
        short = filled < rungs[0].size
        passed = sum(len(other.scores) > len(standing.scores) for other in beside)
        if above and (short or passed < above[0].size):
            found.add(standing.trial)
    return found


def interrupted_task(schedule: Schedule, standing: Standing) -> Task:
    """The rung that a trial was training when its process ended.

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
    """The bracket's next task: where promotion is decided.

    WAIT while a running trial can still change it; None when the bracket is done.
    """
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
            member for member in ranked if member.entered(number) and not _failed_on(member, number)
        ]
        if waiting and (keeps_all or len(inside) < rung.size):
            return _task(slot, waiting[0].trial, bracket.rungs, number)
    return None


def _task(slot: tuple[int, int], trial: int | None, rungs: Sequence[Rung], number: int) -> Task:
    return Task(slot, trial, number, rungs[number].start_epoch, rungs[number].end_epoch)


def _failed_on(member: Standing, rung: int) -> bool:
    """Whether the trial failed on a rung, by the rung's number."""
    return member.failed and len(member.scores) == rung
