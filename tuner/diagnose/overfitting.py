"""What training a head can and cannot do about stuck accuracy: experiments on pooled features.

Each returns a finding whose gain is tested on the same validation images. Where the best of several
is compared with one, it is chosen on one half of the validation images and judged on the other, so
that the gain is not that of the luckiest.
"""

from dataclasses import replace

import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.counting import Told, tell_counts
from tuner.diagnose.causes import OVERFITTING
from tuner.diagnose.finding import Finding
from tuner.diagnose.head_training import HEAD, Heads
from tuner.metrics.significance import best_of, paired_gain
from tuner.text import percent
from tuner.training.rows import Rows

DROPOUTS = (0.0, 0.3, 0.6)
L2_STRENGTHS = (1e-6, 1e-4, 1e-2)

# A head that names so many of its training images, and so many fewer validation images, overfits.
OVERFITTED, OVERFITTING_GAP = 0.97, 0.05


def overfitting(
    heads: Heads,
    training: Rows,
    validation: Rows,
    *,
    configuration: Configuration = HEAD,
    epochs: int = 20,
    seed: int = 0,
    on_progress: Told = None,
) -> Finding:
    """Whether a head overfits, and whether dropout (0 to 0.6) or L2 (1e-6 to 1e-2) cures it.

    Args:
        heads: trains the nine heads.
        training: pooled features, float32, shape (rows, channels), and labels.
        validation: the same.
        configuration: the head; its dropout and L2 are replaced.
        epochs: that each is trained.
        seed: of the heads.
        on_progress: told (heads done, of how many).
    """
    grid = [(dropout, l2) for dropout in DROPOUTS for l2 in L2_STRENGTHS]
    fits = []
    for number, (dropout, l2) in enumerate(grid, start=1):
        tried = replace(configuration, dropout=dropout, l2=l2)
        fits.append(heads.fit(tried, [training], validation, epochs, seed))
        tell_counts(on_progress, number, len(grid))
    plain = fits[0]
    rights = np.stack([each.right for each in fits])
    gain, p_value = paired_gain(plain.right, best_of(rights))
    accuracies = rights.mean(axis=1)
    train, val = plain.train_accuracies[-1], float(accuracies[0])
    overfits = train >= OVERFITTED and train - val >= OVERFITTING_GAP
    numbers = {
        "grid": [
            {"dropout": dropout, "l2": l2, "val_accuracy": float(accuracy)}
            for (dropout, l2), accuracy in zip(grid, accuracies, strict=True)
        ],
        "train_accuracy": train,
        "val_accuracy": val,
        "overfits": overfits,
    }
    return _overfitting(Finding(OVERFITTING, "", gain, p_value, "", numbers), accuracies)


def _overfitting(found: Finding, accuracies: np.ndarray) -> Finding:
    train, val = found.numbers["train_accuracy"], found.numbers["val_accuracy"]
    spread = f"{percent(accuracies.min())} to {percent(accuracies.max())}"
    reached = f"training accuracy is {percent(train)} and validation {percent(val)}"
    if not found.numbers["overfits"]:
        sentence = f"The head does not overfit: {reached} unregularised."
        return replace(found, sentence=sentence, gain=0.0, p_value=1.0)
    harmless = (
        f"The head overfits and regularisation does not cure it: {reached}, and dropout 0 to 0.6 "
        f"with L2 1e-6 to 1e-2 gives {spread}: nothing that counts."
    )
    best = found.numbers["grid"][int(accuracies.argmax())]
    sentence = (
        f"The head overfits: {reached}; dropout {best['dropout']:g} with L2 {best['l2']:g} gives "
        f"{percent(accuracies.max())}."
    )
    remedy = (
        f"Use dropout {best['dropout']:g} and L2 {best['l2']:g}, or let tune search DATA find both."
    )
    return replace(found, sentence=sentence, remedy=remedy, harmless=harmless)
