"""The schedule's arithmetic against Keras Tuner's, and its decisions in simulated searches."""

import dataclasses
import random
from collections import Counter
from dataclasses import dataclass, field

import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.hyperband.schedule import (
    Pause,
    Rung,
    Schedule,
    Standing,
    Task,
    closing_task,
    hyperband,
    interrupted_task,
    largest_affordable,
    next_task,
    running_or_promotable,
    shortened,
)

Slot = tuple[int, int] | str


def figures(max_epochs: int) -> list[list[tuple[int, int, int]]]:
    """(trials, from epoch, to epoch) of each rung of each bracket, at factor 3."""
    return [
        [(rung.size, rung.start_epoch, rung.end_epoch) for rung in bracket.rungs]
        for bracket in hyperband(max_epochs, 3)
    ]


def test_the_schedule_of_10_epochs() -> None:
    assert figures(10) == [
        [(12, 0, 2), (4, 2, 4), (2, 4, 10)],
        [(6, 0, 4), (2, 4, 10)],
        [(4, 0, 10)],
    ]


def test_the_schedule_of_30_epochs() -> None:
    assert figures(30) == [
        [(34, 0, 2), (12, 2, 4), (4, 4, 10), (2, 10, 30)],
        [(15, 0, 4), (5, 4, 10), (2, 10, 30)],
        [(8, 0, 10), (3, 10, 30)],
        [(5, 0, 30)],
    ]


@pytest.mark.parametrize(
    ("max_epochs", "rungs", "epochs", "configurations"),
    [(10, 30, 120, 22), (30, 90, 576, 62), (100, 254, 2672, 172)],
)
def test_the_sizes_of_a_search(
    max_epochs: int, rungs: int, epochs: int, configurations: int
) -> None:
    schedule = Schedule(hyperband(max_epochs, 3))
    assert sum(rung.size for bracket in schedule.brackets for rung in bracket.rungs) == rungs
    assert schedule.total_epochs == epochs
    assert schedule.total_trials == configurations
    assert schedule.max_epochs == max_epochs


def test_iterations_multiply_the_brackets_and_recipes_are_added_once() -> None:
    schedule = Schedule(hyperband(10, 3), iterations=3, recipes=("a", "b"))
    assert schedule.total_trials == 3 * 22 + 2
    assert schedule.total_epochs == 3 * 120 + 2 * 10


@settings(deadline=None)
@given(max_epochs=st.integers(1, 200), factor=st.integers(2, 5))
def test_brackets_are_those_of_keras_tuner(max_epochs: int, factor: int) -> None:
    oracle = keras_tuner.oracles.HyperbandOracle(
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_epochs=max_epochs,
        factor=factor,
    )
    brackets = hyperband(max_epochs, factor)
    numbers = list(range(oracle._get_num_brackets()))
    assert [bracket.number for bracket in brackets] == numbers[::-1]
    for bracket in brackets:
        ends = [oracle._get_epochs(bracket.number, number) for number in range(bracket.number + 1)]
        sizes = [oracle._get_size(bracket.number, number) for number in range(bracket.number + 1)]
        assert bracket.rungs == tuple(map(Rung, sizes, [0, *ends], ends))
        assert ends[-1] == max_epochs


@dataclass
class Simulated:
    """One trial as the simulation sees it."""

    slot: Slot
    scores: list[float] = field(default_factory=list)
    entered: list[tuple[int, int, int]] = field(default_factory=list)  # rung, from, to epoch
    running: bool = True
    failed: bool = False

    @property
    def done(self) -> int:
        """Epochs behind it."""
        return self.entered[len(self.scores) - 1][2] if self.scores else 0


class Search:
    """Drives `next_task` with k workers, random results and random failures.

    What it knows about trials is kept apart from the Standings that it passes on, and every
    decision is checked as it is made.
    """

    def __init__(
        self,
        schedule: Schedule,
        seed: int,
        workers: int = 1,
        failure_rate: float = 0.0,
        configurations: float = float("inf"),
    ) -> None:
        self.schedule = schedule
        self.trials: list[Simulated] = []
        self.kept: set[int] = set()  # trials whose weights are there
        self.promoted_without_weights: list[int] = []
        self._random = random.Random(seed)
        self._workers = workers
        self._failure_rate = failure_rate
        self._configurations = configurations

    @property
    def exhausted(self) -> bool:
        return len(self.trials) >= self._configurations

    @property
    def running(self) -> list[int]:
        return [number for number, trial in enumerate(self.trials) if trial.running]

    def run(self) -> "Search":
        while (task := self.ask()) is not Pause.DONE:
            if isinstance(task, Task):
                self.start(task)
            else:
                assert self.running, "it waits, but nothing runs"
            full = len(self.running) == self._workers
            if self.running and (full or task is Pause.WAIT or self._random.random() < 0.3):
                self.end(self._random.choice(self.running))
        assert not self.running
        return self

    def standings(self) -> list[Standing]:
        standings = [
            Standing(number, trial.slot, tuple(trial.scores), trial.running, trial.failed)
            for number, trial in enumerate(self.trials)
        ]
        self._random.shuffle(standings)  # their order means nothing
        return standings

    def ask(self) -> Task | Pause:
        standings = self.standings()
        task = next_task(self.schedule, standings)
        draws = isinstance(task, Task) and task.trial is None and not isinstance(task.slot, str)
        return next_task(self.schedule, standings, True) if draws and self.exhausted else task

    def start(self, task: Task) -> None:
        if task.trial is None:
            assert task.rung == 0
            assert isinstance(task.slot, str) or not self.exhausted
            self.trials.append(Simulated(task.slot))
        else:
            self.check_promotion(task)
            if task.trial not in self.kept:
                self.promoted_without_weights.append(task.trial)
        trial = self.trials[-1 if task.trial is None else task.trial]
        assert task.slot == trial.slot
        assert task.start_epoch == trial.done < task.end_epoch
        trial.entered.append((task.rung, task.start_epoch, task.end_epoch))
        trial.running = True

    def check_promotion(self, task: Task) -> None:
        """It is the best of those that finished the rung below and were not promoted."""
        assert task.trial is not None
        members = self.members(task.slot)
        below = [number for number in members if len(self.trials[number].scores) >= task.rung]
        free = [number for number in below if len(self.trials[number].entered) == task.rung]
        best = max(self.trials[number].scores[task.rung - 1] for number in free)
        ties = [number for number in free if self.trials[number].scores[task.rung - 1] == best]
        assert task.trial == min(ties)
        unfinished = [
            number
            for number in members
            if self.trials[number].running and len(self.trials[number].scores) < task.rung
        ]
        assert not unfinished, "it compares before all have arrived"

    def end(self, number: int) -> None:
        trial = self.trials[number]
        trial.running = False
        if self._random.random() < self._failure_rate:
            trial.failed = True
        else:
            trial.scores.append(self._random.choice((0.0, 0.25, 0.5, 0.75, self._random.random())))
            self.kept.add(number)
        self.kept &= running_or_promotable(self.schedule, self.standings())

    def members(self, slot: Slot) -> list[int]:
        return [number for number, trial in enumerate(self.trials) if trial.slot == slot]

    def check_end(self) -> None:
        recipes = len(self.schedule.recipes)
        assert tuple(trial.slot for trial in self.trials[:recipes]) == self.schedule.recipes
        for trial in self.trials[:recipes]:
            assert trial.entered == [(0, 0, self.schedule.max_epochs)]
        slots = {trial.slot for trial in self.trials[recipes:]}
        expected = {
            (iteration, bracket.number)
            for iteration in range(self.schedule.iterations)
            for bracket in self.schedule.brackets
        }
        assert slots == expected or (self.exhausted and slots <= expected)
        for trial in self.trials:
            numbers, starts, ends = zip(*trial.entered, strict=True)
            assert numbers == tuple(range(len(numbers))), "a rung was skipped or trained twice"
            assert starts == (0, *ends[:-1]), "epochs are not contiguous"
            assert len(trial.scores) == len(numbers) - trial.failed
        for iteration, number in expected:
            self.check_bracket((iteration, number))

    def check_bracket(self, slot: tuple[int, int]) -> None:
        """Each rung has the scheduled size, unless no trial was left to fill it."""
        bracket = next(b for b in self.schedule.brackets if b.number == slot[1])
        members = [self.trials[number] for number in self.members(slot)]
        underfull = sum(bool(trial.scores) for trial in members) < bracket.rungs[0].size
        assert not underfull or self.exhausted
        for number, rung in enumerate(bracket.rungs):
            finished = sum(len(trial.scores) > number for trial in members)
            left = [t for t in members if len(t.scores) == number == len(t.entered)]
            if underfull:
                assert not number or not left, "a bracket that was not filled left one behind"
            elif number:
                assert finished == rung.size or (finished < rung.size and not left)
            else:
                assert finished == rung.size
            for trial in members:
                if len(trial.entered) > number:
                    assert trial.entered[number] == (number, rung.start_epoch, rung.end_epoch)


@settings(deadline=None, max_examples=150)
@given(
    max_epochs=st.integers(1, 40),
    factor=st.integers(2, 5),
    iterations=st.integers(1, 2),
    recipes=st.lists(st.sampled_from("abcd"), unique=True).map(tuple),
    workers=st.integers(1, 7),
    failure_rate=st.sampled_from([0.0, 0.0, 0.1, 0.4, 0.7]),
    configurations=st.one_of(st.just(float("inf")), st.integers(0, 60)),
    seed=st.integers(0, 2**32),
)
def test_any_search_keeps_to_its_schedule(
    max_epochs: int,
    factor: int,
    iterations: int,
    recipes: tuple[str, ...],
    workers: int,
    failure_rate: float,
    configurations: float,
    seed: int,
) -> None:
    schedule = Schedule(hyperband(max_epochs, factor), iterations, recipes)
    Search(schedule, seed, workers, failure_rate, configurations).run().check_end()


@settings(deadline=None, max_examples=50)
@given(
    max_epochs=st.integers(1, 30),
    factor=st.integers(2, 4),
    workers=st.integers(1, 5),
    failure_rate=st.sampled_from([0.0, 0.2, 0.5]),
    seed=st.integers(0, 2**32),
)
def test_every_promoted_trial_was_promotable_and_none_is_at_the_end(
    max_epochs: int, factor: int, workers: int, failure_rate: float, seed: int
) -> None:
    schedule = Schedule(hyperband(max_epochs, factor), recipes=("known",))
    search = Search(schedule, seed, workers, failure_rate).run()
    assert search.promoted_without_weights == []
    assert running_or_promotable(schedule, search.standings()) == set()


@pytest.mark.parametrize("configurations", [3, 6, 10, 15])
def test_every_promoted_trial_of_a_small_space_was_promotable(configurations: int) -> None:
    schedule = Schedule(hyperband(10, 3))
    search = Search(schedule, 0, configurations=configurations).run()
    assert search.promoted_without_weights == []
    assert running_or_promotable(schedule, search.standings()) == set()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), workers=st.integers(1, 9))
def test_without_failures_every_rung_has_exactly_its_size(seed: int, workers: int) -> None:
    schedule = Schedule(hyperband(30, 3), recipes=("known",))
    search = Search(schedule, seed, workers).run()
    entered = Counter((trial.slot, rung) for trial in search.trials for rung, _, _ in trial.entered)
    assert entered == {("known", 0): 1} | {
        ((0, bracket.number), number): rung.size
        for bracket in schedule.brackets
        for number, rung in enumerate(bracket.rungs)
    }
    spent = sum(trial.done for trial in search.trials)
    assert (len(search.trials), spent) == (schedule.total_trials, schedule.total_epochs)


@pytest.mark.parametrize("configurations", [1, 3, 6])
def test_a_space_smaller_than_the_first_bracket_is_trained_to_the_end(configurations: int) -> None:
    search = Search(Schedule(hyperband(10, 3)), 0, configurations=configurations).run()
    assert [trial.done for trial in search.trials] == [10] * configurations
    assert {trial.slot for trial in search.trials} == {(0, 2)}


def test_a_failed_first_rung_is_replaced_by_a_new_configuration() -> None:
    # 12 trials in the first rung, of which 4 failed: Keras Tuner ends the bracket here.
    standings = [Standing(n, (0, 2), () if n < 4 else (0.1 * n,), failed=n < 4) for n in range(12)]
    schedule = Schedule(hyperband(10, 3))
    assert next_task(schedule, standings) == Task((0, 2), None, 0, 0, 2)
    replaced = [*standings, *(Standing(n, (0, 2), (0.0,)) for n in range(12, 16))]
    assert next_task(schedule, replaced) == Task((0, 2), 11, 1, 2, 4)


def test_a_failure_in_a_later_rung_promotes_the_next_best() -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    standings = [Standing(n, (0, 1), (s,)) for n, s in enumerate(scores)]
    standings[5] = Standing(5, (0, 1), (0.6,), failed=True)
    standings[4] = Standing(4, (0, 1), (0.5, 0.1))
    schedule = Schedule(hyperband(10, 3)[1:])
    assert next_task(schedule, standings) == Task((0, 1), 3, 1, 4, 10)


def test_a_tie_promotes_the_earlier_trial() -> None:
    standings = [Standing(n, (0, 1), (0.5,)) for n in reversed(range(6))]
    assert next_task(Schedule(hyperband(10, 3)[1:]), standings) == Task((0, 1), 0, 1, 4, 10)


def test_a_promotion_waits_for_the_last_of_the_rung() -> None:
    standings = [Standing(n, (0, 1), (1.0,)) for n in range(5)]
    running = Standing(5, (0, 1), running=True)
    assert next_task(Schedule(hyperband(10, 3)[1:]), [*standings, running]) is Pause.WAIT


def test_a_failed_recipe_is_not_tried_again() -> None:
    schedule = Schedule(hyperband(10, 3), recipes=("a", "b"))
    assert next_task(schedule, []) == Task("a", None, 0, 0, 10)
    failed = Standing(0, "a", failed=True)
    assert next_task(schedule, [failed]) == Task("b", None, 0, 0, 10)
    running = Standing(1, "b", running=True)
    assert next_task(schedule, [failed, running]) == Task((0, 2), None, 0, 0, 2)


def test_the_end_waits_for_a_running_trial() -> None:
    schedule = Schedule(hyperband(1, 3))
    size = schedule.brackets[0].rungs[0].size
    done = [Standing(n, (0, 0), (0.5,)) for n in range(size - 1)]
    last = Standing(size - 1, (0, 0), running=True)
    assert next_task(schedule, [*done, last]) is Pause.WAIT
    assert next_task(schedule, [*done, Standing(size - 1, (0, 0), (0.5,))]) is Pause.DONE


# A schedule that fits


@settings(deadline=None, max_examples=60)
@given(
    max_epochs=st.integers(1, 40),
    factor=st.integers(2, 4),
    iterations=st.integers(1, 2),
    recipes=st.sampled_from([(), ("a",), ("a", "b")]),
    affordable=st.floats(0.5, 3000),
    trial_cost=st.sampled_from([0.0, 1.0, 20.0]),
)
def test_the_largest_affordable_schedule_trains_the_most_epochs(
    max_epochs: int,
    factor: int,
    iterations: int,
    recipes: tuple[str, ...],
    affordable: float,
    trial_cost: float,
) -> None:
    full = Schedule(hyperband(max_epochs, factor), iterations, recipes)

    def cost(schedule: Schedule) -> float:
        return (schedule.total_epochs + trial_cost * schedule.total_trials) / affordable

    planned = largest_affordable(full, factor, cost)
    assert (planned.iterations, planned.recipes) == (iterations, recipes)
    choices = [
        shortened(full, factor, epochs, count)
        for epochs in range(1, max_epochs + 1)
        for count in range(1, len(hyperband(epochs, factor)) + 1)
    ]
    assert planned in choices
    fitting = [choice for choice in choices if cost(choice) <= 1]
    if fitting:
        assert cost(planned) <= 1
        assert planned.total_epochs == max(choice.total_epochs for choice in fitting)
    else:
        assert (planned.max_epochs, len(planned.brackets)) == (1, 1)


def test_an_affordable_schedule_is_not_shortened() -> None:
    full = Schedule(hyperband(30, 3), 2, ("a",))
    assert (
        largest_affordable(full, 3, lambda schedule: schedule.total_epochs / full.total_epochs)
        == full
    )


def test_between_equal_sums_of_epochs_longer_trials_are_planned() -> None:
    full = Schedule(hyperband(10, 3))
    planned = largest_affordable(
        full, 3, lambda schedule: 0.0 if schedule.max_epochs in (4, 5) else 2.0
    )
    totals = {n: shortened(full, 3, n, 2).total_epochs for n in (4, 5)}
    assert planned.max_epochs == max(totals, key=lambda n: (totals[n], n))


def test_a_shortened_schedule_keeps_its_first_brackets() -> None:
    full = Schedule(hyperband(30, 3), 2, ("a",))
    short = shortened(full, 3, 10, 2)
    assert short == dataclasses.replace(full, brackets=hyperband(10, 3)[:2])
    assert [bracket.number for bracket in short.brackets] == [2, 1]


# The last task when time is short


CLOSING = Schedule(hyperband(10, 3), recipes=("known",))


def test_the_leader_of_the_newest_bracket_is_promoted() -> None:
    standings = [
        Standing(0, "known", (0.99,)),
        Standing(1, (0, 2), (0.9, 0.9, 0.9)),
        Standing(2, (0, 1), (0.2,)),
        Standing(3, (0, 1), (0.6,)),
        Standing(4, (0, 1), running=True),
    ]
    # ahead of its turn: only two of six have finished the rung below
    assert closing_task(CLOSING, standings) == Task((0, 1), 3, 1, 4, 10)


def test_the_trial_with_the_most_rungs_leads() -> None:
    standings = [Standing(0, (0, 2), (0.9,)), Standing(1, (0, 2), (0.2, 0.1))]
    assert closing_task(CLOSING, standings) == Task((0, 2), 1, 2, 4, 10)


def test_a_running_leader_continues_its_rung() -> None:
    standings = [Standing(0, (0, 2), (0.9,), running=True), Standing(1, (0, 2), (0.2,))]
    assert closing_task(CLOSING, standings) == Task((0, 2), 0, 1, 2, 4)


def test_a_failed_leader_is_replaced_by_the_next() -> None:
    standings = [Standing(0, (0, 2), (0.9,), failed=True), Standing(1, (0, 2), (0.2,))]
    assert closing_task(CLOSING, standings) == Task((0, 2), 1, 1, 2, 4)


@pytest.mark.parametrize(
    "standings",
    [
        [],
        [Standing(0, "known", (0.9,))],
        [Standing(0, (0, 2), running=True)],
        [Standing(0, (0, 2), failed=True)],
        [Standing(0, (0, 2), (0.1, 0.1, 0.1)), Standing(1, (0, 2), (0.9, 0.9))],
        [Standing(0, (0, 2), (0.1,)), Standing(1, (0, 1), running=True)],
    ],
    ids=["nothing", "a recipe", "no score", "a failure", "a finalist", "a new bracket"],
)
def test_no_trial_leads(standings: list[Standing]) -> None:
    assert closing_task(CLOSING, standings) is Pause.DONE


@settings(deadline=None, max_examples=80)
@given(
    max_epochs=st.integers(1, 30),
    factor=st.integers(2, 4),
    trained=st.integers(1, 40),
    failure_rate=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32),
)
def test_closing_trains_the_leader_to_the_end_and_the_schedule_still_holds(
    max_epochs: int, factor: int, trained: int, failure_rate: float, seed: int
) -> None:
    schedule = Schedule(hyperband(max_epochs, factor))
    search = Search(schedule, seed, failure_rate=failure_rate)
    for _ in range(trained):
        task = search.ask()
        if not isinstance(task, Task):
            break
        search.start(task)
        search.end(search.running[0])
    newest = search.trials[-1].slot
    could = any(t.slot == newest and t.scores and not t.failed for t in search.trials)
    spent = 0
    while isinstance(task := closing_task(schedule, sorted_standings(search)), Task):
        trial = search.trials[task.trial or 0]
        assert trial.done == task.start_epoch
        trial.entered.append((task.rung, task.start_epoch, task.end_epoch))
        trial.scores.append(0.5)
        spent += task.end_epoch - task.start_epoch
    assert spent <= max_epochs
    if could:
        assert any(t.slot == newest and t.done == max_epochs for t in search.trials)
    search.kept = set(range(len(search.trials)))
    # With a larger budget every rung still gets its size.
    while isinstance(task := search.ask(), Task):
        if task.trial is None:
            search.trials.append(Simulated(task.slot))
        trial = search.trials[-1 if task.trial is None else task.trial]
        trial.entered.append((task.rung, task.start_epoch, task.end_epoch))
        trial.scores.append(0.25)
        trial.running = False
    search.check_end()


def sorted_standings(search: Search) -> list[Standing]:
    """In the order in which they began, as a journal gives them."""
    return sorted(search.standings(), key=lambda standing: standing.trial)


# What was being trained


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (Standing(5, "known", running=True), Task("known", 5, 0, 0, 10)),
        (Standing(0, (0, 2), running=True), Task((0, 2), 0, 0, 0, 2)),
        (Standing(3, (1, 2), (0.5,), running=True), Task((1, 2), 3, 1, 2, 4)),
        (Standing(3, (0, 2), (0.5, 0.6), running=True), Task((0, 2), 3, 2, 4, 10)),
        (Standing(1, (0, 0), running=True), Task((0, 0), 1, 0, 0, 10)),
    ],
)
def test_an_interrupted_trial_repeats_its_rung(standing: Standing, expected: Task) -> None:
    assert interrupted_task(CLOSING, standing) == expected


@settings(deadline=None, max_examples=40)
@given(max_epochs=st.integers(1, 30), factor=st.integers(2, 4), seed=st.integers(0, 2**32))
def test_the_interrupted_task_is_the_one_that_was_returned(
    max_epochs: int, factor: int, seed: int
) -> None:
    schedule = Schedule(hyperband(max_epochs, factor), recipes=("known",))
    search = Search(schedule, seed, failure_rate=0.2)
    while isinstance(task := search.ask(), Task):
        search.start(task)
        (running,) = search.running
        standing = next(s for s in search.standings() if s.trial == running)
        assert interrupted_task(schedule, standing) == dataclasses.replace(task, trial=running)
        search.end(running)
