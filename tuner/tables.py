"""Tables and numbers as a terminal of 80 columns shows them."""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.cache import CacheEntry
from tuner.journal import FAILED, TrialRecord
from tuner.manifest import Skipped
from tuner.quantities import duration, size
from tuner.quantities import percent as percent
from tuner.ranking import trial_name
from tuner.run import RunSummary
from tuner.schedule import Schedule
from tuner.survey import Leak

# Columns for the hyperparameters of the resnet50 space; others get a column under their own name.
_SHORT = {
    "unfreeze_blocks": "blocks",
    "backbone_lr_factor": "factor",
    "dropout": "drop",
    "l2": "L2",
    "learning_rate": "lr",
}
_HEAD = ("head_layers", "head_width", "head_batchnorm")
# Columns that a narrow terminal does without, in this order.
_EXPENDABLE = ("time", "status", "factor")
_MESSAGE_LENGTH = 300
_EXAMPLES = 10
_KEEP = "--keep-conflicts trains on them"
_DROP = "--drop-leaks leaves them out"
CHANCE = "Always answering the most frequent class:"


@dataclass(frozen=True)
class _Column:
    header: str
    cell: Callable[[TrialRecord], str]
    left: bool = False
    wraps: bool = False


def trial_table(
    trials: Sequence[TrialRecord],
    best: TrialRecord | None,
    *,
    objective: str = "score",
    chance: float | None = None,
    width: int = 80,
) -> RenderableType:
    """One row a configuration, the winner marked, the failures' reasons below.

    Args:
        trials: in the order in which they are to be shown.
        best: the trial that leads, if any.
        objective: what the score is.
        chance: the score of always answering the most frequent class, None where there is none.
        width: characters of a line; columns that do not fit are left out, and that is said.
    """
    columns, omitted = _fitting(_columns(trials, best), trials, width)
    table = plain_table()
    for column in columns:
        table.add_column(
            plain(column.header),
            justify="left" if column.left else "right",
            overflow="fold" if column.wraps else "ellipsis",
            no_wrap=not column.wraps,
        )
    for trial in trials:
        cells = (plain(column.cell(trial)) for column in columns)
        table.add_row(*cells, style="bold" if trial == best else None)
    return Group(table, *_notes(trials, best, objective, chance, omitted))


def data_warnings(
    skipped: Sequence[Skipped],
    conflicts: Sequence[Sequence[str]],
    leaks: Sequence[Leak],
    used: Container[str] | None,
) -> list[str]:
    """What is wrong with images, a sentence each: damage, conflicts, leaks.

    Args:
        skipped: see `dataset.Dataset`, like the next two.
        conflicts: see there.
        leaks: see there.
        used: paths of the images that a search would use; None where it cannot be begun.
    """
    lines = [f"{each.path} is left out: {each.reason}." for each in skipped[:_EXAMPLES]]
    if len(skipped) > _EXAMPLES:
        lines.append(f"{len(skipped) - _EXAMPLES} more images are left out.")
    if conflicts:
        paths = [path for each in conflicts for path in each]
        lines.append(
            f"{len(paths)} images show a picture that stands under another label too, such as "
            f"{' and '.join(conflicts[0][:2])}{_fate(paths, used, _KEEP)}."
        )
    for split, name, remedy in (("train", "training", _DROP), ("validation", "validation", "")):
        found = [leak for leak in leaks if leak.split == split]
        if found:
            others = " and ".join(sorted({leak.other_split for leak in found}, reverse=True))
            lines.append(
                f"{len(found)} {name} images show what {others} images show, such as "
                f"{found[0].path} and {found[0].other}"
                f"{_fate([leak.path for leak in found], used, remedy)}."
            )
    return lines


def _fate(paths: Sequence[str], used: Container[str] | None, remedy: str) -> str:
    """How many of the images are used and how many are not, and what would change that."""
    if used is None:
        return ""
    kept = sum(path in used for path in paths)
    parts = [f"{kept} of them used"] if kept else []
    parts += [f"{len(paths) - kept} left out"] if kept < len(paths) else []
    would_help = remedy and (kept == 0) == (remedy is _KEEP)
    return f": {', '.join(parts)}{f' ({remedy})' if would_help else ''}"


def cache_table(folder: Path, entries: Sequence[CacheEntry]) -> RenderableType:
    """One row a kind of entry, and what all of them take.

    Args:
        folder: the cache folder.
        entries: what is in it.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for header, justify in (("kind", "left"), ("entries", "right"), ("in use", "right")):
        table.add_column(header, justify=justify)  # type: ignore[arg-type]
    table.add_column("size", justify="right")
    table.add_column("last used")
    for kind in sorted({entry.kind for entry in entries}):
        group = [entry for entry in entries if entry.kind == kind]
        used = max(entry.last_used for entry in group).astimezone()
        table.add_row(
            kind,
            str(len(group)),
            str(sum(entry.held for entry in group)),
            size(sum(entry.size_bytes for entry in group)),
            f"{used:%Y-%m-%d %H:%M}",
        )
    total = size(sum(entry.size_bytes for entry in entries))
    line = plain(f"{total} in {folder}")
    return Group(table, line) if entries else line


def schedule_lines(schedule: Schedule, seconds: float | None = None) -> list[str]:
    """What a search trains, one line a bracket.

    Args:
        schedule: the search.
        seconds: estimate of what is left of it, None where nothing is known.
    """
    about = "" if seconds is None else f", about {duration(seconds)}"
    lines = [
        f"Hyperband: {schedule.total_trials} trials, {schedule.total_epochs} epochs in all, up to "
        f"{schedule.max_epochs} a trial{about}."
    ]
    if schedule.recipes:
        lines.append(f"  recipes: {len(schedule.recipes)} to epoch {schedule.max_epochs}")
    for bracket in schedule.brackets:
        rungs = ", ".join(f"{rung.size} to epoch {rung.end_epoch}" for rung in bracket.rungs)
        lines.append(f"  bracket {bracket.number}: {rungs}")
    if schedule.iterations > 1:
        lines.append(f"  all brackets {schedule.iterations} times")
    return lines


def run_table(runs: Sequence[RunSummary]) -> Table:
    """One row a run."""
    table = plain_table()
    for header in ("run", "data", "state", "trials", "best", "size"):
        right = header in ("trials", "best", "size")
        table.add_column(header, justify="right" if right else "left", overflow="fold")
    for run in runs:
        table.add_row(
            plain(run.name),
            plain(Path(run.data).name if run.data else "digits"),
            run.state,
            "-" if run.trials is None else str(run.trials),
            "-" if run.best_score is None else f"{run.best_score:.4f}",
            size(run.size_bytes),
        )
    return table


def plain(text: str) -> Text:
    """Text from a user's disk: markup and control characters in it mean nothing."""
    return Text(printable(text))


def printable(text: str) -> str:
    """The text on one line, with a mark in place of each control character."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def brief(message: str | None) -> str:
    """An error's message on one line: TensorFlow's may have a thousand."""
    line = " ".join((message or "unknown").split())
    return printable(line if len(line) <= _MESSAGE_LENGTH else f"{line[:_MESSAGE_LENGTH]} ...")


def number(value: Any) -> str:
    """A hyperparameter in at most six characters; "-" for one that is not used."""
    if value is None:
        return "-"
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    if value == 0 or 0.01 <= abs(value) < 1:
        return f"{value:.2g}"
    if 1 <= abs(value) < 99_999:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def configuration(values: Mapping[str, Any]) -> str:
    """Hyperparameters on one line, the head's in one word."""
    parts = [f"head {_head(values)}"] if "head_layers" in values else []
    parts += [
        f"{_SHORT.get(name, name)} {number(value)}"
        for name, value in values.items()
        if name not in _HEAD and value is not None
    ]
    return printable(", ".join(parts))


def plain_table() -> Table:
    """A table of headings above columns, without lines between them."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)


def _columns(trials: Sequence[TrialRecord], best: TrialRecord | None) -> list[_Column]:
    used = dict.fromkeys(name for trial in trials for name in trial.hyperparameters)
    # Known names first, in the order of _SHORT; then the others, in the order of first use.
    names = [name for name in (*_SHORT, *used) if name in used and name not in _HEAD]
    head = [_Column("head", lambda trial: _head(trial.hyperparameters), left=True)]
    return [
        _Column("trial", lambda trial: f"{'*' if trial == best else ''}{trial_name(trial.id)}"),
        _Column("score", lambda trial: "-" if trial.score is None else f"{trial.score:.4f}"),
        _Column("ep.", lambda trial: str(trial.epochs)),
        _Column("status", lambda trial: trial.status.lower(), left=True),
        *(head if "head_layers" in used else []),
        *map(_hyperparameter, dict.fromkeys(names)),
        _Column("time", lambda trial: duration(trial.seconds)),
    ]


def _hyperparameter(name: str) -> _Column:
    return _Column(
        _SHORT.get(name, name),
        lambda trial: number(trial.hyperparameters.get(name)),
        wraps=name not in _SHORT,
    )


def _fitting(
    columns: list[_Column], trials: Sequence[TrialRecord], width: int
) -> tuple[list[_Column], list[str]]:
    """The columns that fit side by side, and the headers of those left out."""
    widths = {
        column.header: max(len(column.header), *(len(column.cell(trial)) for trial in trials), 0)
        for column in columns
    }
    omitted: list[str] = []
    for header in (header for header in _EXPENDABLE if header in widths):
        if sum(widths.values()) + len(widths) - 1 <= width:
            break
        del widths[header]
        omitted.append(header)
    return [column for column in columns if column.header in widths], omitted


def _head(values: Mapping[str, Any]) -> str:
    """Hidden layers as their widths, "256-128 BN"; "plain" for none."""
    layers, width = values.get("head_layers", 0), values.get("head_width", 0)
    if not layers:
        return "plain"
    widths = "-".join(str(width >> layer) for layer in range(layers))
    return f"{widths} BN" if values.get("head_batchnorm") else widths


def _notes(
    trials: Sequence[TrialRecord],
    best: TrialRecord | None,
    objective: str,
    chance: float | None,
    omitted: Sequence[str],
) -> list[Text]:
    notes = [Text(f"* {trial_name(best.id)} leads by {objective}.")] if best is not None else []
    if chance is not None:
        notes.append(Text(f"{CHANCE} {percent(chance)}"))
    for trial in trials:
        if trial.recipe:
            notes.append(plain(f"{trial_name(trial.id)} is the {trial.recipe}, a recipe."))
        if trial.status == FAILED:
            notes.append(Text(f"{trial_name(trial.id)} failed: {brief(trial.message)}"))
    if not trials:
        notes.append(Text("There are no trials yet."))
    if omitted:
        notes.append(Text(f"Too narrow for {', '.join(omitted)}: see --format csv."))
    return notes
