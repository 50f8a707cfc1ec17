"""The table and the CSV of `tune trials`."""

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tuner.errors import InputError
from tuner.metrics.scores import chance_rate
from tuner.runs.records import FAILED, TrialRecord, trial_name
from tuner.runs.run import Run
from tuner.terminal.tables import plain, plain_table, stdout_console
from tuner.text import HEAD_NAMES, SHORT_NAMES, brief, duration, head_text, number, percent

# Columns that a narrow terminal omits, in this order.
_EXPENDABLE = ("time", "status", "factor")

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
    """One row per trial, with the leader marked, and the reasons of failures below.

    Args:
        trials: in the order of the rows.
        best: the leading trial, if any.
        objective: name of the score.
        chance: score of always answering the most frequent class; None if unknown.
        width: of the terminal, in characters; columns that do not fit are omitted and named.
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


def _columns(trials: Sequence[TrialRecord], best: TrialRecord | None) -> list[_Column]:
    used = dict.fromkeys(name for trial in trials for name in trial.hyperparameters)
    # Known names first, in the order of SHORT_NAMES; then the others, in the order of first use.
    names = [name for name in (*SHORT_NAMES, *used) if name in used and name not in HEAD_NAMES]
    head = [_Column("head", lambda trial: head_text(trial.hyperparameters), left=True)]
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
        SHORT_NAMES.get(name, name),
        lambda trial: number(trial.hyperparameters.get(name)),
        wraps=name not in SHORT_NAMES,
    )


def _fitting(
    columns: list[_Column], trials: Sequence[TrialRecord], width: int
) -> tuple[list[_Column], list[str]]:
    """The columns that fit, and the headers of the omitted ones."""
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


def print_trials(run: Run, records: list[TrialRecord], leader: TrialRecord | None) -> None:
    """Print trials in the given order, with the leader marked."""
    console = stdout_console()
    objective = run.settings.objective
    chance = None if leader is None else _chance(run)
    console.print(
        trial_table(records, leader, objective=objective, chance=chance, width=console.width)
    )


def print_csv(rows: list[dict[str, Any]]) -> None:
    """Print rows of `trial_row` as CSV, with a column per hyperparameter."""
    names = dict.fromkeys(name for row in rows for name in row["hyperparameters"])
    fixed = ["id", "status", "score", "bracket", "recipe", "epochs", "seconds", "message"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*fixed, *names])
    for row in rows:
        values = row["hyperparameters"]
        writer.writerow([*(row[name] for name in fixed), *(values.get(name) for name in names)])


def _chance(run: Run) -> float | None:
    """Score of the most frequent class on the validation images; None if they are gone."""
    try:
        dataset = run.dataset()
    except InputError:  # the trials can be shown without
        return None
    of_validation = {name: splits["validation"] for name, splits in dataset.counts().items()}
    return chance_rate(of_validation, dataset.training_counts(), run.settings.objective)
