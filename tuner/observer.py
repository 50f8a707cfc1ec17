"""Events of a search, and observers that receive them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.hyperband.schedule import Schedule
from tuner.runs.records import TrialRecord

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.training.trainer import EpochMetrics


@dataclass(frozen=True)
class Counting:
    """`done` of `count` images have passed the step named `what`."""

    what: str
    done: int
    count: int


@dataclass(frozen=True)
class Note:
    """A sentence for the user."""

    text: str


@dataclass(frozen=True)
class SearchBegins:
    """The search begins its first trial, or resumes.

    Attributes:
        schedule: the whole plan.
        omitted_recipes: names of recipes that contradict a pinned hyperparameter.
        done: trials of earlier processes.
        epochs_done: their epochs, with those of an interrupted rung that are saved.
        seconds_left: estimated training time; None if unknown.
        best: the leading trial; None until a rung is finished.
    """

    schedule: Schedule
    omitted_recipes: tuple[str, ...] = ()
    done: tuple[TrialRecord, ...] = ()
    epochs_done: int = 0
    seconds_left: float | None = None
    best: TrialRecord | None = None


@dataclass(frozen=True)
class TimeLeft:
    """A new estimate of the training time that is left, in seconds; None if unknown."""

    seconds: float | None


@dataclass(frozen=True)
class RungBegins:
    """A trial is about to train up to `end_epoch`.

    Attributes:
        trial: as the journal has it: its epochs are those of finished rungs.
        end_epoch: where the rung ends.
        epoch: epochs that are saved already, an interrupted rung's included.
    """

    trial: TrialRecord
    end_epoch: int
    epoch: int = 0


@dataclass(frozen=True)
class EpochEnds:
    """Epoch number `epoch` of a trial, counted from 1, is done."""

    trial: TrialRecord
    epoch: int
    metrics: "EpochMetrics"


@dataclass(frozen=True)
class RungEnds:
    """A trial finished its rung, or failed; `best` is the leading trial now, if any."""

    trial: TrialRecord
    best: TrialRecord | None


@dataclass(frozen=True)
class SearchEnds:
    """The search is over: complete, or out of time."""

    trials: tuple[TrialRecord, ...]


SearchEvent = (
    Counting | Note | SearchBegins | TimeLeft | RungBegins | EpochEnds | RungEnds | SearchEnds
)


class SearchObserver:
    """Receives the events of a search; subclasses override `on_event`.

    Example:
        >>> class PrintScores(SearchObserver):
        ...     def on_event(self, event):
        ...         if isinstance(event, RungEnds):
        ...             print(event.trial.id, event.trial.score)
        >>> tuner = HyperbandTuner(space, observer=PrintScores())
    """

    def on_event(self, event: SearchEvent) -> None:
        """Handle an event; the default ignores it."""

    def note(self, text: str) -> None:
        """Send a `Note`."""
        self.on_event(Note(text))

    def count(self, what: str, done: int, count: int) -> None:
        """Send a `Counting`; this is a `counting.Progress`."""
        self.on_event(Counting(what, done, count))


class Observers(SearchObserver):
    """Several observers as one: each receives every event, in order."""

    def __init__(self, *observers: SearchObserver) -> None:
        self._observers = observers

    def on_event(self, event: SearchEvent) -> None:
        """Forward the event."""
        for observer in self._observers:
            observer.on_event(event)
