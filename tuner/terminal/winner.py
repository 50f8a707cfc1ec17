"""The report of `tune best`."""

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tuner.evaluate.access_log import access_sentence
from tuner.runs.records import trial_name
from tuner.settings import SIMPLE
from tuner.terminal.export import print_export
from tuner.terminal.trials import CHANCE
from tuner.text import brief, counted, percent, printable

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.evaluate.evaluation import Winner
    from tuner.export.files import Exported
    from tuner.export.refit import Refit

_WIDE = 10  # points; a wider interval needs more images
_CLASSES = 5  # that fit one screen
_SHOWN = 0.0005  # a tenth of a point, rounded
_INDENTED: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "  "}


def print_winner(
    winner: "Winner",
    objective: str,
    export: Path | None = None,
    exported: "Exported | None" = None,
    refitted: "Refit | None" = None,
) -> None:
    """Print the winner, and its export if there is one.

    Args:
        winner: the trial with its evaluation.
        objective: name of the score that chose it.
        export: folder of the export.
        exported: the files, with their checks.
        refitted: the winner trained again on all images, if that was exported.
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
    """Each accuracy, beside that of always answering the most frequent class."""
    chose = {} if winner.preferred == SIMPLE else {objective: ", which chose it"}
    leak = winner.leaked and winner.leaked.sentence
    lines = [
        f"Validation accuracy   {percent(winner.validation_accuracy)}"
        f"{chose.get('val_accuracy', '')}",
        *_bias_corrected(winner),
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


def _bias_corrected(winner: "Winner") -> list[str]:
    """The validation accuracy, corrected for the bias of choosing the best of many."""
    bias = winner.selection_bias
    if bias is None or bias.trials == 1:
        return []
    optimistic = f"{100 * bias.optimism:.1f} points" if bias.optimism >= _SHOWN else "not"
    return [
        f"  bias-corrected      {percent(bias.corrected)}: best of {bias.trials} trials, "
        f"{optimistic} optimistic"
    ]


def _interval(winner: "Winner") -> list[str]:
    """The 95 % interval of the test accuracy, with a warning if it is wide."""
    if winner.test_accuracy_interval is None:
        return []
    low, high = (100 * end for end in winner.test_accuracy_interval)
    if high - low > _WIDE:
        return [f"  95 % interval       {low:.0f} to {high:.0f} %: too few images to say more"]
    return [f"  95 % interval       {low:.1f} to {high:.1f} %"]


def _details(winner: "Winner") -> list[str]:
    """Other scores, the worst classes, the baselines, and the log of test evaluations."""
    accesses = textwrap.wrap(access_sentence(winner.accesses), 79) if winner.accesses else []
    return [*_scores(winner), *_classes(winner), *_baselines(winner), *accesses]


def _scores(winner: "Winner") -> list[str]:
    scores = winner.details.get("scores")
    if scores is None:
        return []
    return [
        f"Test scores           balanced {percent(scores['balanced_accuracy'])}, macro F1 "
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
            f"{name[:width]:<{width}}  {row['images']:>6}  {_share(row['recall']):>6}  "
            f"{_share(row['precision']):>9}"
            for name, row in zip(names, shown, strict=True)
        ),
        *([f"{more} more classes with --json"] if more > 0 else []),
    ]


def _share(share: float | None) -> str:
    return "-" if share is None else percent(share)


def _baselines(winner: "Winner") -> list[str]:
    if not winner.baselines:
        return []
    lines = ["Baselines              accuracy  gain of the winner (95 %), exact McNemar"]
    for baseline in winner.baselines:
        low, high = (100 * end for end in baseline.gain_interval)
        gain = f"{100 * baseline.gain:+.1f} points ({low:.1f} to {high:.1f})"
        lines.append(
            f"  {baseline.name:<20} {percent(baseline.accuracy):>8}  {gain:<28} "
            f"p = {baseline.p_value:.2g}"
        )
    for each in winner.left_out:
        lines += textwrap.wrap(f"skipped: {each.name}, {brief(each.reason)}", 79, **_INDENTED)
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
        "luck": None if winner.selection_bias is None else winner.selection_bias.to_json(),
        "opponents": [baseline.to_json() for baseline in winner.baselines],
        "left_out": [asdict(each) for each in winner.left_out],
        "verdict": winner.verdict,
        "looks": list(winner.accesses),
        "leaked_test_images": winner.leaked and winner.leaked.to_json(),
        "test_scores": winner.details.get("scores"),
        **{name: value for name, value in winner.details.items() if name != "scores"},
    }
