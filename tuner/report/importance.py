"""Which hyperparameters decided the score, by permutation on a random forest.

A forest learns the score from the configuration and from the epochs that the trial was trained:
without those, what Hyperband stopped early would look like a bad configuration. On trials that the
forest has not seen, one hyperparameter at a time is shuffled among the trials; what the forest
loses of its R2 is the importance (Breiman 2001, Machine Learning 45; on data that was not fitted,
as scikit-learn's guide recommends). How well it does on unseen trials says how far to trust it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.runs.records import FAILED, TrialRecord
from tuner.text import percent

EPOCHS = "training epochs"
LEAST_TRIALS = 20  # of fewer, a fold of unseen trials has under four
_FOLDS, _REPEATS, _SHUFFLES, _TREES = 5, 2, 10, 100
# R2 on unseen trials from which the order may be believed, and below which nothing may.
GOOD, POOR = 0.6, 0.2
_UNUSED = -1.0  # below every code and rank


@dataclass(frozen=True)
class Importance:
    """How much one hyperparameter matters.

    Attributes:
        name: of the hyperparameter, or `EPOCHS`.
        share: of the variance of the score that the forest can no longer explain without it; about
            0 for one that does nothing.
        low: 10th percentile of the same over folds and repeats.
        high: the 90th.
    """

    name: str
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """All hyperparameters, the most important first.

    Attributes:
        rows: one each.
        trials: how many it was learned from.
        r2: share of the variance of unseen trials' scores that the forest explains.
    """

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
    trials: Sequence[TrialRecord], on_progress: Callable[[int, int], None] | None = None
) -> Importances | None:
    """Learns which hyperparameters decide the score.

    Args:
        trials: those of a run; what failed or has no score is passed over.
        on_progress: called with (folds done, of how many).

    Returns:
        The importances; None where fewer than 20 trials have a score, or nothing differs.
    """
    scored = [trial for trial in trials if trial.rungs and trial.status != FAILED]
    scored = [trial for trial in scored if math.isfinite(trial.score or 0.0)]
    names = _varied(scored)
    scores = np.array([trial.score for trial in scored], float)
    if len(scored) < LEAST_TRIALS or not names or np.ptp(scores) == 0:
        return None
    table = np.array([[_UNUSED] * len(names)] * len(scored), float)
    for column, name in enumerate(names):
        table[:, column] = _codes([_value(trial, name) for trial in scored])
    losses, r2 = _losses(table, scores, on_progress or (lambda done, count: None))
    rows = [
        Importance(name, float(losses[:, column].mean()), *map(float, ends))
        for column, name in enumerate(names)
        for ends in [np.percentile(losses[:, column], (10, 90))]
    ]
    return Importances(tuple(sorted(rows, key=lambda row: -row.share)), len(scored), r2)


def _value(trial: TrialRecord, name: str) -> Any:
    return trial.epochs if name == EPOCHS else trial.hyperparameters.get(name)


def _varied(trials: Sequence[TrialRecord]) -> list[str]:
    """Names of what is not the same in all trials."""
    names = [*dict.fromkeys(name for trial in trials for name in trial.hyperparameters), EPOCHS]
    return [name for name in names if len({_value(trial, name) for trial in trials}) > 1]


def _codes(values: Sequence[Any]) -> np.ndarray:
    """The place of each value among all, which is all that a tree looks at; unused ones below."""
    used = {value for value in values if value is not None}
    numeric = all(isinstance(value, (int, float)) for value in used)
    order = {value: place for place, value in enumerate(sorted(used, key=None if numeric else str))}
    return np.array([_UNUSED if value is None else order[value] for value in values], float)


def _losses(
    table: np.ndarray, scores: np.ndarray, on_progress: Callable[[int, int], None]
) -> tuple[np.ndarray, float]:
    """What R2 loses for each column, shape (folds of all repeats, columns), and R2 itself.

    Errors are compared with the variance of all scores, since a fold of unseen trials is small.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    variance, losses, errors = float(scores.var()), [], []
    for repeat in range(_REPEATS):
        folds = KFold(_FOLDS, shuffle=True, random_state=repeat)
        for number, (known, unseen) in enumerate(folds.split(table)):
            forest = RandomForestRegressor(
                _TREES, min_samples_leaf=2, max_features=0.5, random_state=repeat
            )
            forest.fit(table[known], scores[known])
            error = (forest.predict(table[unseen]) - scores[unseen]) ** 2
            errors.append(error.mean())
            shuffled = _shuffled(table, unseen, np.random.default_rng((repeat, number)))
            predicted = forest.predict(shuffled.reshape(-1, table.shape[1]))
            after = (predicted.reshape(table.shape[1], -1, len(unseen)) - scores[unseen]) ** 2
            losses.append((after.mean(axis=(1, 2)) - error.mean()) / variance)
            on_progress(repeat * _FOLDS + number + 1, _REPEATS * _FOLDS)
    return np.array(losses), 1 - float(np.mean(errors)) / variance


def _shuffled(table: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The rows with one column at a time drawn from other trials, (columns, times, rows, columns).

    Values are drawn from all trials: among the few of a fold most would get their own again.
    """
    columns = table.shape[1]
    found = np.broadcast_to(table[rows], (columns, _SHUFFLES, len(rows), columns)).copy()
    for column in range(columns):
        drawn = random.choice(len(table), (_SHUFFLES, len(rows)))
        found[column, :, :, column] = table[drawn, column]
    return found
