"""Experiment: whether a head overfits, and whether regularisation cures it.

The best of several heads is chosen on one half of the validation images and scored on the other,
so that its gain is free of selection bias.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.command_lines import Command
from tuner.counting import Progress, silent
from tuner.diagnose.finding import OVERFITTING, Finding, Remedy
from tuner.diagnose.head_training import HEAD, Heads
from tuner.metrics.significance import best_of, paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

DROPOUTS = (0.0, 0.3, 0.6)
L2_STRENGTHS = (1e-6, 1e-4, 1e-2)

# A head overfits if its training accuracy is at least this, and exceeds its validation accuracy by
# at least the gap.
OVERFITTED, OVERFITTING_GAP = 0.97, 0.05


def overfitting(
    heads: Heads,
    training: Rows,
    validation: Rows,
    *,
    configuration: Configuration = HEAD,
    epochs: int = 20,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Finding:
    """Whether a head overfits, and whether dropout (0 to 0.6) or L2 (1e-6 to 1e-2) cures it.

    Args:
        heads: trains the nine heads.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        configuration: the head; its dropout and L2 are replaced.
        epochs: of each head.
        seed: of the heads.
        on_progress: counts heads.
    """
    grid = [(dropout, l2) for dropout in DROPOUTS for l2 in L2_STRENGTHS]
    fits = []
    for done, (dropout, l2) in enumerate(grid, start=1):
        tried = replace(configuration, dropout=dropout, l2=l2)
        fits.append(heads.fit(tried, [training], validation, epochs, seed))
        on_progress("overfitting", done, len(grid))
    rights = np.stack([each.right for each in fits])
    gain, p_value = paired_gain(fits[0].right, best_of(rights))
    accuracies = [float(accuracy) for accuracy in rights.mean(axis=1)]
    train, val = fits[0].train_accuracies[-1], accuracies[0]
    numbers = {
        "grid": [
            {"dropout": dropout, "l2": l2, "val_accuracy": accuracy}
            for (dropout, l2), accuracy in zip(grid, accuracies, strict=True)
        ],
        "train_accuracy": train,
        "val_accuracy": val,
        "overfits": train >= OVERFITTED and train - val >= OVERFITTING_GAP,
    }
    return _finding(gain, p_value, numbers)


def _finding(gain: float, p_value: float, numbers: dict[str, Any]) -> Finding:
    train, val = numbers["train_accuracy"], numbers["val_accuracy"]
    reached = f"training accuracy is {percent(train)} and validation accuracy {percent(val)}"
    if not numbers["overfits"]:
        sentence = f"The head does not overfit: without regularisation {reached}."
        return Finding(OVERFITTING, sentence, 0.0, 1.0, numbers=numbers)
    accuracies = [each["val_accuracy"] for each in numbers["grid"]]
    best = numbers["grid"][int(np.argmax(accuracies))]
    setting = f"dropout {best['dropout']:g} and L2 {best['l2']:g}"
    return Finding(
        OVERFITTING,
        f"The head overfits: {reached}; {setting} give {percent(max(accuracies))}.",
        gain,
        p_value,
        Remedy((f"Use {setting}, or let ", Command("search"), " find both.")),
        numbers,
        harmless=(
            f"The head overfits and regularisation does not cure it: {reached}; dropout 0 to 0.6 "
            f"with L2 1e-6 to 1e-2 gives {percent(min(accuracies))} to {percent(max(accuracies))}."
        ),
    )
