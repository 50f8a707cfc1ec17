"""Records of trials and rungs, as the journal returns them."""

from dataclasses import dataclass
from typing import Any

RUNNING, STOPPED, COMPLETED, FAILED = "RUNNING", "STOPPED", "COMPLETED", "FAILED"


@dataclass(frozen=True)
class RungRecord:
    """One finished rung of a trial.

    Attributes:
        start_epoch: epochs done before it.
        end_epoch: epochs done after it.
        score: the objective at its last epoch.
        seconds: wall time.
    """

    start_epoch: int
    end_epoch: int
    score: float
    seconds: float


@dataclass(frozen=True)
class TrialRecord:
    """One configuration and all the training that it got.

    Attributes:
        id: number of the trial, from 0.
        recipe: name of the recipe that it trains, or None.
        iteration: Hyperband iteration, None for a recipe.
        bracket: number of its bracket, None for a recipe.
        hyperparameters: the active ones, by name.
        status: RUNNING; STOPPED (below the last rung, where Hyperband may leave it); COMPLETED
            (trained to the full number of epochs); FAILED.
        parameters: number of trained scalars, None before it was built.
        message: why it failed.
        rungs: the finished ones, in order.
        batch_size: images of a step, where they are fewer than the search's; else None.
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
        """The objective at the last epoch of the highest rung reached."""
        return self.rungs[-1].score if self.rungs else None

    @property
    def epochs(self) -> int:
        """Epochs trained up to the highest rung reached."""
        return self.rungs[-1].end_epoch if self.rungs else 0

    @property
    def seconds(self) -> float:
        """Wall time of all its rungs."""
        return sum(rung.seconds for rung in self.rungs)


def trial_row(record: TrialRecord) -> dict[str, Any]:
    """A trial as `tune trials --format json` prints it."""
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
    """The name under which a user sees trial `number`: four digits."""
    return f"{number:04d}"
