"""Features of images that are as easy or as hard as a test wants, and labels that are wrong."""

import numpy as np

from tuner.training.rows import Rows

CLASSES = 4
_DIRECTIONS = 16  # features of networks vary in few directions, as these do


def clusters(count: int, seed: int, apart: float = 8.0, offset: float = 0.0) -> Rows:
    """Rows of four classes, each around its own centre.

    Args:
        count: number of rows.
        seed: of the rows; the centres are always the same.
        apart: distance of the centres from the origin, in deviations of the rows around them.
        offset: added to every channel.
    """
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    position = random.normal(size=(count, _DIRECTIONS))
    position[np.arange(count), labels] += apart
    directions = np.random.default_rng(99).normal(size=(_DIRECTIONS, 2048)) / 4
    noise = random.normal(scale=0.1, size=(count, 2048))
    return Rows((position @ directions + noise + offset).astype(np.float32), labels)


def mislabelled(rows: Rows, share: float, seed: int) -> tuple[Rows, np.ndarray]:
    """The same with a share of labels moved to another class, and which, bool, shape (rows,)."""
    random = np.random.default_rng(seed)
    wrong = np.zeros(len(rows.y), bool)
    wrong[random.choice(len(wrong), round(share * len(wrong)), replace=False)] = True
    shift = random.integers(1, CLASSES, len(wrong))
    return Rows(rows.x, np.where(wrong, (rows.y + shift) % CLASSES, rows.y).astype(np.int32)), wrong
