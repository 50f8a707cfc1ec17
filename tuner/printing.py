"""What commands print on stdout."""

import csv
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType

from tuner.journal import TrialRecord
from tuner.ranking import trial_name
from tuner.run import Run
from tuner.tables import percent, trial_table

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.evaluation import Winner
    from tuner.export import Parity


def print_table(table: RenderableType) -> None:
    """Prints what rich renders, as wide as the terminal."""
    _console().print(table)


def print_trials(run: Run, records: list[TrialRecord], leader: TrialRecord | None) -> None:
    """Prints trials in the order given, the one that leads marked."""
    console = _console()
    objective = run.settings.objective
    console.print(trial_table(records, leader, objective=objective, width=console.width))


def print_csv(rows: list[dict[str, Any]]) -> None:
    """Prints rows as `trial_row` makes them, a column for each hyperparameter."""
    names = dict.fromkeys(name for row in rows for name in row["hyperparameters"])
    fixed = ["id", "status", "score", "bracket", "recipe", "epochs", "seconds", "message"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*fixed, *names])
    for row in rows:
        values = row["hyperparameters"]
        writer.writerow([*(row[name] for name in fixed), *(values.get(name) for name in names)])


def print_winner(
    winner: "Winner", export: Path | None = None, parity: "Parity | None" = None
) -> None:
    """Prints the winner, and the export if there is one with its check."""
    trial = winner.trial
    recipe = f", the {trial.recipe}" if trial.recipe else ""
    epochs = "1 epoch" if trial.epochs == 1 else f"{trial.epochs} epochs"
    typer.echo(f"Winner: trial {trial_name(trial.id)}{recipe}, {epochs}")
    for name, value in trial.hyperparameters.items():
        typer.echo(
            f"  {name:<20}{value:.3g}" if isinstance(value, float) else f"  {name:<20}{value}"
        )
    typer.echo(f"Validation accuracy   {percent(winner.validation_accuracy)}, which chose it")
    typer.echo(
        f"Test accuracy         {percent(winner.test_accuracy)} of {winner.test_images} images "
        "that took no part in the search"
    )
    typer.echo(f"Majority class alone  {percent(winner.majority_rate)}")
    if export is not None and parity is not None:
        _print_export(export, parity)


def _print_export(export: Path, parity: "Parity") -> None:
    typer.echo(f"Exported to {export}: model.keras, labels.json, export.json")
    same = parity.correct == parity.recorded
    recorded = (
        "as recorded" if same else f"recorded {parity.recorded}, {parity.ties} too close to call"
    )
    typer.echo(
        f"Checked by another process: {parity.correct} of {parity.images} validation images right, "
        f"{recorded}"
    )
    typer.echo(f"Next: {shlex.join(['tune', 'predict', str(export), 'IMAGE'])}")


def trial_row(record: TrialRecord) -> dict[str, Any]:
    """A trial as `tune trials --format json` prints it."""
    return {
        "id": trial_name(record.id),
        "status": record.status,
        "score": record.score,
        "hyperparameters": record.hyperparameters,
        "bracket": record.bracket,
        "recipe": record.recipe,
        "rungs": [
            {"from": rung.start_epoch, "to": rung.end_epoch, "score": rung.score}
            for rung in record.rungs
        ],
        "epochs": record.epochs,
        "seconds": round(record.seconds, 3),
        "message": record.message,
    }


def winner_row(winner: "Winner") -> dict[str, Any]:
    """The winner as `tune best --json` prints it."""
    return {
        "trial": trial_name(winner.trial.id),
        "hyperparameters": winner.trial.hyperparameters,
        "validation_accuracy": winner.validation_accuracy,
        "test_accuracy": winner.test_accuracy,
        "test_images": winner.test_images,
        "majority_rate": winner.majority_rate,
        "recipe": winner.trial.recipe,
        "epochs": winner.trial.epochs,
    }


def print_json(value: Any) -> None:
    """Prints a JSON document."""
    typer.echo(json.dumps(value, indent=2))


def _console() -> Console:
    return Console(highlight=False)
