"""Our tuner on a schedule that the benchmark sets."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import Workload

from search_spaces.resnet50 import ResNet50Space
from tuner.hyperband.schedule import Bracket, Rung, Schedule
from tuner.search.tuner import HyperbandTuner
from tuner.storage.cache import Cache
from tuner.training.rows import Rows
from tuner.training.trainer import Trainer


class DrawnTrials(HyperbandTuner):
    """Draws configurations as any search does, with the rungs that it is given.

    Args:
        space: the search space.
        rungs: (trials, from epoch, to epoch) of one bracket.
        on_trial: called at the end of each rung, not timed.
        **arguments: of HyperbandTuner.

    Attributes:
        seconds: wall time of each rung, from asking the oracle to its end.
        trained: the last rung's trainer with its training and validation rows.
    """

    def __init__(
        self,
        space: ResNet50Space,
        rungs: Sequence[tuple[int, int, int]],
        on_trial: Callable[["DrawnTrials"], None] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(space, max_epochs=rungs[-1][2], **arguments)
        self.oracle.schedule = Schedule((Bracket(0, tuple(Rung(*rung) for rung in rungs)),))
        self.seconds: list[float] = []
        self.trained: tuple[Trainer, Rows, Rows] | None = None
        self._on_trial = on_trial

    def on_search_begin(self) -> None:
        super().on_search_begin()
        self._mark = time.perf_counter()

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        self.seconds.append(time.perf_counter() - self._mark)
        if str(trial.status) == "FAILED":
            raise SystemExit(f"trial {trial.trial_id} failed: {trial.message}")
        if self._on_trial is not None:
            self._on_trial(self)
        self._mark = time.perf_counter()


def draw_and_train(
    workload: Workload,
    space: type[ResNet50Space],
    pinned: Mapping[str, Any],
    rungs: Sequence[tuple[int, int, int]],
    folder: Path,
    on_trial: Callable[[DrawnTrials], None] | None = None,
) -> DrawnTrials:
    """Trains the drawn trials on a workload, with seed 0 and a fresh cache."""
    x, y, validation = workload.arrays()
    built = space(
        num_classes=workload.class_count(),
        image_size=workload.image_size,
        weights=workload.weights,
    )
    with Cache(folder / "cache") as cache:
        tuner = DrawnTrials(
            built,
            rungs,
            on_trial,
            batch_size=workload.batch_size,
            fixed={name: str(value) for name, value in pinned.items()},
            directory=folder / "runs",
            cache=cache,
        )
        watch_trainers(tuner)
        tuner.search(x, y, validation)
    return tuner


def watch_trainers(tuner: DrawnTrials) -> None:
    """Lets the tuner know what it last trained, and on which rows."""
    run_epoch = Trainer.run_epoch

    def watched(self: Trainer, training: Rows, validation: Rows, *more: Any, **other: Any) -> Any:
        tuner.trained = (self, training, validation)
        return run_epoch(self, training, validation, *more, **other)

    Trainer.run_epoch = watched
