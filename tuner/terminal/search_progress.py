"""What a search does while it runs, on stderr."""

import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tuner.hyperband.schedule import Schedule
from tuner.observer import SearchObserver
from tuner.runs.records import FAILED, TrialRecord, trial_name
from tuner.terminal.live_screen import Frames, Repeating
from tuner.terminal.live_view import LiveView, Resources
from tuner.terminal.schedule import schedule_lines
from tuner.terminal.search_state import Course
from tuner.text import brief, counted, duration, printable

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.training.trainer import EpochMetrics

_LINE_SECONDS, _COUNT_SECONDS = 60.0, 10.0
# How often it is looked whether a line is due: an epoch may take longer than that.
_LOOK_SECONDS = 1.0
# How long the size of the cache, which is added up from its files, is taken to stay.
_CACHE_SECONDS = 10.0
# Linux alone has it: what memory the process takes now, the second number, in pages.
_STATM = Path("/proc/self/statm")
# Bytes of the unit in which every system tells what it took at most.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


class SearchProgress(SearchObserver):
    """Shows a search: what is done of how much, the best so far, and the time left.

    On a terminal it is a screen that is kept up to date, and lines above it that stay; elsewhere a
    plain line when another trial leads, and once a minute.

    Args:
        objective: name of the score.
        quiet: whether nothing is shown.
        cache_bytes: how much the cache holds; None where it is not to be shown.
        plain: whether a terminal gets plain lines too.
    """

    def __init__(
        self,
        objective: str,
        quiet: bool = False,
        cache_bytes: Callable[[], int] | None = None,
        plain: bool = False,
    ) -> None:
        self._objective = objective
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        # FORCE_COLOR alone makes a log file no terminal.
        self._live = self._console.is_interactive and self._console.file.isatty()
        self._live = self._live and not (quiet or plain)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            console=self._console,
        )
        self._frames = Frames(self._console, self.drawn, self._live)
        self._looks = Repeating(self._remind, _LOOK_SECONDS, "progress")
        self._lock = threading.RLock()
        self._task: TaskID | None = None
        self._counted = ""
        self._course: Course | None = None
        self._begun = self._said = time.monotonic()
        self._cache_bytes = cache_bytes
        self._cached: tuple[float, int | None] = (float("-inf"), None)

    def __enter__(self) -> "SearchProgress":
        """Begins to show."""
        self._frames.start()
        if not (self._live or self._console.quiet):
            self._looks.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clears the screen."""
        self._looks.stop()
        self._frames.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._frames.say(printable(text))

    def note(self, text: str) -> None:
        """Prints it."""
        self.say(text)

    def counting(self, what: str, done: int, count: int) -> None:
        """Shows a count of images."""
        self._count(what, done, count, "")

    def counting_step(self, what: str, done: int, count: int) -> None:
        """Shows the same of one step of several: the time left is not that of the whole."""
        self._count(what, done, count, " in this step")

    def search_begins(
        self,
        schedule: Schedule,
        omitted_recipes: tuple[str, ...],
        done: Sequence[TrialRecord] = (),
        seconds: float | None = None,
        best: TrialRecord | None = None,
    ) -> None:
        """Says how large the search is, how long it will take, and what is done of it."""
        self._end_task()
        self._begun = self._said = time.monotonic()
        self._course = Course(schedule, done, self._begun, best)
        self._course.note_left(seconds, self._begun)
        for name in omitted_recipes:
            self.say(f"The {name} is left out: it contradicts --fix.")
        for line in schedule_lines(schedule, seconds):
            self.say(line)
        if done:
            trials, epochs = counted(len(done), "trial"), counted(self._course.epochs, "epoch")
            self.say(f"Done of it: {trials} and {epochs}.")

    def time_left(self, seconds: float | None) -> None:
        """Keeps it."""
        assert self._course is not None
        self._course.note_left(seconds, time.monotonic())

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        """Shows which rung is trained, and counts the trial if it is new."""
        assert self._course is not None
        with self._lock:
            self._course.rung_begins(trial, end_epoch)

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: "EpochMetrics") -> None:
        """Counts an epoch."""
        assert self._course is not None
        with self._lock:
            self._course.epoch_ends(trial, epoch)
        self._remind()

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Says why a trial failed, and in a log that another leads."""
        assert self._course is not None
        with self._lock:
            leads = self._course.rung_ends(trial, best, time.monotonic())
        name = f"trial {trial_name(trial.id)}"
        if trial.status == FAILED:
            self.say(f"{name} failed: {brief(trial.message)}")
        elif not self._live and (leads or self._due(_LINE_SECONDS)):
            rung = trial.rungs[-1]
            self._said = time.monotonic()
            self.say(
                f"{name} rung {rung.start_epoch}-{rung.end_epoch}: "
                f"{self._objective} {rung.score:.4f}; {self._standing()}"
            )

    def search_ends(self, trials: list[TrialRecord]) -> None:
        """Says how long it took."""
        self._course = None
        took = duration(time.monotonic() - self._begun)
        self.say(f"Searched {counted(len(trials), 'trial')} in {took}.")

    def drawn(self) -> RenderableType:
        """What the screen shows now; nothing that goes wrong with it ends a search."""
        try:
            if self._task is not None:
                return self._bar.get_renderable()
            if self._course is None:
                return Group()
            view = LiveView(self._course, self._objective, self._resources(), time.monotonic())
            with self._lock:  # the search goes on meanwhile
                return Group(*view.fitting(*self._console.size))
        except Exception as error:
            return Text(f"The screen cannot be drawn: {error}")

    def _remind(self) -> None:
        """Says in a log where the search stands, a minute after anything else was said."""
        with self._lock:
            running = None if self._course is None else self._course.running
            if running is None or self._live or not self._due(_LINE_SECONDS):
                return
            self.say(
                f"trial {trial_name(running.trial.id)}, {running.epoch} of {running.end_epoch} "
                f"epochs: {self._standing()}"
            )

    def _resources(self) -> Resources:
        now = time.monotonic()
        if self._cache_bytes is not None and now - self._cached[0] >= _CACHE_SECONDS:
            self._cached = now, self._cached[1]
            found = self._cache_bytes()
            # A large one takes long to look at, and is looked at more rarely.
            self._cached = time.monotonic() + 100 * (time.monotonic() - now), found
        return Resources(self._cached[1], **_memory())

    def _standing(self) -> str:
        """Trials begun, the best so far, and the time left."""
        assert self._course is not None
        course, best = self._course, self._course.best
        leader = f"best {best.score:.4f} ({trial_name(best.id)}), " if best else ""
        left = course.left(time.monotonic())
        about = "time left unknown" if left is None else f"about {duration(left)} left"
        return f"{course.trials}/{course.schedule.total_trials} trials, {leader}{about}"

    def _count(self, what: str, done: int, count: int, of: str) -> None:
        if self._counted != what:
            self._new_task(what, count)
        assert self._task is not None
        left = self._counted_left(done / count, of)
        self._bar.update(self._task, completed=done, status=left)
        if done == count:
            self._end_task()
        elif not self._live and self._due(_COUNT_SECONDS):
            self.say(f"{what}: {done} of {count}, {left}")

    def _counted_left(self, share: float, of: str) -> str:
        if not share:
            return f"time left{of} unknown"
        return f"{duration((time.monotonic() - self._begun) * (1 / share - 1))} left{of}"

    def _due(self, seconds: float) -> bool:
        if time.monotonic() - self._said < seconds:
            return False
        self._said = time.monotonic()
        return True

    def _new_task(self, description: str, total: int) -> None:
        self._end_task()
        self._task = self._bar.add_task(description, total=total, status="")
        self._counted = description
        self._begun = self._said = time.monotonic()

    def _end_task(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._counted = ""


def _memory() -> dict[str, int]:
    """What memory the process takes, as `Resources` has it."""
    try:
        pages = int(_STATM.read_text("ascii").split()[1])
    except OSError:
        return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT}
    return {"memory_bytes": pages * resource.getpagesize()}
