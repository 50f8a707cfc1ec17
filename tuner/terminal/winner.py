"""The report of `tune best`."""

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import typer

from tuner.evaluate.access_log import access_sentence
from tuner.runs.records import trial_name
from tuner.settings import BEST, SIMPLE
from tuner.terminal.export import print_export
from tuner.terminal.trials import CHANCE
from tuner.text import brief, counted, percent, printable

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.evaluate.evaluation import Winner
    from tuner.export.winner import Best
    from tuner.runs.run import Run

_CLASSES = 5  # that fit one screen
_SHOWN = 0.0005  # a tenth of a point, rounded
_INDENTED: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "  "}


def print_best(found: "Best", run: "Run", details: bool = False) -> None:
    """Print a winner, its accuracy first, then its export if there is one.

    Args:
        found: the winner with its evaluation, export and refit.
        run: its run.
        details: whether to print all scores, classes and baselines.
    """
    winner, refitted = found.winner, found.refitted
    typer.echo("\n".join(winner_lines(winner, run.settings.objective, details)))
    for line in run.dataset().warnings:
        typer.echo("\n".join(textwrap.wrap(f"Warning: {line}", 79)))
    if refitted is not None:
        typer.echo(f"Refitted accuracy     {percent(refitted.test_accuracy)}. {refitted.sentence}")
    if found.request is not None and found.exported is not None:
        print_export(found.request.folder, found.exported)
        return
    command = ["tune", "best", run.name, "--export", "model"]
    if winner.preferred != BEST:
        command += ["--prefer", winner.preferred]
    more = "" if details else f"; all scores: {shlex.join([*command[:3], '--details'])}"
    typer.echo(f"Next: {shlex.join(command)}{more}")


def winner_lines(winner: "Winner", objective: str, details: bool = False) -> list[str]:
    """A winner, its accuracies and what the search gained; see `print_best`."""
    trial = winner.trial
    recipe = f", the {trial.recipe}" if trial.recipe else ""
    accesses = ""
    if len(winner.accesses) > (0 if details else 1):
        accesses = access_sentence(winner.accesses)
    return [
        f"Winner: trial {trial_name(trial.id)}{recipe}, {counted(trial.epochs, 'epoch')}",
        *_accuracies(winner, objective),
        *textwrap.wrap(winner.verdict, 79),
        *(
            [*_scores(winner), *_classes(winner), *_baselines(winner)]
            if details and winner.test_images
            else []
        ),
        *textwrap.wrap(accesses, 79),
        "Hyperparameters:",
        *(
            f"  {name:<20}{value:.3g}" if isinstance(value, float) else f"  {name:<20}{value}"
            for name, value in trial.hyperparameters.items()
        ),
    ]


def _accuracies(winner: "Winner", objective: str) -> list[str]:
    """Each accuracy, beside that of always answering the most frequent class."""
    chose = {} if winner.preferred == SIMPLE else {objective: ", which chose it"}
    lines = [
        *_tested(winner),
        f"Validation accuracy   {percent(winner.validation_accuracy)}"
        f"{chose.get('val_accuracy', '')}",
        *_bias_corrected(winner),
        f"{CHANCE} {_test(winner.majority_rate)}"
        f"{percent(winner.validation_majority_rate)} (validation)",
    ]
    if objective == "val_balanced_accuracy":
        lines += [
            f"Mean of the classes   {_test(winner.test_balanced_accuracy)}"
            f"{percent(winner.validation_balanced_accuracy)} (validation), which chose it",
            f"{CHANCE} {percent(1 / winner.classes)} (mean of the classes)",
        ]
    return lines


def _tested(winner: "Winner") -> list[str]:
    """The test accuracy with its interval; nothing without test images."""
    if winner.test_accuracy is None or winner.test_accuracy_interval is None:
        return []
    leak = winner.leaked.sentence
    low, high = winner.test_accuracy_interval
    return [
        f"Test accuracy         {percent(winner.test_accuracy)} of {winner.test_images} images"
        f"{'' if leak else ' that took no part in the search'}",
        f"  95 % interval       {100 * low:.1f} to {percent(high)}",
        *textwrap.wrap(leak or "", 79, **_INDENTED),
    ]


def _test(share: float | None) -> str:
    return "" if share is None else f"{percent(share)} (test), "


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


def _scores(winner: "Winner") -> list[str]:
    scores = winner.details["scores"]
    return [
        f"Test scores           balanced {percent(scores['balanced_accuracy'])}, macro F1 "
        f"{percent(scores['macro_f1'])}, log loss {scores['log_loss']:.2f},",
        f"                      Brier {scores['brier_score']:.2f}, calibration error "
        f"{percent(scores['calibration_error'])}",
    ]


def _classes(winner: "Winner") -> list[str]:
    rows = winner.details["per_class"]
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
    return lines


def best_row(found: "Best") -> dict[str, Any]:
    """A winner, its export and refit as `tune best --json` prints them."""
    from tuner.export.description import check_row
    from tuner.export.refit import refit_row

    row = found.winner.to_json()
    if found.request is not None and found.exported is not None:
        row |= {"export": str(found.request.folder)} | check_row(found.exported)
    if found.refitted is not None:
        row["refit"] = refit_row(found.refitted)
    return row
