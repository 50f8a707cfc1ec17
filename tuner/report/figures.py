"""Figures that the page draws itself: where each dot, line and bar goes.

Coordinates are in the units of the picture's own view box; y grows downwards.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tuner.hyperband.schedule import Rung
from tuner.report.run_data import Story
from tuner.runs.records import FAILED, TrialRecord, trial_name
from tuner.text import counted

WIDTH, HEIGHT = 340.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 26.0, 12.0, 44.0
_JITTER = 7.0
_MOST_SLOW = 5
_LEAST_ROOM = 0.01  # between the ends of an axis
_QUARTERS = 8  # scores that quartiles mean something for


@dataclass(frozen=True)
class Dot:
    """A trial on a rung.

    Attributes:
        x: place.
        y: place.
        kind: "winner", "promoted", "stopped" or "finished": on the last rung.
        title: what it is, in words.
    """

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class Line:
    """A promotion: from a trial's dot on one rung to that on the next."""

    x1: float
    y1: float
    x2: float
    y2: float
    is_winner: bool


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place, and what stands there."""

    place: float
    text: str
    note: str = ""


@dataclass(frozen=True)
class BracketPicture:
    """One bracket: rungs from left to right, scores from bottom to top.

    Attributes:
        title: which bracket.
        summary: what happened in it, in a sentence.
        columns: the rungs.
        scores: marks of the score's axis.
        dots: trials on rungs.
        lines: promotions.
    """

    title: str
    summary: str
    columns: tuple[Tick, ...]
    scores: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Share:
    """Part of a whole.

    Attributes:
        name: of the part.
        seconds: that it took.
        share: of the whole, 0 to 1.
        note: more about it.
    """

    name: str
    seconds: float
    share: float
    note: str = ""


def bracket_pictures(story: Story) -> list[BracketPicture]:
    """A picture of each bracket that has begun, the most aggressive first."""
    ends = score_ends((r.score for trial in story.trials for r in trial.rungs), story.is_loss)
    pictures = []
    for iteration in range(story.settings.iterations):
        for bracket in story.schedule.brackets:
            slot = (iteration, bracket.number)
            members = [t for t in story.trials if (t.iteration, t.bracket) == slot]
            if members:
                again = f", iteration {iteration + 1}" if story.settings.iterations > 1 else ""
                title = f"Bracket {bracket.number}{again}"
                pictures.append(_bracket(title, bracket.rungs, members, story, ends))
    return pictures


def time_shares(story: Story) -> dict[str, list[Share]]:
    """Where the time went: before the training and in it; of the latter by bracket and by depth,
    and the slowest trials, the largest first.
    """
    found = {}
    if story.prepared:
        spent = [*story.prepared.items(), ("training", story.seconds)]
        total = sum(seconds for _, seconds in spent) or 1.0
        found["All of it"] = [Share(name, seconds, seconds / total) for name, seconds in spent]
    found["The training, by bracket"] = _grouped(story, _bracket_name)
    if any("unfreeze_blocks" in trial.hyperparameters for trial in story.trials):
        found["The training, by trained residual blocks"] = _grouped(
            story, lambda trial: _depth(trial.hyperparameters.get("unfreeze_blocks"))
        )
    slowest = sorted(story.trials, key=lambda trial: -trial.seconds)[:_MOST_SLOW]
    total = story.seconds or 1.0
    found["The slowest trials"] = [
        Share(f"trial {trial_name(t.id)}", t.seconds, t.seconds / total, counted(t.epochs, "epoch"))
        for t in slowest
    ]
    return found


def _bracket_name(trial: TrialRecord) -> str:
    return "recipes" if trial.recipe else f"bracket {trial.bracket}"


def _depth(blocks: object) -> str:
    if not isinstance(blocks, int):
        return "not known"
    return counted(blocks, "block") if blocks else "head only"


def _grouped(story: Story, name: Callable[[TrialRecord], str]) -> list[Share]:
    groups: dict[str, list[TrialRecord]] = {}
    for trial in story.trials:
        groups.setdefault(name(trial), []).append(trial)
    total = story.seconds or 1.0
    shares = []
    for label, members in groups.items():
        seconds = sum(trial.seconds for trial in members)
        epochs = sum(trial.epochs for trial in members)
        note = f"{counted(len(members), 'trial')}, {counted(epochs, 'epoch')}"
        shares.append(Share(label, seconds, seconds / total, note))
    return sorted(shares, key=lambda share: -share.seconds)


def _bracket(
    title: str,
    rungs: Sequence[Rung],
    members: Sequence[TrialRecord],
    story: Story,
    ends: tuple[float, float],
) -> BracketPicture:
    across = _places(len(rungs))
    dots: list[Dot] = []
    lines: list[Line] = []
    for trial in members:
        is_winner = story.winner is not None and trial.id == story.winner.id
        last: tuple[float, float] | None = None
        for number, rung in enumerate(trial.rungs):
            x = across[min(number, len(across) - 1)] + _shift(trial.id)
            y = _height(rung.score, ends, story.is_loss)
            if last is not None:
                lines.append(Line(*last, x, y, is_winner))
            kind = _kind(trial, number, len(rungs), is_winner)
            dots.append(Dot(x, y, kind, _dot_title(trial, number, kind, story.is_open)))
            last = x, y
    reached = [sum(len(t.rungs) > number for t in members) for number in range(len(rungs))]
    columns = tuple(
        Tick(x, f"epoch {rung.end_epoch}", f"{count} of {rung.size}")
        for x, rung, count in zip(across, rungs, reached, strict=True)
    )
    scores = tuple(Tick(_height(s, ends, story.is_loss), _text(s)) for s in _marks(ends))
    order = {"stopped": 0, "promoted": 1, "finished": 2, "winner": 3}
    dots.sort(key=lambda dot: order[dot.kind])
    lines.sort(key=lambda line: line.is_winner)
    summary = _summary(rungs, reached, members)
    return BracketPicture(title, summary, columns, scores, tuple(dots), tuple(lines))


def _kind(trial: TrialRecord, number: int, rungs: int, is_winner: bool) -> str:
    if is_winner:
        return "winner"
    if number < len(trial.rungs) - 1:
        return "promoted"
    return "finished" if number == rungs - 1 else "stopped"


def _dot_title(trial: TrialRecord, number: int, kind: str, is_open: bool) -> str:
    rung = trial.rungs[number]
    stopped = ", no further so far" if is_open else ", went no further"
    fate = {"winner": ", the winner", "promoted": ", promoted", "stopped": stopped}
    return (
        f"trial {trial_name(trial.id)}: {rung.score:.4f} after {counted(rung.end_epoch, 'epoch')}"
        f"{fate.get(kind, '')}"
    )


def _summary(rungs: Sequence[Rung], reached: Sequence[int], members: Sequence[TrialRecord]) -> str:
    parts = [
        f"{counted(count, 'trial')} to epoch {rung.end_epoch}"
        for rung, count in zip(rungs, reached, strict=True)
        if count
    ]
    failed = sum(trial.status == FAILED for trial in members)
    lost = f"; {failed} failed" if failed else ""
    return f"{', of these '.join(parts) or 'No rung is finished yet'}{lost}."


def _places(count: int) -> list[float]:
    """The middles of the rungs."""
    room = WIDTH - _LEFT - _RIGHT
    if count == 1:
        return [_LEFT + room / 2]
    inset = 16.0
    return [_LEFT + inset + (room - 2 * inset) * n / (count - 1) for n in range(count)]


def _shift(trial: int) -> float:
    """A little to the left or right, so that equal scores do not hide each other."""
    golden = (trial * 0.618034) % 1
    return (golden - 0.5) * 2 * _JITTER


def score_ends(scores: Iterable[float], is_loss: bool) -> tuple[float, float]:
    """The ends of the score's axis: round numbers around all scores but the hopeless ones.

    Hopeless is what lies further below the lower quartile than three times the distance between the
    quartiles (Tukey 1977); it is drawn on the edge, so that it does not flatten the others.
    """
    known = sorted(score for score in scores if math.isfinite(score))
    if not known:
        return 0.0, 1.0
    low, high = known[0], known[-1]
    if len(known) >= _QUARTERS:
        lower, _, upper = statistics.quantiles(known, n=4)
        room = 3 * max(upper - lower, _LEAST_ROOM)
        low, high = (low, min(high, upper + room)) if is_loss else (max(low, lower - room), high)
    return round_ends(low, high, is_loss)


def round_ends(low: float, high: float, is_loss: bool) -> tuple[float, float]:
    """Round numbers around two scores; no loss is below 0, and no accuracy above 1 either."""
    step = axis_step(low, high)
    first, last = math.floor(low / step), math.ceil(high / step)
    below, above = (first - (first == last)) * step, (last + (first == last)) * step
    return max(below, 0.0), above if is_loss else min(above, 1.0)


def axis_step(low: float, high: float) -> float:
    """A round distance of marks, of which three to seven lie between two values."""
    room = max(high - low, _LEAST_ROOM)
    step: float = 10 ** math.floor(math.log10(room))
    return next(step * part for part in (1, 0.5, 0.2, 0.1) if room / (step * part) >= 3)


def _height(score: float, ends: tuple[float, float], is_loss: bool) -> float:
    """The place of a score; the better one is always higher up."""
    share = (score - ends[0]) / (ends[1] - ends[0]) if math.isfinite(score) else 0.0
    share = 1 - share if is_loss else share
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - min(max(share, 0.0), 1.0))


def _marks(ends: tuple[float, float]) -> list[float]:
    """Round numbers from end to end."""
    step = axis_step(*ends)
    first, last = math.ceil(ends[0] / step - 1e-9), math.floor(ends[1] / step + 1e-9)
    return [step * number for number in range(first, last + 1)]


def _text(score: float) -> str:
    return f"{score:.3g}"
