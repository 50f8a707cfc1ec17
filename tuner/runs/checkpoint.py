"""What training has reached, on disk: a trial's weights, optimizer, seeds and latest epochs.

A checkpoint is whole or is not there, and says itself how far it goes. It is written and synced
before the journal names it; one that is ahead of the journal has the metrics that the journal does
not know yet, so that nothing that was trained is trained again.
"""

import json
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

_NOTES = "checkpoint"  # name of the array that holds, as JSON, all that is no array
_OUTCOMES = "outcomes"  # of the one that holds `Outcomes.to_bytes`


@dataclass(frozen=True)
class Checkpoint:
    """A trial's training at the end of an epoch.

    Attributes:
        state: as `Trainer.state` returned it.
        epoch: epochs done.
        start_epoch: epochs that were done when the rung began.
        epochs: metrics of the epochs from `start_epoch` to `epoch`, in order.
        seconds: wall time of those epochs.
        outcomes: what the last of them made of the validation images; None where nothing was
            trained, or a version that did not keep them wrote it.
    """

    state: Mapping[str, np.ndarray]
    epoch: int
    start_epoch: int
    epochs: tuple[Mapping[str, float], ...]
    seconds: float
    outcomes: Outcomes | None = None


def state_file(folder: Path, trial: int) -> Path:
    """Where a run's folder holds everything that trial number `trial` has trained."""
    return folder / "trials" / trial_name(trial) / "state.npz"


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint in place of the one before, synced.

    Raises:
        TuneError: there is no space left.
    """
    notes = {
        "start_epoch": checkpoint.start_epoch,
        "epochs": checkpoint.epochs,
        "seconds": checkpoint.seconds,
    }
    own = {_NOTES: np.frombuffer(json.dumps(notes).encode(), np.uint8)}
    if checkpoint.outcomes is not None:
        own[_OUTCOMES] = np.frombuffer(checkpoint.outcomes.to_bytes(), np.uint8)
    try:
        _write(path, dict(checkpoint.state) | own)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        needed = sum(array.nbytes for array in checkpoint.state.values())
        folder = path.parent.parent
        raise TuneError(
            f"there is no space left in {folder}: {needed / 1e6:.1f} MB are needed and "
            f"{free_bytes(folder) / 1e6:.1f} MB are free. Free some; the search goes on from what "
            "was saved."
        ) from error


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays to a file in a folder that may have to be made, and makes all names last."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays)
    for folder in missing:  # after the file, whose own sync has done most of the work
        sync(folder.parent)


def remove_leftovers(folder: Path) -> None:
    """Removes what dead processes had begun to write in a run's folder."""
    for pattern in ("trials/*/.state.npz.*", ".settings.json.*", ".journal.db.*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads what `write_checkpoint` wrote.

    Raises:
        RunError: it is gone or damaged.
    """
    try:
        state = read_arrays(path)
        notes = json.loads(state.pop(_NOTES).tobytes())
        outcomes = state.pop(_OUTCOMES, None)
        return Checkpoint(
            state, int(state["epoch"]), int(notes["start_epoch"]), tuple(notes["epochs"]),
            float(notes["seconds"]),
            None if outcomes is None else Outcomes.from_bytes(outcomes.tobytes()),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise RunError(
            f"the weights of trial {path.parent.name} are gone from {path.parent}."
        ) from error
    except (
        OSError, ValueError, TypeError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile,
        zlib.error,
    ) as error:  # fmt: skip
        raise RunError(f"{path} is damaged: {error}.") from error
