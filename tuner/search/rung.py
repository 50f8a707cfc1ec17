"""A trial trained through one rung: from its last checkpoint, with checkpoints on the way.

Where the checkpoint is lost the trial is trained again from its first epoch. Since order and seeds
are the program's own, it comes out the same bit for bit.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras_tuner

from tuner.errors import RunError
from tuner.hyperband.time_budget import TimeBudget
from tuner.interrupt import StopRequest
from tuner.runs.checkpoint import Checkpoint, read_checkpoint, state_file, write_checkpoint
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import TrialRecord, trial_name
from tuner.training.sources import Source, TrialRows
from tuner.training.trainer import EpochMetrics, Trainer

# Seconds of training that a kill can cost, and how many times what it costs to save them.
_SAVE_SECONDS = 10.0
_SAVE_RATIO = 50


class TimeIsUp(Exception):  # noqa: N818 - no error
    """The time budget is used up; the last epoch is saved."""


@dataclass(frozen=True)
class RungResult:
    """What a rung gave.

    Attributes:
        epochs: metrics of each of its epochs, in order.
        seconds: wall time, that of interrupted processes included.
        parameters: number of scalars that the trial trains.
        outcomes: what its last epoch made of the validation images; None where a version that did
            not keep them had trained it.
    """

    epochs: tuple[Mapping[str, float], ...]
    seconds: float
    parameters: int
    outcomes: Outcomes | None


class RungTrainer:
    """Trains trials through rungs.

    Args:
        source: trainers and rows.
        folder: the run's.
        max_epochs: after which nothing trains on, so that no optimizer is saved.
        stop: is looked at after every epoch.
        budget: likewise.
        on_note: is told what the user should know.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
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
        """Trains a trial up to an epoch.

        Args:
            trial: as the journal has it: its epochs are where the rung begins.
            end_epoch: where it ends.
            on_epoch: is called after each epoch.

        Raises:
            keras_tuner.errors.FailedTrialError: the loss became NaN or infinite.
            StoppedError, TimeIsUp: it had to stop; the last epoch is saved.
            TuneError: there is no space left.
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
            must_stop = self._must_stop()  # asked once: what stops has been saved
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
        """A trainer where the trial was left, and what is known of the rung up to there."""
        trainer = self._trainer(trial)
        nothing = Checkpoint({}, trial.epochs, trial.epochs, (), 0.0)
        path = state_file(self._folder, trial.id)
        if not path.exists() and not trial.epochs:
            return trainer, nothing
        try:
            found = read_checkpoint(path)
            of_this_rung = found.start_epoch == trial.epochs
            if of_this_rung and found.epoch == end_epoch:
                trainer.epoch = end_epoch  # the journal alone does not know yet
                return trainer, found
            if found.epoch == trial.epochs or (of_this_rung and found.epoch < end_epoch):
                trainer.restore(dict(found.state))
                return trainer, found if of_this_rung else nothing
        except (RunError, KeyError, ValueError):
            pass  # gone, damaged, or of another network
        return self._trained_again(trial, rows), nothing

    def _trained_again(self, trial: TrialRecord, rows: TrialRows) -> Trainer:
        """A trainer with the epochs of the rungs before."""
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
