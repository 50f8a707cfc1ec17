"""Which trial wins, and in which order trials are shown."""

from collections.abc import Sequence

import numpy as np

from tuner.metrics.objective import Objective
from tuner.metrics.scores import cross_entropy
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import FAILED, TrialRecord


def rank(records: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """The trials that can win, best first.

    Only those that reached the highest rung that any trial completed, and that did not fail. Ties
    go to the one that trains fewer scalars, then to the earlier.

    Args:
        records: the trials of a search.
        direction: "max" or "min".
    """
    sound = [record for record in records if record.rungs and record.status != FAILED]
    highest = max((record.epochs for record in sound), default=0)
    sign = -1.0 if direction == "max" else 1.0
    return sorted(
        (record for record in sound if record.epochs == highest),
        key=lambda record: (sign * record.rungs[-1].score, record.parameters or 0, record.id),
    )


def rank_all(records: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """Every trial: those that can win first, as `rank` orders them, then the others.

    The others follow by the epochs that they reached, and by score.
    """
    ranked = rank(records, direction)
    sign = -1.0 if direction == "max" else 1.0
    others = sorted(
        (record for record in records if record not in ranked),
        key=lambda record: (-record.epochs, sign * (record.score or 0.0), record.id),
    )
    return ranked + others


def simplest(
    journal: Journal, labels: np.ndarray, objective: str
) -> tuple[TrialRecord, float] | None:
    """The simplest trial within one standard error of the best, and that error.

    Args:
        journal: of the search.
        labels: class numbers of the validation images, in their order.
        objective: what the search chose by.

    Returns:
        None where no trial can win yet, or the best one's outcomes were not kept.
    """
    near = near_best(journal, labels, objective)
    if near is None:
        return None
    trials, error = near
    return min(trials, key=cost_of), error  # of equals the best, which stands first


def near_best(
    journal: Journal, labels: np.ndarray, objective: str
) -> tuple[list[TrialRecord], float] | None:
    """The trials within one standard error of the best, best first, and the error; or None."""
    direction = Objective(objective).direction
    ranked = rank(journal.trials(), direction)
    outcomes = journal.outcomes(ranked[0].id) if ranked else None
    if outcomes is None or len(outcomes.predicted) != len(labels):
        return None
    error = standard_error(values_of(outcomes, labels, objective), labels, objective)
    best = ranked[0].rungs[-1].score
    return [t for t in ranked if abs(t.rungs[-1].score - best) <= error], error


def may_be_simplest(near: Sequence[TrialRecord]) -> set[int]:
    """Numbers of the trials that are, or can yet become, the simplest within one error.

    When a better trial comes the bound rises, and cheaper trials fall out of it. So those are
    needed that no cheaper trial equals.

    Args:
        near: the trials within one standard error, best first.
    """
    needed: set[int] = set()
    least: int | None = None
    for trial in near:
        if least is None or cost_of(trial) < least:
            needed.add(trial.id)
            least = cost_of(trial)
    return needed


def cost_of(trial: TrialRecord) -> int:
    """What is least for the simplest trial: the number of scalars that it trains."""
    return trial.parameters or 0


def values_of(outcomes: Outcomes, labels: np.ndarray, objective: str) -> np.ndarray:
    """What each image adds to a score: 1 where it is named rightly, or its cross-entropy in nats.

    Returns:
        float64, shape (images,).
    """
    if Objective(objective).is_loss:
        return cross_entropy(outcomes.probability)
    return outcomes.right(labels).astype(np.float64)


def standard_error(values: np.ndarray, labels: np.ndarray, objective: str) -> float:
    """The standard error of a score.

    Args:
        values: as `values_of` gives them.
        labels: int class numbers, shape (images,).
        objective: whether each image counts the same, or each class.
    """
    if not Objective(objective).is_balanced:
        return float(values.std() / np.sqrt(len(values)))
    classes = [values[labels == label] for label in np.unique(labels)]
    return float(np.sqrt(sum(v.var() / len(v) for v in classes)) / len(classes))
