"""The baseline: keras_tuner.Hyperband as it is, its rungs measured and added up.

The whole baseline takes tens of minutes to hours, nearly all of it in epochs that are alike. So a
few rungs are trained by the real tuner (its build, its `fit`, its callbacks and checkpoints, its
oracle), and the rest is added up. Wherever there is a choice, it favours the baseline:

- the time of an epoch is the median of those after a fit's first, which traces;
- what a rung takes beyond its epochs is measured on rungs of few epochs, with the checkpoints that
  were written there; a longer rung writes more of them, which is not counted;
- the baseline's schedule has no recipes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from common import median
from spaces import PlainSpace

_WIDE = 1024  # units; below it the head's share of an epoch on images is a few per cent


@dataclass(frozen=True)
class Rung:
    """One stretch of a trial's training: its epochs `start` to `end`."""

    trial: int
    values: dict[str, Any]
    start: int
    end: int


@dataclass(frozen=True)
class Timing:
    """What one rung took: `seconds` in all, and each of its epochs, validation included."""

    kind: str
    promoted: bool
    seconds: float
    epochs: list[float]

    @property
    def steady_epoch(self) -> float:
        """Seconds of an epoch that does not trace."""
        return median(self.epochs[1:] or self.epochs)

    @property
    def overhead(self) -> float:
        """Seconds beyond the rung's epochs, the first epoch's tracing included."""
        return self.seconds - len(self.epochs) * self.steady_epoch


@dataclass
class Costs:
    """Medians by kind of network, from `measure`; `total` adds them up."""

    epoch: dict[str, float] = field(default_factory=dict)
    new_rung: dict[str, float] = field(default_factory=dict)
    promotion_extra: float = 0.0

    @classmethod
    def of(cls, timings: Sequence[Timing]) -> "Costs":
        """The medians of what was measured."""
        costs = cls()
        for kind in {timing.kind for timing in timings}:
            here = [timing for timing in timings if timing.kind == kind]
            new = [timing for timing in here if not timing.promoted]
            steady = [second for timing in new for second in timing.epochs[1:] or timing.epochs]
            costs.epoch[kind] = median(steady)
            costs.new_rung[kind] = median(
                [timing.seconds - len(timing.epochs) * costs.epoch[kind] for timing in new]
            )
        for timing in timings:
            if timing.promoted:  # its only epoch traces, so all of it but one steady epoch counts
                overhead = timing.seconds - len(timing.epochs) * costs.epoch[timing.kind]
                costs.promotion_extra = overhead - costs.new_rung[timing.kind]
        return costs

    def total(self, rungs: Sequence[Rung]) -> float:
        """Seconds of a whole schedule."""
        return sum(self._rung(rung) for rung in rungs)

    def _rung(self, rung: Rung) -> float:
        kind = kind_of(rung.values)
        extra = self.promotion_extra if rung.start else 0.0
        return self.new_rung[kind] + extra + (rung.end - rung.start) * self.epoch[kind]


class PlainTuner:
    """A real keras_tuner.Hyperband with given configurations.

    Args:
        pinned: hyperparameters that are not searched.
        space: arguments of ResNet50Space.
        max_epochs: as for keras_tuner.Hyperband.
        folder: its project folder lies here.
        fit: arguments of `fit`: x, y, batch_size, validation_data.
    """

    def __init__(
        self,
        pinned: Mapping[str, Any],
        space: Mapping[str, Any],
        max_epochs: int,
        folder: Path,
        fit: Mapping[str, Any],
    ) -> None:
        self.tuner = keras_tuner.Hyperband(
            PlainSpace(pinned, **space),
            objective=keras_tuner.Objective("val_accuracy", "max"),
            max_epochs=max_epochs,
            factor=3,
            seed=1,
            directory=str(folder),
            project_name="plain",
            overwrite=True,
        )
        self.tuner.oracle.verbose = 0
        self.pinned = dict(pinned)
        self.folder = folder / "plain"
        self._fit = dict(fit)

    def train(self, rung: Rung, parent: str | None = None) -> tuple[str, Timing]:
        """Trains one rung as `keras_tuner.Hyperband.search` does; its trial's name and timing."""
        tuner, clock = self.tuner, EpochClock()
        begun = time.perf_counter()
        trial = tuner.oracle.create_trial(tuner.tuner_id)
        promoted = {"tuner/trial_id": parent} if parent is not None else {}
        trial.hyperparameters.values = {
            **rung.values,
            "tuner/initial_epoch": rung.start,
            "tuner/epochs": rung.end,
            **promoted,
        }
        tuner.on_trial_begin(trial)
        tuner._try_run_and_update_trial(trial, **self._fit, callbacks=[clock], verbose=0)
        tuner.on_trial_end(trial)
        seconds = time.perf_counter() - begun
        if trial.status != "COMPLETED":
            raise SystemExit(f"the plain tuner failed on {rung.values}: {trial.message}")
        return trial.trial_id, Timing(kind_of(rung.values), bool(rung.start), seconds, clock.epochs)

    def measure(self, rungs: Sequence[Rung], samples: int, epochs: int) -> list[Timing]:
        """Trains `samples` configurations of each kind, and promotes the first once."""
        timings: list[Timing] = []
        for kind in sorted({kind_of(rung.values) for rung in rungs}):
            alike = [r for r in rungs if r.start == 0 and kind_of(r.values) == kind]
            for rung in alike[:samples]:
                name, timing = self.train(Rung(rung.trial, rung.values, 0, epochs))
                timings.append(timing)
                if not any(timing.promoted for timing in timings):
                    further = Rung(rung.trial, rung.values, epochs, epochs + 1)
                    timings.append(self.train(further, parent=name)[1])
        return timings

    def train_all(self, rungs: Sequence[Rung]) -> list[Timing]:
        """Trains every rung, in order, each promoted one from its trial's last checkpoint."""
        names: dict[int, str] = {}
        timings = []
        for rung in rungs:
            names[rung.trial], timing = self.train(rung, names.get(rung.trial))
            timings.append(timing)
        return timings

    def search(self) -> float:
        """Its own search, with its own draws, to the end; seconds."""
        begun = time.perf_counter()
        self.tuner.search(**self._fit, verbose=0)
        return time.perf_counter() - begun

    def check_pins(self, draws: int = 200) -> None:
        """Raises if a drawn value, or one that was trained, differs from its pin."""
        drawn = [self.tuner.oracle._random_values() or {} for _ in range(draws)]
        trained = [trial.hyperparameters.values for trial in self.tuner.oracle.trials.values()]
        for values in (*drawn, *trained):
            for name, value in self.pinned.items():
                if values.get(name, value) != value:
                    raise AssertionError(f"{name} is pinned to {value}, but {values} was drawn")


def kind_of(values: Mapping[str, Any]) -> str:
    """Networks of one kind take about the same time for an epoch on images."""
    wide = values["head_layers"] and values["head_width"] >= _WIDE
    return f"unfreeze_blocks {values['unfreeze_blocks']:2}, {'wide' if wide else 'narrow'} head"


def rungs_of(records: Sequence[Any], recipes: bool = False) -> list[Rung]:
    """The rungs of our journal's trials, by start epoch; those of recipes only on request."""
    rungs = [
        Rung(record.id, dict(record.hyperparameters), rung.start_epoch, rung.end_epoch)
        for record in records
        if recipes or record.recipe is None
        for rung in record.rungs
    ]
    return sorted(rungs, key=lambda rung: rung.start)


def describe(costs: Costs, rungs: Sequence[Rung]) -> list[dict[str, Any]]:
    """A table of the baseline's costs by kind of network."""
    rows = []
    for kind in sorted(costs.epoch):
        here = [rung for rung in rungs if kind_of(rung.values) == kind]
        rows.append(
            {
                "network": kind,
                "rungs": len(here),
                "epochs": sum(rung.end - rung.start for rung in here),
                "seconds an epoch": costs.epoch[kind],
                "seconds a rung besides": costs.new_rung[kind],
                "seconds in all": costs.total(here),
            }
        )
    return rows


def as_json(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """Timings as they go to another process, or to a file."""
    return [asdict(timing) for timing in timings]


class EpochClock(keras.callbacks.Callback):
    """Seconds of each epoch, validation included, other callbacks' checkpoints not."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[float] = []
        self._begun = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> "EpochClock":
        return self  # Keras Tuner copies callbacks; what this one notes is wanted here

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epochs.append(time.perf_counter() - self._begun)
