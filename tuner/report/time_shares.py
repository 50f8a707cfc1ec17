"""Where the time of a search went."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from tuner.report.run_data import RunData
from tuner.runs.records import TrialRecord, trial_name
from tuner.text import counted

_MOST_SLOW = 5


@dataclass(frozen=True)
class Share:
    """Part of a whole: its seconds, and its share from 0 to 1."""

    name: str
    seconds: float
    share: float
    note: str = ""


def time_shares(data: RunData) -> dict[str, list[Share]]:
    """Shares of the time before and in training, and of training alone, the largest first."""
    total = data.seconds or 1.0
    found = {}
    if data.prepared:
        spent = data.prepared | {"training": data.seconds}
        whole = sum(spent.values()) or 1.0
        found["All of it"] = [Share(name, spent[name], spent[name] / whole) for name in spent]
    found["The training, by bracket"] = _grouped(
        data, lambda trial: "recipes" if trial.recipe else f"bracket {trial.bracket}"
    )
    if any("unfreeze_blocks" in trial.hyperparameters for trial in data.trials):
        found["The training, by trained residual blocks"] = _grouped(data, _depth)
    slowest = sorted(data.trials, key=lambda trial: -trial.seconds)[:_MOST_SLOW]
    found["The slowest trials"] = [
        Share(f"trial {trial_name(t.id)}", t.seconds, t.seconds / total, counted(t.epochs, "epoch"))
        for t in slowest
    ]
    return found


def _depth(trial: TrialRecord) -> str:
    blocks = trial.hyperparameters.get("unfreeze_blocks")
    if not isinstance(blocks, int):
        return "not known"
    return counted(blocks, "block") if blocks else "head only"


def _grouped(data: RunData, name: Callable[[TrialRecord], str]) -> list[Share]:
    shares = []
    for label, group in itertools.groupby(sorted(data.trials, key=name), name):
        members = list(group)
        seconds = sum(trial.seconds for trial in members)
        epochs = sum(trial.epochs for trial in members)
        note = f"{counted(len(members), 'trial')}, {counted(epochs, 'epoch')}"
        shares.append(Share(label, seconds, seconds / (data.seconds or 1.0), note))
    return sorted(shares, key=lambda share: -share.seconds)
