"""A run, read once: everything that a report shows of it, except what needs its images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tuner.data.dataset import Dataset
from tuner.errors import DamagedJournalError, InputError, TuneError
from tuner.evaluate.selection_bias import SelectionBias, selection_bias_of
from tuner.hyperband.schedule import Schedule, hyperband, shortened
from tuner.runs.notes import Notes
from tuner.runs.outcomes import Outcomes
from tuner.runs.ranking import rank, rank_all
from tuner.runs.records import COMPLETED, FAILED, TrialRecord
from tuner.runs.run import Run
from tuner.settings import SearchSettings

Part = TypeVar("Part")


@dataclass(frozen=True)
class Absent:
    """A part of the report that is missing, and why."""

    reason: str


NO_WINNER = Absent("Not yet measured: there is no winner.")


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter as it was declared.

    Attributes:
        values: the choices, or both ends of a range.
        is_log: whether it is drawn on a logarithmic scale.
        pinned: the only value that was allowed; None where it was searched.
    """

    name: str
    values: tuple[Any, ...]
    is_range: bool = False
    is_log: bool = False
    pinned: Any = None


@dataclass(frozen=True)
class RunData:
    """What is known of a run without its images.

    Attributes:
        state: "running", "done", "interrupted", "damaged" or "failed": every trial failed.
        damage: what is wrong with the journal; None for a sound one.
        trials: every configuration, the best first.
        winner: the trial that leads; None while there is none.
        curves: metrics of each epoch by trial number; none from a damaged journal.
        schedule: what was planned.
        parameters: what was searched, in the order of declaration.
        dataset: images and split; None where their description is gone.
        versions: of the search, and its processor.
        prepared: seconds before the training, by what was done.
        outcomes: the winner's predictions for the validation images.
        selection_bias: of the winner's validation accuracy; None if unknown.
        evaluation: what `tune best` measured of the winner; None if nothing.
    """

    name: str
    settings: SearchSettings
    state: str
    damage: str | None
    trials: tuple[TrialRecord, ...]
    winner: TrialRecord | None
    curves: dict[int, list[dict[str, float]]]
    schedule: Schedule
    parameters: tuple[Parameter, ...]
    dataset: Dataset | None
    versions: dict[str, str]
    prepared: dict[str, float]
    outcomes: Outcomes | Absent
    selection_bias: SelectionBias | Absent | None
    evaluation: Mapping[str, Any] | Absent | None

    @property
    def objective(self) -> str:
        """Name of the score, such as "val_accuracy"."""
        return self.settings.objective

    @property
    def is_loss(self) -> bool:
        """Whether a smaller score is better."""
        return self.settings.direction == "min"

    @property
    def is_open(self) -> bool:
        """Whether trials may still be promoted, as far as is known."""
        return self.state in ("running", "interrupted", "damaged")

    @property
    def seconds(self) -> float:
        """Wall time of all training."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def scored(self) -> list[TrialRecord]:
        """The trials that have a score, the best first."""
        return [trial for trial in self.trials if trial.rungs]

    @property
    def recipes(self) -> list[TrialRecord]:
        """The known-good configurations that were trained to the end."""
        return [trial for trial in self.trials if trial.recipe and trial.status == COMPLETED]

    @property
    def failures(self) -> list[TrialRecord]:
        """The trials that failed."""
        return [trial for trial in self.trials if trial.status == FAILED]

    def accuracy(self, trial: TrialRecord) -> float | None:
        """Validation accuracy at the epoch that gave a trial its score."""
        if self.objective == "val_accuracy":
            return trial.score
        curve = self.curves.get(trial.id, [])
        return curve[trial.epochs - 1]["val_accuracy"] if 0 < trial.epochs <= len(curve) else None


def attempt(make: Callable[[], Part]) -> Part | Absent:
    """What a function returns, or why it cannot."""
    try:
        return make()
    except TuneError as error:
        return Absent(str(error))
    except OSError as error:
        return Absent(f"{error.filename or 'A file'} cannot be read: {error.strerror}.")


def read_run_data(run: Run) -> RunData:
    """Read a run's journal, or what is left of it.

    Raises:
        RunError: there is no journal, or another version wrote it.
    """
    settings, damage = run.settings, None
    curves: dict[int, list[dict[str, float]]] = {}
    notes = Notes()
    try:
        records = run.journal.trials()
        curves = {record.id: run.journal.epochs(record.id) for record in records}
        notes = run.journal.notes()
        state = _state(run, records)
    except DamagedJournalError as error:
        records, damage, state = run.salvaged(), str(error), "damaged"
    try:
        dataset = run.dataset()
    except InputError:
        dataset = None
    winner = next(iter(rank(records, settings.direction)), None)
    return RunData(
        run.name,
        settings,
        state,
        damage,
        tuple(rank_all(records, settings.direction)),
        winner,
        curves,
        _schedule(settings, records, notes),
        _parameters(notes, records),
        dataset,
        dict(notes.versions or {}),
        dict(notes.prepared_seconds or {}),
        *_of_winner(run, winner, dataset, damage),
    )


def _of_winner(
    run: Run, winner: TrialRecord | None, dataset: Dataset | None, damage: str | None
) -> tuple[Any, Any, Any]:
    """Its outcomes, selection bias and evaluation."""
    if winner is None:
        return NO_WINNER, None, None
    if damage is not None:
        return Absent(damage), None, Absent(damage)
    journal, number = run.journal, winner.id
    bias = None
    if dataset is not None:
        labels, objective = dataset.labels("validation"), run.settings.objective
        bias = attempt(lambda: selection_bias_of(journal, labels, objective, "best"))
    outcomes = attempt(lambda: journal.outcomes(number))
    evaluation = attempt(lambda: journal.evaluation(number))
    if isinstance(evaluation, dict) and evaluation.get("epochs") != winner.epochs:
        evaluation = None
    missing = Absent("The winner's predictions were not recorded.")
    return missing if outcomes is None else outcomes, bias, evaluation


def _state(run: Run, records: Sequence[TrialRecord]) -> str:
    if run.busy:
        return "running"
    if run.complete:
        return "done"
    all_failed = records and all(record.status == FAILED for record in records)
    return "failed" if all_failed else "interrupted"


def _schedule(settings: SearchSettings, records: Sequence[TrialRecord], notes: Notes) -> Schedule:
    recipes = notes.recipes
    if recipes is None:  # a damaged journal
        recipes = [record.recipe for record in records if record.recipe]
    brackets = hyperband(settings.max_epochs, settings.factor)
    # The rest of a time budget is used for further iterations.
    iterations = max([settings.iterations, *((record.iteration or 0) + 1 for record in records)])
    schedule = Schedule(brackets, iterations, tuple(recipes))
    return schedule if notes.plan is None else shortened(schedule, settings.factor, *notes.plan)


def _parameters(notes: Notes, records: Sequence[TrialRecord]) -> tuple[Parameter, ...]:
    """The declared hyperparameters, and those that only trials have, as in a damaged journal."""
    declared = [_declared(each["config"], notes.pinned or {}) for each in notes.space or ()]
    known = {parameter.name for parameter in declared}
    used = dict.fromkeys(name for record in records for name in record.hyperparameters)
    for name in (name for name in used if name not in known):
        values = {record.hyperparameters.get(name) for record in records} - {None}
        declared.append(Parameter(name, tuple(sorted(values, key=str))))
    return tuple(declared)


def _declared(config: Mapping[str, Any], pinned: Mapping[str, Any]) -> Parameter:
    name, value = config["name"], pinned.get(config["name"])
    if "values" in config:
        return Parameter(name, tuple(config["values"]), pinned=value)
    if "min_value" in config:
        is_log = "log" in str(config.get("sampling"))
        return Parameter(name, (config["min_value"], config["max_value"]), True, is_log, value)
    is_boolean = isinstance(config.get("default"), bool)
    return Parameter(name, (False, True) if is_boolean else (config.get("value"),), pinned=value)
