"""The charts of a page: where each point, line and mark lies. The templates draw them as SVG.

Places are percentages of the frame, from its left and its upper edge.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tuner.report.axes import UNUSED, Axis, Tick, round_ends, score_ends
from tuner.report.run_data import RunData
from tuner.report.validation import Calibration
from tuner.runs.records import FAILED, TrialRecord, trial_name
from tuner.text import counted, number, percent

SHAPES = ("circle", "triangle", "square", "diamond", "cross", "bar")  # of points, by rung


@dataclass(frozen=True)
class Point:
    """A point of a chart.

    Attributes:
        x: place.
        y: place.
        kind: how it is drawn, a class of the style sheet.
        title: what it is, in words.
        shape: one of SHAPES.
        strength: opacity, 0 to 1.
    """

    x: float
    y: float
    kind: str
    title: str
    shape: str = "circle"
    strength: float = 1.0


@dataclass(frozen=True)
class Line:
    """A line through places; `kind`, `title` and `strength` as of a `Point`.

    Attributes:
        trial: number of the trial that it stands for, if a filter may hide it.
    """

    places: tuple[tuple[float, float], ...]
    kind: str
    title: str = ""
    strength: float = 1.0
    trial: int | None = None


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: its name.
        label: what it shows, in a sentence.
        columns: marks below it, at places from the left.
        rows: marks beside it, at places from the top.
        lines: in the order in which they are drawn.
        points: likewise, above the lines.
    """

    title: str
    label: str
    columns: tuple[Tick, ...]
    rows: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    points: tuple[Point, ...] = ()


def brackets(data: RunData) -> list[Chart]:
    """A chart of each bracket that has begun, the most aggressive first."""
    scores = _score_axis(data, (rung.score for trial in data.trials for rung in trial.rungs))
    charts = []
    for iteration in range(data.settings.iterations):
        for bracket in data.schedule.brackets:
            slot = (iteration, bracket.number)
            members = [t for t in data.trials if (t.iteration, t.bracket) == slot]
            if members:
                again = f", iteration {iteration + 1}" if data.settings.iterations > 1 else ""
                sizes = {rung.end_epoch: rung.size for rung in bracket.rungs}
                title = f"Bracket {bracket.number}{again}"
                charts.append(_bracket(title, sizes, members, data, scores))
    return charts


def _bracket(
    title: str, sizes: dict[int, int], members: Sequence[TrialRecord], data: RunData, scores: Axis
) -> Chart:
    """One bracket. `sizes` has the planned number of trials by the last epoch of each rung."""
    epochs = Axis("epoch", choices=tuple(sizes))
    lines, points = [], []
    for trial in members:
        shift = _shift(trial) * 25 / len(sizes)
        places = [
            (epochs.place(rung.end_epoch) + shift, 100 - scores.place(rung.score))
            for rung in trial.rungs
        ]
        kind = "promotion winner" if trial == data.winner else "promotion"
        lines += [Line(pair, kind) for pair in itertools.pairwise(places)]
        for place, rung in zip(places, trial.rungs, strict=True):
            kind, fate = _fate(trial, rung.end_epoch, max(sizes), data)
            after = f"{rung.score:.4f} after {counted(rung.end_epoch, 'epoch')}"
            points.append(Point(*place, kind, f"trial {trial_name(trial.id)}: {after}{fate}"))
    reached = {end: sum(trial.epochs >= end for trial in members) for end in sizes}
    columns = tuple(
        Tick(epochs.place(end), f"epoch {end}", f"{reached[end]} of {size}")
        for end, size in sizes.items()
    )
    order = ("stopped", "promoted", "finished", "winner")
    points.sort(key=lambda point: order.index(point.kind))
    lines.sort(key=lambda line: line.kind)
    summary = _summary(reached, members)
    return Chart(title, summary, columns, _rows(scores), tuple(lines), tuple(points))


def _fate(trial: TrialRecord, end_epoch: int, last: int, data: RunData) -> tuple[str, str]:
    """The kind of a trial's point at the end of a rung, and what became of the trial."""
    if trial == data.winner:
        return "winner", ", the winner"
    if end_epoch < trial.epochs:
        return "promoted", ", promoted"
    if end_epoch == last:
        return "finished", ""
    return "stopped", ", no further so far" if data.is_open else ", went no further"


def _summary(reached: dict[int, int], members: Sequence[TrialRecord]) -> str:
    parts = [f"{counted(count, 'trial')} to epoch {end}" for end, count in reached.items() if count]
    failed = sum(trial.status == FAILED for trial in members)
    lost = f"; {failed} failed" if failed else ""
    return f"{', of these '.join(parts) or 'No rung is finished yet'}{lost}."


def learning_curves(data: RunData) -> tuple[Chart, list[int]]:
    """The objective after each epoch of each trial, and the trials whose curves leave the frame.

    The frame leaves out the worst fiftieth of all epochs.
    """
    curves = {key: [epoch[data.objective] for epoch in data.curves[key]] for key in data.curves}
    training = training_curve(data)
    known = sorted(v for curve in (*curves.values(), training) for v in curve if math.isfinite(v))
    rest = len(known) // 50
    known = known[: len(known) - rest] if data.is_loss else known[rest:]
    low, high = score_ends(known, data.is_loss)
    outside = {key for key, curve in curves.items() if not all(low <= v <= high for v in curve)}
    if data.winner is not None and not all(low <= value <= high for value in training):
        outside.add(data.winner.id)
    lines = []
    for trial in reversed(data.trials):  # the best on top
        kind = "winner" if trial == data.winner else "recipe" if trial.recipe else "trial"
        lines.append((kind, curves.get(trial.id, []), _title(trial, data)))
    lines.append(("winner dotted", training, "the winner on its training images"))
    label = (
        f"{data.objective} by epoch, a curve for each of {counted(len(curves), 'trial')}. The "
        "table of all trials holds the scores."
    )
    return _curves(label, lines, Axis(data.objective, low, high)), sorted(outside)


def training_curve(data: RunData) -> list[float]:
    """The winner's metric on its training images, where the same is recorded of them."""
    name = data.objective.removeprefix("val_")
    curve = [] if data.winner is None else data.curves.get(data.winner.id, [])
    return [epoch[name] for epoch in curve if name in epoch]


def compared_curves(curves: dict[str, list[float]]) -> Chart:
    """Validation accuracies after each epoch, by name; all of them are in the frame."""
    values = [value for curve in curves.values() for value in curve if math.isfinite(value)]
    low, high = round_ends(min(values, default=0.0), max(values, default=1.0), is_loss=False)
    lines = [(f"run{place % 5}", curve, name) for place, (name, curve) in enumerate(curves.items())]
    label = (
        f"Validation accuracy by epoch of the winners of {len(curves)} runs. The table above holds "
        "the scores."
    )
    return _curves(label, lines, Axis("val_accuracy", low, high))


def _curves(label: str, curves: Sequence[tuple[str, list[float], str]], scores: Axis) -> Chart:
    longest = max((len(curve) for _, curve, _ in curves), default=1)
    epochs = Axis("epoch", 1, longest) if longest > 1 else Axis("epoch", choices=(1,))
    lines, points = [], []
    for kind, curve, title in curves:
        places = [
            (epochs.place(epoch), 100 - scores.place(value))
            for epoch, value in enumerate(curve, start=1)
            if math.isfinite(value)
        ]
        if len(places) == 1:
            points.append(Point(*places[0], kind, title))
        elif places:
            lines.append(Line(tuple(places), kind, title))
    columns = tuple(tick for tick in epochs.ticks() if "." not in tick.text)
    return Chart("", label, columns, _rows(scores), tuple(lines), tuple(points))


def panels(data: RunData) -> list[Chart]:
    """Each hyperparameter against the score; the shape of a point is that of its rung."""
    scored = data.scored
    scores, reached = _score_axis(data, (t.rungs[-1].score for t in scored)), rungs(data)
    charts = []
    for axis in hyperparameter_axes(data):
        room = 60 / len(axis.choices) if axis.choices else 0
        points = []
        for trial in reversed(scored):  # the best on top
            rung = reached.index(trial.epochs)
            is_winner = trial == data.winner
            points.append(
                Point(
                    axis.place(trial.hyperparameters.get(axis.name)) + _shift(trial) * room,
                    100 - scores.place(trial.score),
                    "winner" if is_winner else "rung",
                    _title(trial, data),
                    SHAPES[rung % len(SHAPES)],
                    1.0 if is_winner else 0.3 + 0.7 * (rung + 1) / len(reached),
                )
            )
        title = f"{axis.name} (logarithmic)" if axis.is_log else axis.name
        label = (
            f"{data.objective} by {axis.name}, a mark for each trial. The table of all trials "
            "holds the numbers."
        )
        charts.append(Chart(title, label, axis.ticks(), _rows(scores), (), tuple(points)))
    return charts


def parallel_axes(data: RunData) -> list[Axis]:
    """The axes of the parallel coordinates: hyperparameters, epochs, score."""
    known = [t.rungs[-1].score for t in data.scored if math.isfinite(t.rungs[-1].score)] or [0.0]
    ends = (max(known), min(known)) if data.is_loss else (min(known), max(known))
    epochs = Axis("epochs", choices=tuple(rungs(data)))
    return [*hyperparameter_axes(data), epochs, Axis(data.objective, *ends)]


def parallel(data: RunData) -> Chart:
    """Parallel coordinates: a line for each trial that has a score, the better the stronger."""
    axes = parallel_axes(data)
    across = [100 * place / (len(axes) - 1) for place in range(len(axes))]
    lines = []
    for place, trial in enumerate(data.scored):
        values = [trial.hyperparameters.get(axis.name) for axis in axes[:-2]]
        values += [trial.epochs, trial.score]
        heights = [100 - axis.place(value) for axis, value in zip(axes, values, strict=True)]
        is_winner = trial == data.winner
        lines.append(
            Line(
                tuple(zip(across, heights, strict=True)),
                "winner" if is_winner else "coordinate",
                _title(trial, data),
                1.0 if is_winner else 0.75 - 0.6 * place / len(data.scored),
                trial.id,
            )
        )
    label = (
        "Parallel coordinates of all trials: hyperparameters, epochs and score. The table below "
        "holds the numbers."
    )
    columns = tuple(Tick(x, axis.name) for x, axis in zip(across, axes, strict=True))
    return Chart("", label, columns, (), tuple(reversed(lines)))


def hyperparameter_axes(data: RunData) -> list[Axis]:
    """Axes of the hyperparameters in which trials differ, in the order of declaration."""
    axes = []
    for each in data.parameters:
        used = dict.fromkeys(trial.hyperparameters.get(each.name) for trial in data.trials)
        if len(used) < 2:
            continue
        unused = None in used
        values = [value for value in dict.fromkeys((*each.values, *used)) if value is not None]
        is_numeric = all(isinstance(value, (int, float)) for value in values)
        if each.is_range and is_numeric:
            low, high = min(values), max(values)
            is_log = each.is_log and low > 0
            axes.append(Axis(each.name, low, high, is_log=is_log, first=UNUSED if unused else 0.0))
        else:
            choices = (*(sorted(values) if is_numeric else values), *([None] if unused else []))
            axes.append(Axis(each.name, choices=choices))
    return axes


def rungs(data: RunData) -> list[int]:
    """The epochs that trials with a score were trained, from the first rung on."""
    return sorted({trial.epochs for trial in data.scored})


def reliability_diagram(found: Calibration) -> Chart:
    """Accuracy, with its interval, against confidence, for each bin that holds images."""
    ticks = tuple(Tick(place, f"{place} %") for place in range(0, 101, 20))
    lines = [Line(((0, 100), (100, 0)), "diagonal")]
    points = []
    for row in found.bins:
        x, accuracy = 100 * row["confidence"], row["accuracy"]
        lines.append(
            Line(((x, 100 - 100 * accuracy.low), (x, 100 - 100 * accuracy.high)), "spread")
        )
        title = (
            f"{counted(row['images'], 'image')}, confidence {percent(row['confidence'])}, "
            f"{percent(accuracy.share)} correct"
        )
        points.append(Point(x, 100 - 100 * accuracy.share, "reliable", title))
    rows = tuple(replace(tick, place=100 - tick.place) for tick in ticks)
    return Chart("Reliability diagram", found.verdict, ticks, rows, tuple(lines), tuple(points))


def _title(trial: TrialRecord, data: RunData) -> str:
    recipe = f", {trial.recipe}" if trial.recipe else ""
    winner = ", the winner" if trial == data.winner else ""
    score = "no score" if trial.score is None else f"{data.objective} {trial.score:.4f}"
    values = [f"{name} {number(value)}" for name, value in trial.hyperparameters.items()]
    after = f"{score} after {counted(trial.epochs, 'epoch')}"
    return "\n".join((f"trial {trial_name(trial.id)}{recipe}{winner}", after, *values))


def _shift(trial: TrialRecord) -> float:
    """From -0.5 to 0.5, so that equal scores do not hide each other."""
    return (trial.id * 0.618034) % 1 - 0.5


def _score_axis(data: RunData, scores: Iterable[float]) -> Axis:
    """An axis on which the better scores are higher up."""
    low, high = score_ends(scores, data.is_loss)
    return Axis(data.objective, *((high, low) if data.is_loss else (low, high)))


def _rows(axis: Axis) -> tuple[Tick, ...]:
    return tuple(replace(tick, place=100 - tick.place) for tick in axis.ticks())
