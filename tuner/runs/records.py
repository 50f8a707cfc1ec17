"""Records of trials and rungs, as the journal returns them."""

from dataclasses import dataclass
from typing import Any

RUNNING, STOPPED, COMPLETED, FAILED = "RUNNING", "STOPPED", "COMPLETED", "FAILED"


@dataclass(frozen=True)
class RungRecord:
    """One finished rung of a trial: epochs done before and after it, final score, wall time."""

    start_epoch: int
    end_epoch: int
    score: float
    seconds: float


@dataclass(frozen=True)
class TrialRecord:
    """One configuration and its training so far.

    Attributes:
        recipe: name of its recipe, or None.
        iteration, bracket: of Hyperband; None for a recipe.
        hyperparameters: the active ones, by name.
        status: RUNNING; STOPPED (finished a rung, and may be promoted); COMPLETED (trained for all
            epochs); FAILED.
        parameters: number of trained scalars, None before it was built.
        message: why it failed.
        rungs: finished rungs, in order.
        batch_size: if smaller than the search's; else None.
    """

    id: int
    recipe: str | None
    iteration: int | None
    bracket: int | None
    hyperparameters: dict[str, Any]
    status: str
    parameters: int | None
    message: str | None
    rungs: tuple[RungRecord, ...]
    batch_size: int | None = None

    @property
    def score(self) -> float | None:
        """The objective at the end of the last finished rung."""
        return self.rungs[-1].score if self.rungs else None

    @property
    def epochs(self) -> int:
        """Epochs trained up to the last finished rung."""
        return self.rungs[-1].end_epoch if self.rungs else 0

    @property
    def seconds(self) -> float:
        """Wall time of all rungs."""
        return sum(rung.seconds for rung in self.rungs)


def trial_row(record: TrialRecord) -> dict[str, Any]:
    """Row of a trial in `tune trials --format json`."""
    return {
        "id": trial_name(record.id),
        "status": record.status,
        "score": record.score,
        "hyperparameters": record.hyperparameters,
        "bracket": record.bracket,
        "recipe": record.recipe,
        "rungs": [
            {"from": rung.start_epoch, "to": rung.end_epoch, "score": rung.score}
            for rung in record.rungs
        ],
        "epochs": record.epochs,
        "seconds": round(record.seconds, 3),
        "message": record.message,
    }


def trial_name(number: int) -> str:
    """Name of a trial for the user and for its folder: four digits."""
    return f"{number:04d}"
