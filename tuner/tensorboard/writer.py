"""The TensorBoard folder of a run: written during the search, or rebuilt from its journal.

Each trial has a folder, a "run" of TensorBoard: its row on the HParams page, and its curves over
all its rungs. The journal is the truth and this a by-product, so errors here never end a search.
The journal has no clock times: rebuilt points are placed as if only training took time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras_tuner
from tensorboard.compat.proto.event_pb2 import Event

from tuner.errors import first_line
from tuner.observer import (
    EpochEnds,
    RungBegins,
    RungEnds,
    SearchBegins,
    SearchEnds,
    SearchEvent,
    SearchObserver,
)
from tuner.runs.journal import Journal
from tuner.runs.provenance import notes_of_begun
from tuner.runs.ranking import rank
from tuner.runs.records import COMPLETED, FAILED, STOPPED, RungRecord, TrialRecord, trial_name
from tuner.tensorboard import event_files, hparams

FOLDER = "tensorboard"
_FLUSH_SECONDS = 1.0  # for which points are buffered: an epoch of a head takes milliseconds


def write_summaries(
    folder: Path, journal: Journal, ended: float, searching: bool = False
) -> list[TrialRecord]:
    """Rebuild the TensorBoard folder of a run from its journal.

    Args:
        folder: the TensorBoard folder.
        journal: of the run.
        ended: end of the last rung, in seconds since 1970.
        searching: whether stopped trials may still be promoted.

    Returns:
        The trials of the journal.

    Raises:
        OSError: the folder cannot be written.
        RunError: the search has not begun, or the journal cannot be read.
    """
    search, trials = _searched(journal), journal.trials()
    clock = ended - sum(trial.seconds for trial in trials)
    event_files.replace(folder, [hparams.experiment([search], clock)])
    winner = next(iter(rank(trials, search.direction)), None)
    rungs = sum(len(trial.rungs) for trial in trials)
    for trial in trials:
        history = _history(trial, journal.epochs(trial.id), clock)
        clock += trial.seconds
        if trial.rungs:
            history.append(_winner_point(trial == winner, rungs, clock))
        if trial.status in (COMPLETED, FAILED) or (trial.status == STOPPED and not searching):
            history.append(hparams.session_end(trial.status == FAILED, clock))
        event_files.replace(folder / trial_name(trial.id), history)
    return trials


def write_merged_experiment(folder: Path, journals: Sequence[Journal]) -> None:
    """Write the joined domains of several runs, whose folders are then linked into this one.

    TensorBoard uses the first experiment that it finds for all of them.
    """
    event_files.replace(folder, [hparams.experiment([*map(_searched, journals)], time.time())])


class SummaryWriter(SearchObserver):
    """Writes the TensorBoard folder of a run during the search.

    After a failure, which is reported once, the folder is rebuilt when the search ends.

    Attributes:
        seconds: time spent in this observer.
    """

    def __init__(self, folder: Path, journal: Journal, on_note: Callable[[str], None]) -> None:
        self.seconds = 0.0
        self._folder = folder
        self._journal = journal
        self._on_note = on_note
        # The next epoch of each trial's curves; 0: rewrite them from the journal (see `_end_rung`).
        self._next: dict[int, int] = {}
        self._pending: dict[int, list[Event]] = {}
        self._flushed = 0.0
        self._rungs = 0
        self._leader: int | None = None
        self._searching = True
        self._failed = self._reported = False

    def on_event(self, event: SearchEvent) -> None:
        """Write what the event adds to a trial's row and curves."""
        match event:
            case SearchBegins():  # write what earlier processes left in the journal
                self._attempt(self._rewrite)
            case RungBegins(trial):
                self._attempt(self._begin_rung, trial)
            case EpochEnds(trial, epoch, metrics):
                self._attempt(self._add_epoch, trial, epoch, asdict(metrics))
            case RungEnds(trial, best):
                self._attempt(self._end_rung, trial, best)
            case SearchEnds(trials):
                self._searching = False
                if self._failed:  # the disk may have room again
                    self._failed = False
                    self._attempt(self._rewrite)
                else:
                    self._attempt(self._end_search, trials)

    def show(self, write: Callable[[Path], None]) -> None:
        """Call `write` with the folder; its errors are handled as those of events."""
        self._attempt(write, self._folder)

    def _attempt(self, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action`; no error ends the search."""
        if self._failed:
            return
        begun = time.monotonic()
        try:
            try:
                action(*arguments)
            except Exception:  # the folder may have been deleted
                self._rewrite()
        except Exception as error:
            self._failed = True
            if not self._reported:
                self._on_note(
                    f"TensorBoard's files cannot be written ({first_line(error)}). The search "
                    "continues; tune board rebuilds them."
                )
            self._reported = True
        self.seconds += time.monotonic() - begun

    def _rewrite(self) -> None:
        self._pending.clear()
        trials = write_summaries(self._folder, self._journal, time.time(), self._searching)
        winner = next(iter(rank(trials, _searched(self._journal).direction)), None)
        self._leader = None if winner is None else winner.id
        self._rungs = sum(len(trial.rungs) for trial in trials)
        self._next = {trial.id: trial.epochs + 1 for trial in trials}

    def _begin_rung(self, trial: TrialRecord) -> None:
        if trial.id not in self._next:
            event_files.replace(
                self._folder_of(trial.id), [hparams.session_start(trial, time.time())]
            )
            self._next[trial.id] = 1
        elif self._next[trial.id] != trial.epochs + 1:
            self._next[trial.id] = 0

    def _add_epoch(self, trial: TrialRecord, epoch: int, metrics: Mapping[str, float]) -> None:
        # After an interruption, epochs of a rung may be skipped or repeated.
        if self._next.get(trial.id) != epoch:
            self._next[trial.id] = 0
            return
        self._next[trial.id] = epoch + 1
        self._keep(trial.id, _epoch_points(metrics, epoch, time.time()))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._flush()

    def _end_rung(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        now = time.time()
        failed, reached = trial.status == FAILED, self._next.get(trial.id, 0)
        # A rung restored from its checkpoint sends no epochs.
        if reached == 0 or (reached != trial.epochs + 1 and not failed):
            self._pending.pop(trial.id, None)
            history = _history(trial, self._journal.epochs(trial.id), now - trial.seconds)
            event_files.replace(self._folder_of(trial.id), history)
        elif not failed:
            self._keep(trial.id, _rung_points(trial, trial.rungs[-1], now))
        self._next[trial.id] = trial.epochs + 1
        self._rungs += not failed
        self._mark(trial, None if best is None else best.id, now)
        if trial.status in (COMPLETED, FAILED):
            self._keep(trial.id, hparams.session_end(failed, now))
        self._flush()

    def _mark(self, trial: TrialRecord, leader: int | None, now: float) -> None:
        """Mark the leading trial, and unmark the previous one."""
        changed = {self._leader, leader} if leader != self._leader else set()
        for number in changed | ({trial.id} if trial.rungs else set()):
            if number is not None:
                self._keep(number, _winner_point(number == leader, self._rungs, now))
        self._leader = leader

    def _end_search(self, trials: Sequence[TrialRecord]) -> None:
        for trial in trials:
            if trial.status == STOPPED:
                self._keep(trial.id, hparams.session_end(failed=False, wall_time=time.time()))
        self._flush()

    def _keep(self, trial: int, event: Event) -> None:
        self._pending.setdefault(trial, []).append(event)

    def _flush(self) -> None:
        for trial, pending in self._pending.items():
            event_files.add(self._folder_of(trial), pending)
        self._pending.clear()
        self._flushed = time.monotonic()

    def _folder_of(self, trial: int) -> Path:
        return self._folder / trial_name(trial)


def _searched(journal: Journal) -> hparams.Searched:
    noted = notes_of_begun(journal)
    config = {"space": list(noted.space or ()), "values": {}}
    space = keras_tuner.HyperParameters.from_config(config)
    return hparams.Searched(space, noted.pinned or {}, (noted.settings or {})["objective"])


def _history(
    trial: TrialRecord, epochs: Sequence[Mapping[str, float]], begun: float
) -> list[Event]:
    """All events of a trial from the journal; `begun` is in seconds since 1970."""
    found, clock = [hparams.session_start(trial, begun)], begun
    for rung in trial.rungs:
        each = rung.seconds / max(1, rung.end_epoch - rung.start_epoch)
        for epoch in range(rung.start_epoch, rung.end_epoch):
            clock += each
            found.append(_epoch_points(epochs[epoch], epoch + 1, clock))
        found.append(_rung_points(trial, rung, clock))
    return found


def _epoch_points(metrics: Mapping[str, float], epoch: int, wall_time: float) -> Event:
    values = {f"epoch/{name}": value for name, value in metrics.items()}
    return event_files.scalars(values, epoch, wall_time)


def _rung_points(trial: TrialRecord, rung: RungRecord, wall_time: float) -> Event:
    seconds = sum(each.seconds for each in trial.rungs if each.end_epoch <= rung.end_epoch)
    values = {
        hparams.SCORE: rung.score,
        hparams.EPOCHS: float(rung.end_epoch),
        hparams.SECONDS: seconds,
    }
    return event_files.scalars(values, rung.end_epoch, wall_time)


def _winner_point(wins: bool, rungs: int, wall_time: float) -> Event:
    """The x-axis is `rungs`, the rungs that the search has finished."""
    return event_files.scalars({hparams.WINNER: float(wins)}, rungs, wall_time)
