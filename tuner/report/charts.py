"""The charts of a page: where each point, line and mark lies. The templates draw them as SVG.

Places are percentages of the frame, from its left and its lower edge.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
        kind: how it is drawn: a class of the style sheet.
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
    """A line through places, as a `Point`; `trial` is the one that it stands for."""

    places: tuple[tuple[float, float], ...]
    kind: str
    title: str = ""
    strength: float = 1.0
    trial: int | None = None


@dataclass(frozen=True)
class Chart:
    """A chart: marks below it and beside it; lines, the last one on top, and points above them."""

    title: str
    label: str
    columns: Sequence[Tick] = ()
    rows: Sequence[Tick] = ()
    lines: Sequence[Line] = ()
    points: Sequence[Point] = ()


def brackets(data: RunData) -> list[Chart]:
    """A chart of each bracket that has begun, the most aggressive first."""
    scores = _score_axis(data, (rung.score for trial in data.trials for rung in trial.rungs))
    charts = []
    for iteration in range(data.schedule.iterations):
        again = f", iteration {iteration + 1}" if data.schedule.iterations > 1 else ""
        for bracket in data.schedule.brackets:
            slot = (iteration, bracket.number)
            members = [t for t in data.trials if (t.iteration, t.bracket) == slot]
            if members:
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
        rungs = [(epochs.place(r.end_epoch) + shift, scores.place(r.score)) for r in trial.rungs]
        kind = "promotion winner" if trial == data.winner else "promotion"
        lines += [Line(pair, kind) for pair in itertools.pairwise(rungs)]
        for place, rung in zip(rungs, trial.rungs, strict=True):
            kind, fate = _fate(trial, rung.end_epoch, max(sizes), data)
            after = f"{rung.score:.4f} after {counted(rung.end_epoch, 'epoch')}"
            points.append(Point(*place, kind, f"trial {trial_name(trial.id)}: {after}{fate}"))
    order = ("stopped", "promoted", "finished", "winner")
    points.sort(key=lambda point: order.index(point.kind))
    lines.sort(key=lambda line: line.kind)
    columns, parts = [], []
    for end, size in sizes.items():
        reached = sum(trial.epochs >= end for trial in members)
        columns.append(Tick(epochs.place(end), f"epoch {end}", f"{reached} of {size}"))
        parts += [f"{counted(reached, 'trial')} to epoch {end}"] if reached else []
    failed = sum(trial.status == FAILED for trial in members)
    lost = f"; {failed} failed" if failed else ""
    label = f"{', of these '.join(parts) or 'No rung is finished yet'}{lost}."
    return Chart(title, label, columns, scores.ticks(), lines, points)


def _fate(trial: TrialRecord, end_epoch: int, last: int, data: RunData) -> tuple[str, str]:
    """The kind of a trial's point at the end of a rung, and what became of the trial."""
    if trial == data.winner:
        return "winner", ", the winner"
    if end_epoch < trial.epochs:
        return "promoted", ", promoted"
    if end_epoch == last:
        return "finished", ""
    return "stopped", ", no further so far" if data.is_open else ", went no further"


def learning_curves(data: RunData) -> tuple[Chart, set[int]]:
    """The objective after each epoch of each trial, and the trials whose curves leave the frame."""
    curves = {key: [epoch[data.objective] for epoch in data.curves[key]] for key in data.curves}
    winner = -1 if data.winner is None else data.winner.id
    name = data.objective.removeprefix("val_")
    training = [epoch[name] for epoch in data.curves.get(winner, ()) if name in epoch]
    known = itertools.chain(*curves.values(), training)
    low, high = score_ends(known, data.is_loss)
    outside = {
        key
        for key, curve in (*curves.items(), (winner, training))
        if not all(low <= value <= high for value in curve)
    }
    lines = []
    for trial in reversed(data.trials):  # the best on top
        kind = "winner" if trial.id == winner else "recipe" if trial.recipe else "trial"
        lines.append((kind, curves.get(trial.id, []), _title(trial, data)))
    lines.append(("winner dotted", training, "the winner on its training images"))
    label = f"{data.objective} by epoch, a curve for each of {counted(len(curves), 'trial')}."
    return _curves(label, lines, Axis(data.objective, low, high)), outside


def compared_curves(curves: dict[str, list[float]]) -> Chart:
    """Validation accuracies after each epoch, by name; all of them are in the frame."""
    values = [value for curve in curves.values() for value in curve if math.isfinite(value)]
    low, high = round_ends(min(values, default=0.0), max(values, default=1.0), is_loss=False)
    lines = [(f"run{place % 5}", curves[name], name) for place, name in enumerate(curves)]
    label = f"Validation accuracy by epoch of the winners of {len(curves)} runs."
    return _curves(label, lines, Axis("val_accuracy", low, high))


def _curves(label: str, curves: Sequence[tuple[str, list[float], str]], scores: Axis) -> Chart:
    longest = max((len(curve) for _, curve, _ in curves), default=1)
    epochs = Axis("epoch", 1, longest) if longest > 1 else Axis("epoch", choices=(1,))
    lines, points = [], []
    for kind, curve, title in curves:
        known = [(epoch, value) for epoch, value in enumerate(curve, 1) if math.isfinite(value)]
        places = tuple((epochs.place(epoch), scores.place(value)) for epoch, value in known)
        if len(places) == 1:
            points.append(Point(*places[0], kind, title))
        elif places:
            lines.append(Line(places, kind, title))
    columns = [tick for tick in epochs.ticks() if "." not in tick.text]
    return Chart("", label, columns, scores.ticks(), lines, points)


def panels(data: RunData) -> list[Chart]:
    """Each hyperparameter against the score; the shape of a point is that of its rung."""
    scores = _score_axis(data, (trial.rungs[-1].score for trial in data.scored))
    reached, charts = rungs(data), []
    for axis in hyperparameter_axes(data):
        room = 60 / len(axis.choices) if axis.choices else 0
        points = []
        for trial in reversed(data.scored):  # the best on top
            x = axis.place(trial.hyperparameters.get(axis.name)) + _shift(trial) * room
            y, title, rung = (
                scores.place(trial.score),
                _title(trial, data),
                reached.index(trial.epochs),
            )
            shape = SHAPES[rung % len(SHAPES)]
            if trial == data.winner:
                points.append(Point(x, y, "winner", title, shape))
            else:
                strength = 0.3 + 0.7 * (rung + 1) / len(reached)
                points.append(Point(x, y, "rung", title, shape, strength))
        title = f"{axis.name} (logarithmic)" if axis.is_log else axis.name
        label = f"{data.objective} by {axis.name}, a mark for each trial."
        charts.append(Chart(title, label, axis.ticks(), scores.ticks(), (), points))
    return charts


def parallel_axes(data: RunData) -> list[Axis]:
    """The axes of the parallel coordinates: hyperparameters, epochs, score."""
    scores = [trial.rungs[-1].score for trial in data.scored]
    known = sorted(filter(math.isfinite, scores), reverse=data.is_loss) or [0.0]
    epochs = Axis("epochs", choices=tuple(rungs(data)))
    return [*hyperparameter_axes(data), epochs, Axis(data.objective, known[0], known[-1])]


def parallel(data: RunData) -> Chart:
    """Parallel coordinates: a line for each trial that has a score, the better the stronger."""
    axes = parallel_axes(data)
    across = [100 * place / (len(axes) - 1) for place in range(len(axes))]
    lines = []
    for rank, trial in enumerate(data.scored):
        values = trial.hyperparameters | {"epochs": trial.epochs, data.objective: trial.score}
        heights = [axis.place(values.get(axis.name)) for axis in axes]
        places, title = tuple(zip(across, heights, strict=True)), _title(trial, data)
        if trial == data.winner:
            lines.append(Line(places, "winner", title, trial=trial.id))
        else:
            strength = 0.75 - 0.6 * rank / len(data.scored)
            lines.append(Line(places, "coordinate", title, strength, trial.id))
    columns = [Tick(x, axis.name) for x, axis in zip(across, axes, strict=True)]
    label = "Parallel coordinates of all trials: hyperparameters, epochs and score."
    return Chart("", label, columns, (), lines[::-1])


def hyperparameter_axes(data: RunData) -> list[Axis]:
    """Axes of the hyperparameters in which trials differ, in the order of declaration."""
    axes = []
    for each in data.parameters:
        used = dict.fromkeys(trial.hyperparameters.get(each.name) for trial in data.trials)
        values = [value for value in dict.fromkeys((*each.values, *used)) if value is not None]
        is_numeric = all(isinstance(value, (int, float)) for value in values)
        if len(used) < 2:
            continue
        if each.is_range and is_numeric:
            first = UNUSED if None in used else 0.0
            is_log = each.is_log and min(values) > 0
            axes.append(Axis(each.name, min(values), max(values), (), is_log, first))
        else:
            unused = [None] if None in used else []
            choices = (sorted(values) if is_numeric else values) + unused
            axes.append(Axis(each.name, choices=tuple(choices)))
    return axes


def rungs(data: RunData) -> list[int]:
    """The epochs that trials with a score were trained, from the first rung on."""
    return sorted({trial.epochs for trial in data.scored})


def reliability_diagram(found: Calibration) -> Chart:
    """Accuracy, with its interval, against confidence, for each bin that holds images."""
    lines, points = [Line(((0, 0), (100, 100)), "diagonal")], []
    for row in found.bins:
        x, accuracy = 100 * row["confidence"], row["accuracy"]
        lines.append(Line(((x, 100 * accuracy.low), (x, 100 * accuracy.high)), "spread"))
        of = f"{counted(row['images'], 'image')}, confidence {percent(row['confidence'])}"
        title = f"{of}, {percent(accuracy.share)} correct"
        points.append(Point(x, 100 * accuracy.share, "reliable", title))
    ticks = [Tick(place, f"{place} %") for place in range(0, 101, 20)]
    return Chart("Reliability diagram", found.verdict, ticks, ticks, lines, points)


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
    return Axis(data.objective, high, low) if data.is_loss else Axis(data.objective, low, high)
