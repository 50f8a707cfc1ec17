"""Rows: images or activations with their labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Images or activations with their labels, by row.

    Attributes:
        x: array, memory map, or anything with `len`, `shape`, `dtype` and indexing by slice or
            index array; shape (rows, ...).
        y: int class numbers, shape (rows,).
    """

    x: Any
    y: np.ndarray
