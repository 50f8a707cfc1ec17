"""The Keras Tuner oracle: draws configurations and returns the trial to train next.

It has no state of its own. Which trial starts or is promoted follows from the journal
(`schedule.next_task`), and configuration n is drawn from (seed, n), so an interrupted search
resumes exactly. Keras Tuner makes a new trial for each rung; here a trial is one configuration,
and a promotion returns the same trial again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as kt_trial

from tuner.hyperband.schedule import (
    Pause,
    Schedule,
    Standing,
    Task,
    closing_task,
    hyperband,
    interrupted_task,
    next_task,
    running_or_promotable,
)
from tuner.metrics.objective import Objective
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.ranking import rank
from tuner.runs.records import FAILED, RUNNING, RungRecord, TrialRecord, trial_name

# Draws in a row that repeat earlier configurations, after which the space counts as exhausted.
_DRAWS = 2000


class JournalOracle(keras_tuner.oracles.HyperbandOracle):
    """Hyperband over a journal.

    Attributes:
        schedule: the whole search.
        whole: the search if no time budget shortens it.
        recipes: the configurations that are trained first, by name.
        omitted_recipes: names of the recipes that contradict a pinned hyperparameter.
        closing: whether only the leading trial is trained from now on (`schedule.closing_task`).

    Example:
        >>> oracle = JournalOracle(journal, declared_space(space), max_epochs=10)
        >>> trial = oracle.create_trial("tuner0")
        >>> trial.hyperparameters["tuner/epochs"]
        10
    """

    def __init__(
        self,
        journal: Journal,
        hyperparameters: keras_tuner.HyperParameters,
        *,
        objective: str = "val_accuracy",
        max_epochs: int = 30,
        factor: int = 3,
        iterations: int = 1,
        seed: int = 0,
        pinned: Mapping[str, Any] | None = None,
        recipes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            objective=keras_tuner.Objective(objective, Objective(objective).direction),
            max_epochs=max_epochs,
            factor=factor,
            hyperband_iterations=iterations,
            seed=seed,
            hyperparameters=hyperparameters,
        )
        self._journal = journal
        self.ongoing_trials: dict[str, kt_trial.Trial] = {}
        self._draw_seed = seed
        self._pinned = dict(pinned or {})
        recipes = recipes or {}
        self.omitted_recipes = tuple(name for name in recipes if self._contradicts(recipes[name]))
        self.recipes = {
            name: recipe for name, recipe in recipes.items() if name not in self.omitted_recipes
        }
        self.schedule = Schedule(hyperband(max_epochs, factor), iterations, tuple(self.recipes))
        self.whole = self.schedule
        self.closing = False

    def follow(self, schedule: Schedule) -> None:
        """Use another schedule, such as one that fits a time budget."""
        self.schedule = schedule
        self.max_epochs = schedule.max_epochs

    def records(self) -> list[TrialRecord]:
        """Every trial of the search, in the order of their numbers."""
        return self._journal.trials()

    def record(self, trial: int) -> TrialRecord:
        """The trial of that number."""
        return self._journal.trial(trial)

    def winner(self) -> TrialRecord | None:
        """The best trial so far, or None while no rung is finished."""
        return next(iter(rank(self.records(), self.objective.direction)), None)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> kt_trial.Trial:
        """Return the next rung to train: of a new, a promoted or an interrupted trial.

        Returns:
            A Keras Tuner trial; train it from epoch `tuner/initial_epoch` to `tuner/epochs` of its
            hyperparameters. Status IDLE: call again later; STOPPED: the search is complete.
        """
        task, values = self._next()
        if isinstance(task, Pause):
            idle = task is Pause.WAIT
            return kt_trial.Trial(
                self.hyperparameters.copy(),
                status=kt_trial.TrialStatus.IDLE if idle else kt_trial.TrialStatus.STOPPED,
            )
        return self._start(task, self._begin(task, values), tuner_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: kt_trial.Trial) -> None:
        """Mark a trial as failed, unless `finish_rung` has stored its result."""
        self.ongoing_trials = {
            tuner_id: ongoing
            for tuner_id, ongoing in self.ongoing_trials.items()
            if ongoing.trial_id != trial.trial_id
        }
        self.trials[trial.trial_id] = trial
        self.end_order.append(trial.trial_id)
        if trial.status != kt_trial.TrialStatus.COMPLETED:
            trial.status = kt_trial.TrialStatus.FAILED
            self._journal.fail(int(trial.trial_id), trial.message or "unknown")

    def finish_rung(
        self,
        trial: kt_trial.Trial,
        rung: RungRecord,
        epochs: Sequence[Mapping[str, float]],
        outcomes: Outcomes | None = None,
    ) -> None:
        """Store a trial's result at the end of a rung."""
        trial.score = rung.score
        trial.best_step = rung.end_epoch - 1
        completed = rung.end_epoch == self.max_epochs
        self._journal.finish_rung(
            int(trial.trial_id), rung, epochs, outcomes=outcomes, completed=completed
        )

    def standings(self, records: Sequence[TrialRecord]) -> list[Standing]:
        """The rungs and scores of trials, for the functions of `schedule`."""
        return [self._standing(record) for record in records]

    @property
    def complete(self) -> bool:
        """Whether nothing is left to train."""
        task, _ = self._scheduled(self.records())
        return task is Pause.DONE

    def leader(self) -> TrialRecord | None:
        """The trial to train to its last rung if time is short now, or None."""
        records = self.records()
        task = closing_task(self.schedule, self.standings(records))
        return None if isinstance(task, Pause) else records[task.trial or 0]

    def expected_epochs(self, name: str, choices: Sequence[Any]) -> dict[Any, float]:
        """Expected epochs of the whole search at each value of a hyperparameter."""
        drawn = [self._pinned[name]] if name in self._pinned else list(choices)
        recipes = [recipe[name] for recipe in self.recipes.values() if name in recipe]
        each = (self.schedule.total_epochs - len(recipes) * self.max_epochs) / len(drawn)
        epochs = dict.fromkeys(drawn, each)
        for value in recipes:
            epochs[value] = epochs.get(value, 0.0) + self.max_epochs
        return epochs

    def configuration(self, number: int) -> Mapping[str, Any]:
        """Hyperparameters of trial `number`, begun or still to come; recipes come first.

        One that is still to come changes in the end if another trial already has its values.
        """
        records = self.records()
        if number < len(records):
            return records[number].hyperparameters
        if number < len(self.recipes):
            return list(self.recipes.values())[number]
        return self._sample(np.random.default_rng((self._draw_seed, number)))

    def needed_checkpoints(self, keep: int) -> set[int]:
        """Numbers of the trials whose checkpoints may still be needed.

        Those are the best `keep`, the recipes, and all that are running or may be promoted.
        """
        records = self.records()
        best = rank(records, self.objective.direction)[: max(keep, 1)]
        recipes = [record for record in records if record.recipe]
        promotable = running_or_promotable(self.schedule, self.standings(records))
        return {record.id for record in (*best, *recipes)} | promotable

    def get_best_trials(self, num_trials: int = 1) -> list[kt_trial.Trial]:
        """The best trials that reached the highest rung that any trial completed, best first."""
        best = rank(self.records(), self.objective.direction)[:num_trials]
        return [self._keras_trial(record) for record in best]

    def save(self) -> None:
        """Do nothing: the journal is written with every change."""

    def reload(self) -> None:
        """Do nothing: the journal is read on every call."""

    def _contradicts(self, recipe: Mapping[str, Any]) -> bool:
        return any(recipe.get(name, value) != value for name, value in self._pinned.items())

    def _standing(self, record: TrialRecord) -> Standing:
        sign = 1.0 if self.objective.direction == "max" else -1.0
        return Standing(
            record.id,
            record.recipe or (record.iteration or 0, record.bracket or 0),
            tuple(sign * rung.score for rung in record.rungs),
            running=record.status == RUNNING,
            failed=record.status == FAILED,
        )

    def _next(self) -> tuple[Task | Pause, Mapping[str, Any]]:
        """The next task, with its hyperparameters."""
        records = self.records()
        standings = self.standings(records)
        closing = closing_task(self.schedule, standings) if self.closing else None
        task = closing or self._interrupted(standings)
        if task is None:
            return self._scheduled(records)
        return task, self._values(task, records) or {}

    def _scheduled(self, records: Sequence[TrialRecord]) -> tuple[Task | Pause, Mapping[str, Any]]:
        """The schedule's next task, without new configurations once the space is exhausted."""
        standings = self.standings(records)
        task = next_task(self.schedule, standings)
        values = self._values(task, records)
        if values is None:
            task = next_task(self.schedule, standings, exhausted=True)
            values = self._values(task, records)
        return task, values or {}

    def _interrupted(self, standings: Sequence[Standing]) -> Task | None:
        """The rung of a trial whose process ended while training it."""
        ongoing = {int(trial.trial_id) for trial in self.ongoing_trials.values()}
        for standing in standings:
            if standing.running and standing.trial not in ongoing:
                return interrupted_task(self.schedule, standing)
        return None

    def _values(
        self, task: Task | Pause, records: Sequence[TrialRecord]
    ) -> Mapping[str, Any] | None:
        """Hyperparameters of the task; None if it needs a new configuration and none is left."""
        if isinstance(task, Pause):
            return {}
        if task.trial is not None:
            return records[task.trial].hyperparameters
        if isinstance(task.slot, str):
            return self.recipes[task.slot]
        return self._draw(len(records), [record.hyperparameters for record in records])

    def _draw(self, number: int, tried: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Draw configuration number `number`, different from all tried ones."""
        random = np.random.default_rng((self._draw_seed, number))
        for _ in range(_DRAWS):
            values = self._sample(random)
            if values not in tried:
                return values
        return None

    def _sample(self, random: np.random.Generator) -> dict[str, Any]:
        """Draw the active hyperparameters, parents before children."""
        drawn = self.hyperparameters.copy()
        drawn.values = {}
        for declared in drawn.space:
            probability = random.random()
            if drawn.is_active(declared):
                value = self._pinned.get(declared.name, declared.prob_to_value(probability))
                drawn.values[declared.name] = value
        return drawn.values

    def _begin(self, task: Task, values: Mapping[str, Any]) -> TrialRecord:
        if task.trial is not None:
            return self._journal.promote(task.trial)
        if isinstance(task.slot, str):
            return self._journal.begin_trial(values, recipe=task.slot)
        return self._journal.begin_trial(values, slot=task.slot)

    def _start(self, task: Task, record: TrialRecord, tuner_id: str) -> kt_trial.Trial:
        trial = self._keras_trial(record)
        trial.hyperparameters.values |= {
            "tuner/initial_epoch": task.start_epoch,
            "tuner/epochs": task.end_epoch,
            "tuner/round": task.rung,
        }
        self.trials[trial.trial_id] = trial
        self.ongoing_trials[tuner_id] = trial
        self.start_order.append(trial.trial_id)
        return trial

    def _keras_trial(self, record: TrialRecord) -> kt_trial.Trial:
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = dict(record.hyperparameters)
        status = {RUNNING: kt_trial.TrialStatus.RUNNING, FAILED: kt_trial.TrialStatus.FAILED}
        trial = kt_trial.Trial(
            hyperparameters,
            trial_id=trial_name(record.id),
            status=status.get(record.status, kt_trial.TrialStatus.COMPLETED),
        )
        trial.score = record.score
        trial.best_step = max(record.epochs - 1, 0)
        return trial
