"""Checkpoints: a trial's weights, optimizer, seeds and latest epochs on disk.

A checkpoint is flushed to disk before the journal names it. If it is ahead of the journal, it holds
the metrics that the journal lacks, so that no epoch is trained twice.
"""

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.errors import RunError, TuneError
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import trial_name
from tuner.storage.atomic import read_arrays, sync, write_arrays
from tuner.storage.disk import NO_SPACE, free_bytes

# Names of the arrays that hold, as bytes, JSON and `Outcomes.to_bytes`.
_NOTES, _OUTCOMES = "checkpoint", "outcomes"

# What NumPy raises on damaged bytes, beside the errors of zipfile and zlib.
_DAMAGE = (OSError, ValueError, TypeError, EOFError, KeyError, RuntimeError)


@dataclass(frozen=True)
class Checkpoint:
    """A trial's training at the end of an epoch.

    Attributes:
        state: of `Trainer.state`.
        epoch: epochs done.
        start_epoch: epochs done when the rung began.
        epochs: metrics of the epochs from `start_epoch` to `epoch`, in order.
        seconds: wall time of those epochs.
        outcomes: predictions for the validation images after the last epoch; None before the first.
    """

    state: Mapping[str, np.ndarray]
    epoch: int
    start_epoch: int
    epochs: tuple[Mapping[str, float], ...]
    seconds: float
    outcomes: Outcomes | None = None


def state_file(folder: Path, trial: int) -> Path:
    """Path of a trial's checkpoint in a run's folder."""
    return folder / "trials" / trial_name(trial) / "state.npz"


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically, in place of the one before."""
    notes = {
        "start_epoch": checkpoint.start_epoch,
        "epochs": checkpoint.epochs,
        "seconds": checkpoint.seconds,
    }
    own = {_NOTES: np.frombuffer(json.dumps(notes).encode(), np.uint8)}
    if checkpoint.outcomes is not None:
        own[_OUTCOMES] = np.frombuffer(checkpoint.outcomes.to_bytes(), np.uint8)
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, dict(checkpoint.state) | own)
        for folder in missing:  # last, since flushing the file has done most of the work
            sync(folder.parent)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        needed = sum(array.nbytes for array in checkpoint.state.values())
        folder = path.parent.parent
        raise TuneError(
            f"there is no space left in {folder}: {needed / 1e6:.1f} MB are needed and "
            f"{free_bytes(folder) / 1e6:.1f} MB are free. Free some space and resume; everything "
            "saved so far is kept."
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of dead processes from a run's folder."""
    for pattern in ("trials/*/.state.npz.*", ".settings.json.*", ".journal.db.*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def keep_checkpoints(folder: Path, names: set[str]) -> None:
    """Delete the checkpoints of a run's folder, except those of the trials with these names."""
    for path in (folder / "trials").glob("[0-9]*[0-9]"):
        if path.name not in names:
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise TuneError(f"{path} cannot be removed: {error.strerror}.") from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; RunError if it is missing or damaged."""
    try:
        state = read_arrays(path)
        notes = json.loads(state.pop(_NOTES).tobytes())
        outcomes = state.pop(_OUTCOMES, None)
        return Checkpoint(
            state=state,
            epoch=int(state["epoch"]),
            start_epoch=int(notes["start_epoch"]),
            epochs=tuple(notes["epochs"]),
            seconds=float(notes["seconds"]),
            outcomes=None if outcomes is None else Outcomes.from_bytes(outcomes.tobytes()),
        )
    except FileNotFoundError as error:
        raise RunError(
            f"the weights of trial {path.parent.name} are gone from {path.parent}."
        ) from error
    except (*_DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path} is damaged: {error}.") from error
