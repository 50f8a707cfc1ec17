"""Tables and numbers as a terminal of 80 columns shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.journal import FAILED, TrialRecord
from tuner.prediction import Prediction

# Columns for the hyperparameters of the resnet50 space; others get a column under their own name.
_SHORT = {
    "unfreeze_blocks": "blocks",
    "backbone_lr_factor": "factor",
    "dropout": "drop",
    "l2": "L2",
    "learning_rate": "lr",
}
_HEAD = ("head_layers", "head_width", "head_batchnorm")


def trial_table(trials: Sequence[TrialRecord], best: TrialRecord | None) -> RenderableType:
    """One row a configuration, the winner marked, the failures' reasons below.

    Args:
        trials: in the order in which they are to be shown.
        best: the trial that leads, if any.
    """
    names = [name for name in _names(trials) if name not in _HEAD]
    has_head = any("head_layers" in trial.hyperparameters for trial in trials)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for header in ("trial", "score", "ep."):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    if has_head:
        table.add_column("head", no_wrap=True)
    for name in names:
        table.add_column(_SHORT.get(name, name), justify="right", no_wrap=name in _SHORT)
    table.add_column("time", justify="right", no_wrap=True)
    for trial in trials:
        leads = best is not None and trial.id == best.id
        cells = [
            f"{'*' if leads else ''}{trial.id:04d}",
            "-" if trial.score is None else f"{trial.score:.4f}",
            str(trial.epochs),
            trial.status.lower(),
            *([_head(trial.hyperparameters)] if has_head else []),
            *(number(trial.hyperparameters.get(name)) for name in names),
            duration(trial.seconds),
        ]
        table.add_row(*cells, style="bold" if leads else None)
    return Group(table, *_notes(trials, best))


def prediction_table(predictions: Sequence[Prediction]) -> Table:
    """One row an image: its class and how probable it is, or why it cannot be read."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right", no_wrap=True)
    for prediction in predictions:
        if prediction.probability is None:
            table.add_row(plain(str(prediction.path)), plain(f"not read: {prediction.error}"), "")
        else:
            label = prediction.label or ""
            table.add_row(
                plain(str(prediction.path)), plain(label), f"{prediction.probability:.4f}"
            )
    return table


def plain(text: str) -> Text:
    """Text from a user's disk: markup and control characters in it mean nothing."""
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in text))


def number(value: Any) -> str:
    """A hyperparameter in at most six characters; "-" for one that is not used."""
    if value is None:
        return "-"
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def percent(share: float) -> str:
    """A share of one as a percentage."""
    return f"{share:.1%}".replace("%", " %")


def duration(seconds: float) -> str:
    """Seconds in the largest units that matter: 0.4s, 12s, 3m05s, 2h07m."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def _names(trials: Sequence[TrialRecord]) -> list[str]:
    """Every hyperparameter that a trial uses, in the order of first use, known ones first."""
    used = dict.fromkeys(name for trial in trials for name in trial.hyperparameters)
    return [name for name in _SHORT if name in used] + [n for n in used if n not in _SHORT]


def _head(values: Mapping[str, Any]) -> str:
    """Hidden layers as their widths, "256-128 BN"; "plain" for none."""
    layers, width = values.get("head_layers", 0), values.get("head_width", 0)
    if not layers:
        return "plain"
    widths = "-".join(str(width >> layer) for layer in range(layers))
    return f"{widths} BN" if values.get("head_batchnorm") else widths


def _notes(trials: Sequence[TrialRecord], best: TrialRecord | None) -> list[Text]:
    notes = [Text(f"* {best.id:04d} leads.")] if best is not None else []
    notes += [
        Text(f"{trial.id:04d} is the {trial.recipe}, a recipe.") for trial in trials if trial.recipe
    ]
    notes += [
        Text.assemble(f"{trial.id:04d} failed: ", plain(trial.message or "unknown"))
        for trial in trials
        if trial.status == FAILED
    ]
    return notes
