"""A run's journal, read once: trials with their curves, the schedule, the winner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.data.dataset import Dataset
from tuner.errors import DamagedJournalError, InputError
from tuner.hyperband.schedule import Schedule, hyperband, shortened
from tuner.metrics.scores import chance_rate
from tuner.runs.notes import Notes
from tuner.runs.ranking import rank, rank_all
from tuner.runs.records import COMPLETED, FAILED, TrialRecord
from tuner.runs.run import Run
from tuner.settings import SearchSettings


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter as it was declared.

    Attributes:
        name: its name.
        values: the choices, or the least and the largest value of a range.
        is_range: whether any value between the two may be drawn.
        is_log: whether it is drawn, and shown, on a logarithmic scale.
        pinned: the only value that was allowed, None where it was searched.
    """

    name: str
    values: tuple[Any, ...]
    is_range: bool
    is_log: bool
    pinned: Any = None


@dataclass(frozen=True)
class Story:
    """What is known of a run without its images.

    Attributes:
        name: of the run.
        settings: of the search.
        state: "running", "done", "interrupted", "damaged" or "failed": every trial failed.
        damage: what is wrong with the journal; None for a sound one.
        trials: every configuration, the best first.
        winner: the trial that leads; None while there is none.
        curves: metrics of each epoch by trial number; none from a damaged journal.
        schedule: what was planned.
        parameters: what was searched, in the order of declaration.
        dataset: images and split; None where their description is gone.
        chance: score of always answering the most frequent class; None where there is none.
        computes: versions and processor of the search, as it noted them.
        prepared: seconds that went before the training, by what was done; none of a run that did
            not note them.
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
    chance: float | None
    computes: dict[str, str]
    prepared: dict[str, float]

    @property
    def objective(self) -> str:
        """Name of the score, such as "val_accuracy"."""
        return self.settings.objective

    @property
    def is_loss(self) -> bool:
        """Whether the score is the better the smaller it is."""
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
    def recipes(self) -> tuple[TrialRecord, ...]:
        """The known-good configurations that were trained to the end."""
        return tuple(trial for trial in self.trials if trial.recipe and trial.status == COMPLETED)

    @property
    def failures(self) -> tuple[TrialRecord, ...]:
        """The trials that failed."""
        return tuple(trial for trial in self.trials if trial.status == FAILED)

    def accuracy(self, trial: TrialRecord) -> float | None:
        """Validation accuracy at the epoch that gave a trial its score."""
        if self.objective == "val_accuracy":
            return trial.score
        curve = self.curves.get(trial.id, [])
        return curve[trial.epochs - 1]["val_accuracy"] if 0 < trial.epochs <= len(curve) else None


def story_of(run: Run) -> Story:
    """Reads a run's journal, or what is left of it.

    Raises:
        RunError: there is no journal, or another version wrote it.
    """
    settings, damage = run.settings, None
    curves: dict[int, list[dict[str, float]]] = {}
    notes = Notes()
    try:
        journal = run.journal
        records = journal.trials()
        curves = {record.id: journal.epochs(record.id) for record in records}
        notes = journal.notes()
        state = _state(run, records)
    except DamagedJournalError as error:
        records, damage, state = run.salvaged(), str(error), "damaged"
    dataset = _dataset(run)
    return Story(
        run.name, settings, state, damage, tuple(rank_all(records, settings.direction)),
        next(iter(rank(records, settings.direction)), None), curves,
        _schedule(settings, records, notes),
        _parameters(notes, records), dataset, _chance(dataset, settings),
        dict(notes.versions or {}), dict(notes.prepared_seconds or {}),
    )  # fmt: skip


def _state(run: Run, records: Sequence[TrialRecord]) -> str:
    if run.busy:
        return "running"
    if run.complete:
        return "done"
    all_failed = records and all(record.status == FAILED for record in records)
    return "failed" if all_failed else "interrupted"


def _dataset(run: Run) -> Dataset | None:
    try:
        return run.dataset()
    except InputError:
        return None


def _chance(dataset: Dataset | None, settings: SearchSettings) -> float | None:
    if dataset is None:
        return None
    counts = {name: splits["validation"] for name, splits in dataset.counts().items()}
    return chance_rate(counts, settings.objective)


def _schedule(settings: SearchSettings, records: Sequence[TrialRecord], notes: Notes) -> Schedule:
    recipes, plan = notes.recipes, notes.plan
    if recipes is None:  # a damaged journal
        recipes = [record.recipe for record in records if record.recipe]
    brackets = hyperband(settings.max_epochs, settings.factor)
    schedule = Schedule(brackets, settings.iterations, tuple(recipes))
    return schedule if plan is None else shortened(schedule, settings.factor, *plan)


def _parameters(notes: Notes, records: Sequence[TrialRecord]) -> tuple[Parameter, ...]:
    """As the search noted them; where it did not, what the trials show."""
    pinned = dict(notes.pinned or {})
    declared = [_declared(each["config"], pinned) for each in notes.space or ()]
    known = {parameter.name for parameter in declared}
    used = dict.fromkeys(name for record in records for name in record.hyperparameters)
    for name in (name for name in used if name not in known):
        values = {record.hyperparameters.get(name) for record in records} - {None}
        declared.append(Parameter(name, tuple(sorted(values, key=str)), False, False))
    return tuple(declared)


def _declared(config: dict[str, Any], pinned: dict[str, Any]) -> Parameter:
    name = config["name"]
    if "values" in config:
        return Parameter(name, tuple(config["values"]), False, False, pinned.get(name))
    if "min_value" in config:
        ends = (config["min_value"], config["max_value"])
        is_log = "log" in str(config.get("sampling"))
        return Parameter(name, ends, True, is_log, pinned.get(name))
    is_boolean = isinstance(config.get("default"), bool)
    values = (False, True) if is_boolean else (config.get("value"),)
    return Parameter(name, values, False, False, pinned.get(name))
