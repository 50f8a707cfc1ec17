"""The events of a search as JSON lines, for other programs."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from tuner.observer import (
    Counting,
    EpochEnds,
    Note,
    RungBegins,
    RungEnds,
    SearchBegins,
    SearchEnds,
    SearchEvent,
    SearchObserver,
    TimeLeft,
)
from tuner.runs.records import FAILED, TrialRecord, trial_name

_COUNT_SECONDS = 1.0  # between two lines of the same count, except its last


class JsonLines(SearchObserver):
    """Writes each event as one line; docs/json-lines.md describes their fields.

    If the reader closes the file, the lines end, and the search goes on.

    Args:
        file: for the lines; each is flushed.
        objective: name of the score.
    """

    def __init__(self, file: TextIO, objective: str) -> None:
        self._file = file
        self._objective = objective
        self._counted: tuple[str, float] = ("", 0.0)
        self._open = True

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Write a line.

        Args:
            event: name of the event.
            values: its other fields; numbers that are not finite become null.
        """
        row = {"event": event, "time": round(time.time(), 3)} | dict(values)
        if not self._open:
            return
        try:
            self._file.write(json.dumps(_finite(row), allow_nan=False) + "\n")
            self._file.flush()
        except OSError:
            self._open = False

    def on_event(self, event: SearchEvent) -> None:
        """Write an event; of a count at most a line a second, and its last."""
        match event:
            case Counting(what, done, count):
                now, (before, written) = time.monotonic(), self._counted
                if done == count or what != before or now - written >= _COUNT_SECONDS:
                    self._counted = what, now
                    self.write("counting", asdict(event))
            case Note():
                self.write("note", asdict(event))
            case SearchBegins():
                self.write("search_begins", {"objective": self._objective} | _search(event))
            case TimeLeft():
                self.write("time_left", asdict(event))
            case RungBegins():
                self.write("rung_begins", _rung_begins(event))
            case EpochEnds(trial, epoch, metrics):
                values = {"trial": trial_name(trial.id), "epoch": epoch, "metrics": asdict(metrics)}
                self.write("epoch_ends", values)
            case RungEnds(trial, best):
                self.write("rung_ends", _rung_ends(trial, best))
            case SearchEnds(trials):
                self.write("search_ends", {"trials": len(trials)})


def _search(event: SearchBegins) -> dict[str, Any]:
    schedule = event.schedule
    return {
        "trials": schedule.total_trials,
        "epochs": schedule.total_epochs,
        "max_epochs": schedule.max_epochs,
        "iterations": schedule.iterations,
        "recipes": list(schedule.recipes),
        "omitted_recipes": list(event.omitted_recipes),
        "brackets": [
            {
                "bracket": bracket.number,
                "rungs": [
                    {"trials": rung.size, "from": rung.start_epoch, "to": rung.end_epoch}
                    for rung in bracket.rungs
                ],
            }
            for bracket in schedule.brackets
        ],
        "trials_done": len(event.done),
        "epochs_done": event.epochs_done,
        "seconds_left": event.seconds_left,
        "best": _leader(event.best),
    }


def _rung_begins(event: RungBegins) -> dict[str, Any]:
    trial = event.trial
    return {
        "trial": trial_name(trial.id),
        "recipe": trial.recipe,
        "iteration": trial.iteration,
        "bracket": trial.bracket,
        "from": trial.epochs,
        "to": event.end_epoch,
        "hyperparameters": trial.hyperparameters,
    }


def _rung_ends(trial: TrialRecord, best: TrialRecord | None) -> dict[str, Any]:
    failed = trial.status == FAILED
    rung = trial.rungs[-1] if trial.rungs and not failed else None
    return {
        "trial": trial_name(trial.id),
        "status": trial.status,
        "message": trial.message if failed else None,
        "from": rung.start_epoch if rung else None,
        "to": rung.end_epoch if rung else None,
        "score": rung.score if rung else None,
        "seconds": rung.seconds if rung else None,
        "best": _leader(best),
    }


def _leader(best: TrialRecord | None) -> dict[str, Any] | None:
    return None if best is None else {"trial": trial_name(best.id), "score": best.score}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
