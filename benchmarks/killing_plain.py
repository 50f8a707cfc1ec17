"""keras_tuner.Hyperband, killed and constructed again: the baseline of `crash.py`."""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, Workload, progress, run_arm
from killing import FINISHED, MAX_EPOCHS, PINNED, Arm, append, counted

from tests.support.forked import Child

_CANNOT_OPEN = 3  # exit code of the child


class Plain(Arm):
    """Searches of a stock keras_tuner.Hyperband."""

    def __init__(self, workload: Workload, folder: Path) -> None:
        super().__init__(folder)
        self._workload = workload
        self.images = folder / "images.npz"
        run_arm(_write_arrays, workload=workload, path=str(self.images))
        self.look()

    def project(self) -> Path:
        return self.folder / f"search-{self.number}"

    def begin(self, hold_at: int | None = None) -> Child:
        return Child(
            plain_search,
            self._workload,
            self.images,
            self.project(),
            self.ended(),
            log=self.log(),
            hold_at=hold_at,
        )

    def paths(self, pid: int) -> list[Path]:
        project = self.project()
        trials = [project / f"trial_{number:04}" for number in range(30)]
        names = ("trial.json", "build_config.json", "checkpoint.weights.h5")
        of_trials = [trial / name for trial in trials for name in names]
        return [project, project / "oracle.json", project / "tuner0.json", *trials, *of_trials]

    def found(self) -> dict[str, Any]:
        """What the last process found, and what the search ended with if it did."""
        path = self.project().with_suffix(".json")
        return json.loads(path.read_text()) if path.exists() else {}


def plain_search(
    tell: Callable[[], None], workload: Workload, images: Path, project: Path, ended: Path
) -> None:
    """In a child: constructs the plain tuner, which reloads what is there, and searches."""
    import keras
    import keras_tuner
    from spaces import PlainSpace

    class Events(keras.callbacks.Callback):
        trial = ""

        def __deepcopy__(self, memo: dict[int, Any]) -> "Events":
            return self

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            append(ended, f"{self.trial} {epoch}")
            tell()

    events = Events()

    class Told(keras_tuner.Hyperband):
        def on_trial_begin(self, trial: Any) -> None:
            events.trial = trial.trial_id
            super().on_trial_begin(trial)
            tell()

        def run_trial(self, trial: Any, *given: Any, **options: Any) -> Any:
            history = super().run_trial(trial, *given, **options)
            append(ended, f"{trial.trial_id} {FINISHED}")
            return history

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            tell()

    result = project.with_suffix(".json")
    result.unlink(missing_ok=True)
    try:
        tuner = Told(
            PlainSpace(
                PINNED,
                num_classes=workload.class_count(),
                image_size=workload.image_size,
                weights=workload.weights,
            ),
            objective=keras_tuner.Objective("val_accuracy", "max"),
            max_epochs=MAX_EPOCHS,
            factor=3,
            seed=1,
            directory=str(project.parent),
            project_name=project.name,
        )
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(_CANNOT_OPEN) from error
    found = {"trials found": len(tuner.oracle.trials)}
    result.write_text(json.dumps(found))
    tell()
    with np.load(images) as arrays:
        x, y, x_val, y_val = (arrays[name] for name in ("x", "y", "x_val", "y_val"))
    tuner.search(
        x,
        y,
        validation_data=(x_val, y_val),
        batch_size=workload.batch_size,
        verbose=0,
        callbacks=[events],
    )
    statuses = Counter(trial.status for trial in tuner.oracle.trials.values())
    result.write_text(json.dumps(found | {"statuses": statuses}))


def show_plain(report: Report, plain: Plain, options: argparse.Namespace) -> None:
    begun = time.monotonic()
    kills = inside = unreadable = forgotten = complete = failed = running = again = twice = 0
    complaints: list[str] = []
    plain.number += 1
    while kills < options.plain_kills or plain.ended().exists():
        knew = _trials_ended(plain.ended())
        if kills < options.plain_kills:
            in_a_call = kills % 2 == 0
            child, killed = plain.strike(in_a_call)
        else:
            child, killed = plain.begin(), False
            while child.happens():
                pass
        found = plain.found()
        forgotten += bool(knew) and found.get("trials found") == 0
        if killed:
            kills += 1
            inside += in_a_call
            progress(f"plain: {kills} kills")
            continue
        code = child.exit_code()
        if code:
            complaints.append(child.printed().strip().splitlines()[-1])
        unreadable += code == _CANNOT_OPEN
        failed += code not in (0, _CANNOT_OPEN)
        complete += code == 0
        again += plain.epochs_again()
        twice += plain.finished_again()
        running += found.get("statuses", {}).get("RUNNING", 0)
        shutil.rmtree(plain.project(), ignore_errors=True)
        plain.number += 1
    report.table(
        "keras_tuner.Hyperband, killed and constructed again",
        [
            {
                "kills": kills,
                "inside a call": inside,
                "cannot be opened": unreadable,
                "began again from nothing": forgotten,
                "searches that raised": failed,
                "searches completed": complete,
                "trials left RUNNING there": running,
                "finished trials run again": twice,
                "epochs trained again": again,
                "minutes": (time.monotonic() - begun) / 60,
            }
        ],
    )
    report.table("Calls of the plain tuner that a kill landed in", counted(plain.struck))
    report.keep("plain_complaints", complaints)


def _trials_ended(ended: Path) -> set[str]:
    """Trials of which an epoch came to its end."""
    lines = ended.read_text().splitlines() if ended.exists() else []
    return {line.split()[0] for line in lines}


def _write_arrays(workload: Workload, path: str) -> None:
    x, y, (x_val, y_val) = workload.arrays()
    np.savez(path, x=x, y=y, x_val=x_val, y_val=y_val)
