"""Which hyperparameters decided the score, by permutation on a random forest.

The forest learns the score from the configuration and from the epochs that the trial was trained:
without those, what Hyperband stopped early would look like a bad configuration. What it loses of
its R2 on trials that it has not seen, when one hyperparameter is shuffled, is the importance
(Breiman 2001, Machine Learning 45).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.counting import Progress, silent
from tuner.runs.records import FAILED, TrialRecord
from tuner.text import percent

EPOCHS = "training epochs"
LEAST_TRIALS = 20  # of fewer, a fold of unseen trials has under four
_FOLDS, _REPEATS, _SHUFFLES, _TREES = 5, 2, 10, 100
# R2 on unseen trials from which the order may be believed, and below which nothing may.
GOOD, POOR = 0.6, 0.2


@dataclass(frozen=True)
class Importance:
    """Share of the score's variance that the forest cannot explain without a hyperparameter.

    `low` and `high` are the 10th and the 90th percentile over folds and repeats.
    """

    name: str
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """All hyperparameters, the most important first; `r2` is the forest's on unseen trials."""

    rows: tuple[Importance, ...]
    trials: int
    r2: float

    @property
    def trust(self) -> str:
        """How far it can be trusted, in words."""
        seen = f"On trials that it had not seen, the forest explains {percent(max(self.r2, 0.0))}"
        of = f"{seen} of the differences in score (R² {self.r2:.2f}, {self.trials} trials)."
        if self.r2 < POOR:
            return f"{of} That is next to nothing: do not draw conclusions from this picture."
        if self.r2 < GOOD:
            return f"{of} That is a part only: trust the first place, not the order below it."
        return (
            f"{of} The order of clearly different bars can be trusted. It holds for the values "
            "that were searched, and says nothing about which value is best."
        )


def importances(
    trials: Sequence[TrialRecord], on_progress: Progress = silent
) -> Importances | None:
    """Learn which hyperparameters decide the score.

    Returns:
        None where fewer than 20 trials have a score, or nothing differs.
    """
    scored = [trial for trial in trials if trial.rungs and trial.status != FAILED]
    scored = [trial for trial in scored if math.isfinite(trial.score or 0.0)]
    values = [trial.hyperparameters | {EPOCHS: trial.epochs} for trial in scored]
    used = dict.fromkeys(name for row in values for name in row)
    names = [name for name in used if len({row.get(name) for row in values}) > 1]
    scores = np.array([trial.score for trial in scored], float)
    if len(scored) < LEAST_TRIALS or not names or np.ptp(scores) == 0:
        return None
    table = np.stack([_codes([row.get(name) for row in values]) for name in names], axis=1)
    losses, r2 = _losses(table, scores, on_progress)
    low, high = np.percentile(losses, (10, 90), axis=0)
    rows = map(Importance, names, *(each.tolist() for each in (losses.mean(axis=0), low, high)))
    return Importances(tuple(sorted(rows, key=lambda row: -row.share)), len(scored), r2)


def _codes(values: Sequence[Any]) -> np.ndarray:
    """The rank of each value, which is all that a tree needs; unused ones come first."""
    used = {value for value in values if value is not None}
    numeric = all(isinstance(value, (int, float)) for value in used)
    order = {value: place for place, value in enumerate(sorted(used, key=None if numeric else str))}
    return np.array([order.get(value, -1) for value in values], float)


def _losses(
    table: np.ndarray, scores: np.ndarray, on_progress: Progress
) -> tuple[np.ndarray, float]:
    """What R2 loses for each column, shape (folds of all repeats, columns), and R2 itself.

    Errors are compared with the variance of all scores, since a fold of unseen trials is small.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import RepeatedKFold

    losses, errors = [], []
    folds = RepeatedKFold(n_splits=_FOLDS, n_repeats=_REPEATS, random_state=0)
    for number, (known, unseen) in enumerate(folds.split(table), start=1):
        forest = RandomForestRegressor(
            _TREES, min_samples_leaf=2, max_features=0.5, random_state=number
        )
        forest.fit(table[known], scores[known])
        errors.append(np.square(forest.predict(table[unseen]) - scores[unseen]).mean())
        found = permutation_importance(
            forest,
            table[unseen],
            scores[unseen],
            scoring="neg_mean_squared_error",
            n_repeats=_SHUFFLES,
            random_state=number,
        )
        losses.append(found.importances_mean)
        on_progress("hyperparameters", number, _FOLDS * _REPEATS)
    variance = float(scores.var())
    return np.array(losses) / variance, 1 - float(np.mean(errors)) / variance
