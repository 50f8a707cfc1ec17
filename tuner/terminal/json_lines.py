"""What a search does as JSON for other programs: one object a line, each with its "event"."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from tuner.hyperband.schedule import Schedule
from tuner.observer import SearchObserver
from tuner.runs.records import FAILED, TrialRecord, trial_name

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.training.trainer import EpochMetrics

# Between two lines of the same count of images, but for its last.
_COUNT_SECONDS = 1.0


class JsonLines(SearchObserver):
    """Writes each event as one line; docs/json-lines.md says what each holds.

    A reader that goes away ends the lines, not the search.

    Args:
        file: where they are written; each line is flushed.
        objective: name of the score.
    """

    def __init__(self, file: TextIO, objective: str) -> None:
        self._file = file
        self._objective = objective
        self._counted: tuple[str, float] = ("", 0.0)
        self._open = True

    def write(self, event: str, values: Mapping[str, Any]) -> None:
        """Writes a line.

        Args:
            event: its name.
            values: what else it holds; a number that is not finite becomes null.
        """
        row = {"event": event, "time": round(time.time(), 3)} | dict(values)
        if not self._open:
            return
        try:
            self._file.write(json.dumps(_finite(row), allow_nan=False) + "\n")
            self._file.flush()
        except OSError:
            self._open = False

    def counting(self, what: str, done: int, count: int) -> None:
        """See SearchObserver; a line a second at most, and the last."""
        now, (before, said) = time.monotonic(), self._counted
        if done == count or what != before or now - said >= _COUNT_SECONDS:
            self._counted = what, now
            self.write("counting", {"what": what, "done": done, "count": count})

    def note(self, text: str) -> None:
        """See SearchObserver."""
        self.write("note", {"text": text})

    def search_begins(
        self,
        schedule: Schedule,
        omitted_recipes: tuple[str, ...],
        done: Sequence[TrialRecord] = (),
        seconds: float | None = None,
        best: TrialRecord | None = None,
    ) -> None:
        """See SearchObserver."""
        values = {
            "objective": self._objective,
            "trials": schedule.total_trials,
            "epochs": schedule.total_epochs,
            "max_epochs": schedule.max_epochs,
            "iterations": schedule.iterations,
            "recipes": list(schedule.recipes),
            "omitted_recipes": list(omitted_recipes),
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
            "trials_done": len(done),
            "epochs_done": sum(trial.epochs for trial in done),
            "seconds_left": seconds,
            "best": _leader(best),
        }
        self.write("search_begins", values)

    def time_left(self, seconds: float | None) -> None:
        """See SearchObserver."""
        self.write("time_left", {"seconds": seconds})

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        """See SearchObserver."""
        values = {
            "trial": trial_name(trial.id),
            "recipe": trial.recipe,
            "iteration": trial.iteration,
            "bracket": trial.bracket,
            "from": trial.epochs,
            "to": end_epoch,
            "hyperparameters": trial.hyperparameters,
        }
        self.write("rung_begins", values)

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: "EpochMetrics") -> None:
        """See SearchObserver."""
        values = {"trial": trial_name(trial.id), "epoch": epoch, "metrics": asdict(metrics)}
        self.write("epoch_ends", values)

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """See SearchObserver."""
        failed = trial.status == FAILED
        rung = trial.rungs[-1] if trial.rungs and not failed else None
        values = {
            "trial": trial_name(trial.id),
            "status": trial.status,
            "message": trial.message if failed else None,
            "from": rung.start_epoch if rung else None,
            "to": rung.end_epoch if rung else None,
            "score": rung.score if rung else None,
            "seconds": rung.seconds if rung else None,
            "best": _leader(best),
        }
        self.write("rung_ends", values)

    def search_ends(self, trials: list[TrialRecord]) -> None:
        """See SearchObserver."""
        self.write("search_ends", {"trials": len(trials)})


def _leader(best: TrialRecord | None) -> dict[str, Any] | None:
    return None if best is None else {"trial": trial_name(best.id), "score": best.score}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
