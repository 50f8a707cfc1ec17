"""Train a trial through one rung, from its last checkpoint, and write new ones.

If the checkpoint is lost, the trial is trained again from its first epoch; order and seeds are
fixed, so that the result has the same bits.
"""

import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras_tuner
import numpy as np

from tuner.errors import RunError
from tuner.hyperband.time_budget import TimeBudget
from tuner.interrupt import StopRequest
from tuner.runs.checkpoint import Checkpoint, read_checkpoint, state_file, write_checkpoint
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import TrialRecord, trial_name
from tuner.training.sources import Source, TrialRows
from tuner.training.trainer import EpochMetrics, Trainer

# Seconds of training that a kill may cost; at least this many times the cost of a checkpoint.
_SAVE_SECONDS = 10.0
_SAVE_RATIO = 50


class TimeIsUp(Exception):  # noqa: N818 - no error
    """The time budget is used up; the last epoch is saved."""


@dataclass(frozen=True)
class RungResult:
    """The result of a rung.

    Attributes:
        epochs: metrics of each epoch, in order.
        seconds: wall time, including interrupted processes.
        parameters: number of trained scalars.
        outcomes: what its last epoch made of the validation images; None where a version that did
            not keep them had trained it.
    """

    epochs: tuple[Mapping[str, float], ...]
    seconds: float
    parameters: int
    outcomes: Outcomes | None


def saved_epoch(folder: Path, trial: TrialRecord) -> int:
    """Epochs of a trial that are saved, those of an interrupted rung included."""
    try:
        with state_file(folder, trial.id).open("rb") as file, np.load(file) as saved:
            return max(trial.epochs, int(saved["epoch"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return trial.epochs  # none is saved, or it is damaged


class RungTrainer:
    """Trains trials through rungs."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        *,
        max_epochs: int,
        stop: StopRequest,
        budget: TimeBudget,
        on_note: Callable[[str], None],
    ) -> None:
        self._source = source
        self._folder = folder
        self._max_epochs = max_epochs
        self._stop = stop
        self._budget = budget
        self._on_note = on_note

    def run(
        self,
        trial: TrialRecord,
        end_epoch: int,
        on_epoch: Callable[[Trainer, EpochMetrics], None],
    ) -> RungResult:
        """Train a trial up to an epoch.

        Raises:
            keras_tuner.errors.FailedTrialError: the loss became NaN or infinite.
            StoppedError, TimeIsUp: the search has to stop; the last epoch is saved.
            TuneError: the disk is full.
        """
        begun = saved = time.monotonic()
        rows = self._source.rows(trial.hyperparameters)
        trainer, reached = self._begin(trial, rows, end_epoch)
        epochs, save_seconds = list(reached.epochs), _SAVE_SECONDS
        while trainer.epoch < end_epoch:
            metrics = trainer.run_epoch(rows.training(trainer.epoch), rows.validation)
            if not metrics.finite():
                raise keras_tuner.errors.FailedTrialError(
                    f"the loss became NaN or infinite in epoch {trainer.epoch}"
                )
            epochs.append(asdict(metrics))
            on_epoch(trainer, metrics)
            now = time.monotonic()
            must_stop = self._must_stop()  # once: an epoch that stops was saved
            if trainer.epoch == end_epoch or must_stop or now - saved > save_seconds:
                self._save(trial, trainer, epochs, reached.seconds + now - begun)
                saved = time.monotonic()
                save_seconds = max(_SAVE_SECONDS, _SAVE_RATIO * (saved - now))
            if must_stop and trainer.epoch < end_epoch:
                self._check_stop()
        seconds = reached.seconds + time.monotonic() - begun
        outcomes = trainer.outcomes() or reached.outcomes
        return RungResult(tuple(epochs), seconds, trainer.parameters, outcomes)

    def _begin(
        self, trial: TrialRecord, rows: TrialRows, end_epoch: int
    ) -> tuple[Trainer, Checkpoint]:
        """A trainer at the last checkpoint, and the part of the rung that was trained."""
        trainer = self._trainer(trial)
        nothing = Checkpoint({}, trial.epochs, trial.epochs, (), 0.0)
        path = state_file(self._folder, trial.id)
        if not path.exists() and not trial.epochs:
            return trainer, nothing
        try:
            found = read_checkpoint(path)
            of_this_rung = found.start_epoch == trial.epochs
            if of_this_rung and found.epoch == end_epoch:
                trainer.epoch = end_epoch  # the journal was not written yet
                return trainer, found
            if found.epoch == trial.epochs or (of_this_rung and found.epoch < end_epoch):
                trainer.restore(dict(found.state))
                return trainer, found if of_this_rung else nothing
        except (RunError, KeyError, ValueError):
            pass  # lost, damaged, or of another network
        return self._trained_again(trial, rows), nothing

    def _trained_again(self, trial: TrialRecord, rows: TrialRows) -> Trainer:
        """A trainer that has repeated the epochs of the earlier rungs."""
        trainer = self._trainer(trial)
        what = f"its first {trial.epochs} epochs are" if trial.epochs else "it is"
        self._on_note(
            f"The weights of trial {trial_name(trial.id)} were lost: {what} trained again."
        )
        for epoch in range(trial.epochs):
            trainer.run_epoch(rows.training(epoch), rows.validation)
            self._check_stop()
        return trainer

    def _trainer(self, trial: TrialRecord) -> Trainer:
        return self._source.trainer(trial.hyperparameters, trial.id, trial.batch_size)

    def _save(
        self,
        trial: TrialRecord,
        trainer: Trainer,
        epochs: Sequence[Mapping[str, float]],
        seconds: float,
    ) -> None:
        state = trainer.state(final=trainer.epoch == self._max_epochs)
        checkpoint = Checkpoint(
            state, trainer.epoch, trial.epochs, tuple(epochs), seconds, trainer.outcomes()
        )
        write_checkpoint(state_file(self._folder, trial.id), checkpoint)

    def _must_stop(self) -> bool:
        return self._stop.made or self._budget.left() <= 0

    def _check_stop(self) -> None:
        self._stop.check()
        if self._budget.left() <= 0:
            raise TimeIsUp
