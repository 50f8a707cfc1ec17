"""The progress of a search, on stderr."""

import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.text import Text

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
from tuner.terminal.live_screen import Frames, Repeating
from tuner.terminal.live_view import LiveView
from tuner.terminal.schedule import schedule_lines
from tuner.terminal.search_state import SearchState
from tuner.text import brief, counted, duration, printable

# Between two lines of a log: of a search, of images that are counted, of anything else.
_LINE_SECONDS, _COUNT_SECONDS, _WORKING_SECONDS = 60.0, 10.0, 20.0
_BAR_WIDTH = 10
_POLL_SECONDS = 1.0  # between checks whether a line is due: an epoch may take longer than that
_CACHE_SECONDS = 10.0  # for which the size of the cache is not computed again
_STATM = Path("/proc/self/statm")  # Linux: its second number is the memory in use, in pages
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of ru_maxrss


class SearchProgress(SearchObserver):
    """Shows a search: the work done, the best trial so far, and the time left.

    On a terminal it is a live screen below permanent lines; in a log, a plain line when another
    trial leads, and one a minute.

    Args:
        objective: name of the score.
        quiet: show nothing.
        cache_bytes: returns the size of the cache; None to omit it.
        plain: print plain lines on a terminal too.
        steps: counts belong to one step of several, whose time left is not that of the whole.

    Example:
        >>> with SearchProgress("val_accuracy") as progress:
        ...     run_search(settings, "first", folders, observer=progress)
    """

    def __init__(
        self,
        objective: str,
        quiet: bool = False,
        cache_bytes: Callable[[], int] | None = None,
        plain: bool = False,
        steps: bool = False,
    ) -> None:
        self._objective = objective
        self._of = " in this step" if steps else ""
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        # With FORCE_COLOR, rich takes a log file for a terminal.
        terminal = self._console.is_interactive and self._console.file.isatty()
        self._live = terminal and not (quiet or plain)
        self._frames = Frames(self._console, self.drawn, self._live)
        self._reminder = Repeating(self._remind, _POLL_SECONDS, "progress")
        self._lock = threading.RLock()
        self._counted: _Count | None = None
        self._state: SearchState | None = None
        self._begun = self._said = time.monotonic()
        self._cache_bytes = cache_bytes
        self._cached: tuple[float, int | None] = (float("-inf"), None)

    def __enter__(self) -> "SearchProgress":
        """Start the live view, or the thread that prints a line a minute."""
        self._frames.start()
        if not (self._live or self._console.quiet):
            self._reminder.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the live view."""
        self._reminder.stop()
        self._frames.stop()

    def say(self, text: str) -> None:
        """Print a permanent line."""
        self._frames.say(printable(text))

    def on_event(self, event: SearchEvent) -> None:
        """Show an event of a search."""
        match event:
            case Counting(what, done, count):
                self._count(what, done, count)
            case Note(text):
                self.say(text)
            case SearchBegins() if self._state is not None:  # the plan was extended
                self._state.schedule = event.schedule
            case SearchBegins():
                self._begin_search(event)
            case TimeLeft(seconds):
                self._running.note_left(seconds, time.monotonic())
            case RungBegins(trial, end_epoch, epoch):
                with self._lock:
                    self._running.begin_rung(trial, end_epoch, epoch)
            case EpochEnds(trial, epoch):
                with self._lock:
                    self._running.end_epoch(trial, epoch)
                self._remind()
            case RungEnds(trial, best):
                self._end_rung(trial, best)
            case SearchEnds(trials):
                self._state = None
                took = duration(time.monotonic() - self._begun)
                self.say(f"Searched {counted(len(trials), 'trial')} in {took}.")

    def _begin_search(self, event: SearchBegins) -> None:
        """Print how large the search is, how long it takes, and what is done already."""
        self._counted = None
        self._begun = self._said = time.monotonic()
        self._state = SearchState(event.schedule, event.done, self._begun, event.best)
        self._state.note_left(event.seconds_left, self._begun)
        for name in event.omitted_recipes:
            self.say(f"The {name} is skipped: it contradicts --fix.")
        for line in schedule_lines(event.schedule, event.seconds_left):
            self.say(line)
        if event.done:
            trials = counted(self._state.trials, "trial")
            self.say(f"Done before: {trials} and {counted(event.epochs_done, 'epoch')}.")

    def _end_rung(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Print why a trial failed, and in a log also that another trial leads."""
        with self._lock:
            leads = self._running.end_rung(trial, best, time.monotonic())
        name = f"trial {trial_name(trial.id)}"
        if trial.status == FAILED:
            self.say(f"{name} failed: {brief(trial.message)}")
        elif not self._live and (leads or self._due(_LINE_SECONDS)):
            rung = trial.rungs[-1]
            self._said = time.monotonic()
            self.say(
                f"{name} at epoch {rung.end_epoch}: "
                f"{self._objective} {rung.score:.4f}; {self._standing()}"
            )

    def saved(self) -> str:
        """What a stopped search has saved, such as ": 1 of 24 trials"; empty before it began."""
        if (state := self._state) is None:
            return ""
        total, best = state.schedule, state.best
        leader = "" if best is None else f", best {best.score:.4f}"
        return (
            f": {state.trials} of {total.total_trials} trials, {state.epochs} of "
            f"{total.total_epochs} epochs{leader}"
        )

    def drawn(self) -> RenderableType:
        """The live view now; if drawing fails, the error instead, as the search must go on."""
        try:
            if (counted := self._counted) is not None:
                return counted.drawn(time.monotonic(), self._of)
            if self._state is None:
                return Text(self._working(), style="dim")
            view = LiveView(self._state, self._objective, self._resources(), time.monotonic())
            with self._lock:  # the search changes it meanwhile
                return Group(*view.lines(*self._console.size))
        except Exception as error:
            return Text(f"The screen cannot be drawn: {error}")

    def _remind(self) -> None:
        """In a log, print where the search stands a minute after the last line."""
        with self._lock:
            interval = _COUNT_SECONDS if self._counted else _WORKING_SECONDS
            interval = _LINE_SECONDS if self._state is not None else interval
            if self._live or not self._due(interval):
                return
            if self._counted is not None:
                self.say(self._counted.line(time.monotonic(), self._of))
                return
            if self._state is None:
                self.say(self._working())
                return
            if (running := self._state.running) is None:
                return
            self.say(
                f"trial {trial_name(running.trial.id)}, {running.epoch} of {running.end_epoch} "
                f"epochs: {self._standing()}"
            )

    def _resources(self) -> dict[str, int | None]:
        now = time.monotonic()
        if self._cache_bytes is not None and now - self._cached[0] >= _CACHE_SECONDS:
            self._cached = now, self._cached[1]
            found = self._cache_bytes()
            # A large cache takes long to measure, and is measured less often.
            self._cached = time.monotonic() + 100 * (time.monotonic() - now), found
        return {"cache": self._cached[1], **_memory()}

    def _standing(self) -> str:
        """Trials that have a score, the best of them, and the time left."""
        course, best = self._running, self._running.best
        leader = f"best {best.score:.4f} ({trial_name(best.id)}), " if best else ""
        left = course.left(time.monotonic())
        about = "time left unknown" if left is None else f"about {duration(left)} left"
        return f"{course.trials}/{course.schedule.total_trials} trials, {leader}{about}"

    @property
    def _running(self) -> SearchState:
        assert self._state is not None, "the search has not begun"
        return self._state

    def _count(self, what: str, done: int, count: int) -> None:
        now, before = time.monotonic(), self._counted
        if before is None or before.what != what:
            self._said = now
            before = _Count(what, count, done, now, done, now)
        self._counted = replace(before, done=done, updated=now) if done < count else None
        if done == count:
            self._said = self._begun = now
        self._remind()

    def _working(self) -> str:
        return f"working, {duration(time.monotonic() - self._begun)}"

    def _due(self, seconds: float) -> bool:
        if time.monotonic() - self._said < seconds:
            return False
        self._said = time.monotonic()
        return True


@dataclass(frozen=True)
class _Count:
    """Images that pass a step: `first` at `begun`, `done` at `updated`."""

    what: str
    count: int
    first: int
    begun: float
    done: int
    updated: float

    def line(self, now: float, of: str) -> str:
        return f"{self.what}: {self.done} of {self.count}, {self._left(now, of)}"

    def drawn(self, now: float, of: str) -> Text:
        filled = _BAR_WIDTH * self.done // max(self.count, 1)
        return Text.assemble(
            f"{self.what} ",
            ("━" * filled, "green"),
            ("━" * (_BAR_WIDTH - filled), "dim"),
            f" {self.done}/{self.count} {self._left(now, of)}",
        )

    def _left(self, now: float, of: str) -> str:
        # What was done before the first call, such as images from the cache, took no time.
        done = self.done - self.first
        each = (self.updated - self.begun) / done if done else 0.0
        left = each * (self.count - self.done) - (now - self.updated)
        if left <= 0:
            return f"{duration(now - self.begun)} so far, time left{of} unknown"
        return f"{duration(max(left, 1.0))} left{of}"


def _memory() -> dict[str, int]:
    """Memory of this process in use; where the system has no such number, its peak."""
    try:
        pages = int(_STATM.read_text("ascii").split()[1])
    except OSError:
        return {"memory at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT}
    return {"memory": pages * resource.getpagesize()}
