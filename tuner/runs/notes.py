"""Facts about a search that its journal keeps beside the trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Notes:
    """Facts about a search, each as JSON holds it; None until it is noted.

    Attributes:
        settings: fields of the `SearchSettings` that the search began with.
        space: the declared hyperparameters, as Keras Tuner's `get_config` returns them.
        fingerprint: SHA-256 of what the search is made from: its "images" and its "weights".
        versions: of Python and the libraries, and the name of the processor.
        plan: (epochs, brackets) of the schedule that fits into the time budget.
        finished_iterations: how many Hyperband iterations are complete; 0 while the search runs.
        spent_seconds: how much of the time budget was spent.
        prepared_seconds: wall time before training, by what was done.
    """

    settings: Mapping[str, Any] | None = None
    pinned: Mapping[str, Any] | None = None
    space: Sequence[Mapping[str, Any]] | None = None
    fingerprint: Mapping[str, str] | None = None
    versions: Mapping[str, str] | None = None
    weights_digest: str | None = None
    recipes: Sequence[str] | None = None
    plan: Sequence[int] | None = None
    finished_iterations: int | None = None
    spent_seconds: float | None = None
    prepared_seconds: Mapping[str, float] | None = None
