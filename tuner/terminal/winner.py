"""What commands print on stdout."""

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tuner.evaluate.access_log import looks_sentence
from tuner.runs.records import trial_name
from tuner.settings import SIMPLE
from tuner.terminal.export import print_export
from tuner.terminal.trials import CHANCE
from tuner.text import brief, counted, percent, printable

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.evaluate.evaluation import Winner
    from tuner.export.files import Exported
    from tuner.export.refit import Refit

# Points between the ends of an interval from which on too little is known.
_WIDE = 10
# Classes that are shown on one screen.
_CLASSES = 5
_SHOWN = 0.0005  # a tenth of a point, rounded
_INDENTED: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "  "}


def print_winner(
    winner: "Winner",
    objective: str,
    export: Path | None = None,
    exported: "Exported | None" = None,
    refitted: "Refit | None" = None,
) -> None:
    """Prints the winner, and the export if there is one with its check.

    Args:
        winner: its accuracies.
        objective: what it was chosen by.
        export: folder of the export.
        exported: its check.
        refitted: the winner trained again, which is what was exported.
    """
    trial = winner.trial
    recipe = f", the {trial.recipe}" if trial.recipe else ""
    epochs = counted(trial.epochs, "epoch")
    typer.echo(f"Winner: trial {trial_name(trial.id)}{recipe}, {epochs}")
    for name, value in trial.hyperparameters.items():
        typer.echo(
            f"  {name:<20}{value:.3g}" if isinstance(value, float) else f"  {name:<20}{value}"
        )
    typer.echo("\n".join([*_accuracies(winner, objective), *_details(winner)]))
    if refitted is not None:
        typer.echo(f"Refitted accuracy     {percent(refitted.test_accuracy)}. {refitted.sentence}")
    if export is not None and exported is not None:
        print_export(export, exported)


def _accuracies(winner: "Winner", objective: str) -> list[str]:
    """Lines that show each accuracy beside that of always answering the most frequent class."""
    chose = {} if winner.preferred == SIMPLE else {objective: ", which chose it"}
    leak = winner.leaked and winner.leaked.sentence
    lines = [
        f"Validation accuracy   {percent(winner.validation_accuracy)}"
        f"{chose.get('val_accuracy', '')}",
        *_luck(winner),
        f"Test accuracy         {percent(winner.test_accuracy)} of {winner.test_images} images"
        f"{'' if leak else ' that took no part in the search'}",
        *_interval(winner),
        *textwrap.wrap(leak or "", 79, **_INDENTED),
        f"{CHANCE} {percent(winner.validation_majority_rate)} (validation), "
        f"{percent(winner.majority_rate)} (test)",
    ]
    balanced = (winner.validation_balanced_accuracy, winner.test_balanced_accuracy)
    if objective == "val_balanced_accuracy" and None not in balanced:
        of_validation, of_test = (percent(share or 0.0) for share in balanced)
        lines += [
            f"Mean of the classes   {of_validation}, which chose it; {of_test} of the test images",
            f"{CHANCE} {percent(1 / winner.classes)} (mean of the classes)",
        ]
    return lines


def _luck(winner: "Winner") -> list[str]:
    """What is left of the validation accuracy without the luck of having been chosen."""
    luck = winner.luck
    if luck is None or luck.trials == 1:
        return []
    worth = f"  without its luck    {percent(luck.corrected)}: chosen of {luck.trials}, it"
    if luck.flattery < _SHOWN:
        return [f"{worth} has no luck to speak of"]
    return [f"{worth} flatters by {100 * luck.flattery:.1f} points"]


def _interval(winner: "Winner") -> list[str]:
    """What the test images leave open; and that it is much, where it is."""
    if winner.test_accuracy_interval is None:
        return []
    low, high = (100 * end for end in winner.test_accuracy_interval)
    if high - low > _WIDE:
        said = f"between {low:.0f} and {high:.0f} %: too few images to say more"
    else:
        said = f"between {low:.1f} and {high:.1f} %"
    return [f"  95 % interval       {said}"]


def _details(winner: "Winner") -> list[str]:
    """Other scores, the classes that are found worst, the opponents, and the looks."""
    looks = textwrap.wrap(looks_sentence(winner.looks), 79) if winner.looks else []
    return [*_scores(winner), *_classes(winner), *_opponents(winner), *looks]


def _scores(winner: "Winner") -> list[str]:
    scores = winner.details.get("scores")
    if scores is None:
        return []
    return [
        f"Of the test images    balanced {percent(scores['balanced_accuracy'])}, macro F1 "
        f"{percent(scores['macro_f1'])}, log loss {scores['log_loss']:.2f},",
        f"                      Brier {scores['brier_score']:.2f}, calibration error "
        f"{percent(scores['calibration_error'])}",
    ]


def _classes(winner: "Winner") -> list[str]:
    rows = winner.details.get("per_class", ())
    if not rows:
        return []
    worst = sorted(rows, key=lambda row: (row["recall"] is None, row["recall"] or 0.0))
    shown = worst[:_CLASSES]
    names = [printable(row["class"]) for row in shown]
    width = min(max(map(len, [*names, "Class"])), 30)
    more = len(rows) - len(shown)
    return [
        f"{'Class':<{width}}  images  recall  precision",
        *(
            f"{name[:width]:<{width}}  {row['images']:>6}  {_of(row['recall']):>6}  "
            f"{_of(row['precision']):>9}"
            for name, row in zip(names, shown, strict=True)
        ),
        *([f"{more} more, found better, with --json"] if more > 0 else []),
    ]


def _of(share: float | None) -> str:
    return "-" if share is None else percent(share)


def _opponents(winner: "Winner") -> list[str]:
    if not winner.opponents:
        return []
    lines = ["On the same images     accuracy  the winner gains (95 %), exact McNemar"]
    for opponent in winner.opponents:
        low, high = (100 * end for end in opponent.gain_interval)
        gain = f"{100 * opponent.gain:+.1f} points ({low:.1f} to {high:.1f})"
        lines.append(
            f"  {opponent.name:<20} {percent(opponent.accuracy):>8}  {gain:<28} "
            f"p = {opponent.p_value:.2g}"
        )
    for each in winner.left_out:
        lines += textwrap.wrap(f"left out: {each.name}, as {brief(each.reason)}", 79, **_INDENTED)
    return [*lines, *textwrap.wrap(winner.verdict or "", 79)]


def winner_row(winner: "Winner") -> dict[str, Any]:
    """The winner as `tune best --json` prints it."""
    return {
        "trial": trial_name(winner.trial.id),
        "hyperparameters": winner.trial.hyperparameters,
        "validation_accuracy": winner.validation_accuracy,
        "test_accuracy": winner.test_accuracy,
        "test_images": winner.test_images,
        "majority_rate": winner.majority_rate,
        "validation_balanced_accuracy": winner.validation_balanced_accuracy,
        "test_balanced_accuracy": winner.test_balanced_accuracy,
        "recipe": winner.trial.recipe,
        "epochs": winner.trial.epochs,
        "preferred": winner.preferred,
        "test_accuracy_interval": winner.test_accuracy_interval,
        "validation_majority_rate": winner.validation_majority_rate,
        "luck": None if winner.luck is None else winner.luck.to_json(),
        "opponents": [opponent.to_json() for opponent in winner.opponents],
        "left_out": [asdict(each) for each in winner.left_out],
        "verdict": winner.verdict,
        "looks": list(winner.looks),
        "leaked_test_images": winner.leaked and winner.leaked.to_json(),
        "test_scores": winner.details.get("scores"),
        **{name: value for name, value in winner.details.items() if name != "scores"},
    }
