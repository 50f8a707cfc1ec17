"""Rank trials, and choose the best or the simplest within one standard error of it."""

from collections.abc import Sequence

import numpy as np

from tuner.metrics.objective import Objective
from tuner.metrics.scores import cross_entropy
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import FAILED, TrialRecord


def rank(records: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """The trials that reached the highest finished rung and did not fail, best first.

    Ties go to the trial with fewer trained scalars, then to the earlier one. `direction` is "max"
    or "min".
    """
    sound = [record for record in records if record.rungs and record.status != FAILED]
    highest = max((record.epochs for record in sound), default=0)
    return sorted(
        (record for record in sound if record.epochs == highest),
        key=lambda record: (_loss(record, direction), cost_of(record), record.id),
    )


def rank_all(records: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """All trials: first those that can win, see `rank`; then the others by epochs and score."""
    ranked = rank(records, direction)
    others = sorted(
        (record for record in records if record not in ranked),
        key=lambda record: (-record.epochs, _loss(record, direction), record.id),
    )
    return ranked + others


def _loss(record: TrialRecord, direction: str) -> float:
    """The score, negated if larger is better."""
    score = record.score or 0.0
    return -score if direction == "max" else score


def simplest(
    journal: Journal, labels: np.ndarray, objective: str
) -> tuple[TrialRecord, float] | None:
    """The simplest trial within one standard error of the best, and that error.

    The one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984.
    See `near_best`.
    """
    near = near_best(journal, labels, objective)
    return near and (min(near[0], key=cost_of), near[1])  # of equals the best, which stands first


def near_best(
    journal: Journal, labels: np.ndarray, objective: str
) -> tuple[list[TrialRecord], float] | None:
    """The trials within one standard error of the best, best first, and the error.

    Args:
        journal: of the search.
        labels: class numbers of the validation images, in their order.
        objective: name of the score.

    Returns:
        None if no trial can win yet, or the best one has no outcomes.
    """
    direction = Objective(objective).direction
    ranked = rank(journal.trials(), direction)
    outcomes = journal.outcomes(ranked[0].id) if ranked else None
    if outcomes is None or len(outcomes.predicted) != len(labels):
        return None
    error = standard_error(values_of(outcomes, labels, objective), labels, objective)
    best = ranked[0].rungs[-1].score
    return [t for t in ranked if abs(t.rungs[-1].score - best) <= error], error


def may_be_simplest(near: Sequence[TrialRecord]) -> set[int]:
    """Numbers of the trials that are the simplest, or become it when a better trial finishes.

    A better trial raises the bound, and simpler trials fall below it. So each trial of `near_best`
    is needed that is simpler than all better ones.
    """
    needed: set[int] = set()
    least: int | None = None
    for trial in near:
        if least is None or cost_of(trial) < least:
            needed.add(trial.id)
            least = cost_of(trial)
    return needed


def cost_of(trial: TrialRecord) -> int:
    """Number of trained scalars: the simplest trial has the fewest."""
    return trial.parameters or 0


def values_of(outcomes: Outcomes, labels: np.ndarray, objective: str) -> np.ndarray:
    """Each image's share in the score, float64: 1 or 0 for right or wrong, or its cross-entropy."""
    if Objective(objective).is_loss:
        return cross_entropy(outcomes.probability)
    return outcomes.right(labels).astype(np.float64)


def standard_error(values: np.ndarray, labels: np.ndarray, objective: str) -> float:
    """Standard error of a score, given `values_of`; `labels` are int, shape (images,)."""
    if not Objective(objective).is_balanced:
        return float(values.std() / np.sqrt(len(values)))
    classes = [values[labels == label] for label in np.unique(labels)]
    return float(np.sqrt(sum(v.var() / len(v) for v in classes)) / len(classes))
