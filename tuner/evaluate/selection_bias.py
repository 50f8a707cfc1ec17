"""Selection bias: how much the best of many validation scores is too high, and the corrected score.

The best of 60 validation scores is that of a good trial with lucky images. So the choice is
repeated on resamples of the validation images, from what each trial made of each. Two estimates
follow:

BBC         What is chosen on a resample is scored on the images that the resample lacks, where it
            has no bias (Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the
            out-of-sample predictions for efficient and accurate cross-validation"). It says
            somewhat too little: a resample is a noisier judge than all images, as half as many
            would be, so that what it chooses is worse than the winner.
optimism    The winner's score less how much better what is chosen on a resample scores there than
            on all images (Efron and Tibshirani 1993, "An introduction to the bootstrap", 17.6). It
            says somewhat too much: measured scores lie further apart than true ones, so that
            fewer trials compete on the resamples than did in the search.

Of both the winner's own part is taken off, which is nothing on average: the two differ from the
score by what is chosen besides alone, and a winner without rivals has no bias, whatever is drawn.

Both errors are of about the same size, and what lies halfway is nearer the truth than either:
`benchmarks/honesty.py` measures it. Only trials that reached the highest rung could win, and they
alone are resampled. That they were also promoted by the same images is a bias that the resamples do
not see; the benchmark plays whole brackets, too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tuner.metrics.intervals import blocks, resampled
from tuner.metrics.objective import Objective
from tuner.runs.journal import Journal
from tuner.runs.ranking import cost_of, rank, standard_error, values_of
from tuner.settings import SIMPLE

DRAWS = 500
_SEED = 0
# Scores that are equal in float32 are equal.
_TIE = 1e-6


@dataclass(frozen=True)
class SelectionBias:
    """Selection bias of the best of many.

    Attributes:
        trials: how many could win: those that reached the highest rung.
        validation: the winner's validation accuracy, 0 to 1.
        corrected: the same, corrected for selection bias.
    """

    trials: int
    validation: float
    corrected: float

    @property
    def optimism(self) -> float:
        """How much the validation accuracy promises too much."""
        return self.validation - self.corrected

    def to_json(self) -> dict[str, float]:
        """As JSON holds it: its attributes and the optimism, under the key "flattery"."""
        return asdict(self) | {"flattery": self.optimism}


def selection_bias_of(
    journal: Journal, labels: np.ndarray, objective: str, prefer: str
) -> SelectionBias | None:
    """Selection bias of a search's winner.

    Args:
        journal: of the search.
        labels: class numbers of the validation images, in their order.
        objective: what the search chose by.
        prefer: "best" or "simple": how the winner is chosen of the trials.

    Returns:
        None where a trial's outcomes are missing or damaged.
    """
    direction = Objective(objective).direction
    trials = rank(journal.trials(), direction)
    outcomes = [journal.outcomes(trial.id) for trial in trials]
    kept = [each for each in outcomes if each is not None and len(each.predicted) == len(labels)]
    if not trials or len(kept) < len(trials):
        return None
    right = np.array([each.right(labels) for each in kept], np.float32)
    values = np.array([values_of(each, labels, objective) for each in kept], np.float32)
    sign = -1 if direction == "min" else 1
    slack = 0.0
    if prefer == SIMPLE:
        slack = standard_error(values[0].astype(np.float64), labels, objective)
    classes = labels if Objective(objective).is_balanced else None
    choice = Choice(sign * values, classes, slack, [cost_of(trial) for trial in trials])
    winner = choice.of(np.ones((1, len(labels)), np.float32))[0]
    own = float(right[winner].mean())
    # Chosen by another score than accuracy, or by few draws, the bias may not come out negative.
    return SelectionBias(len(trials), own, min(own, corrected_accuracy(right, choice)))


def corrected_accuracy(right: np.ndarray, choice: "Choice", draws: int = DRAWS) -> float:
    """The winner's bias-corrected accuracy: halfway between the two of `corrections`.

    Args:
        right: whether each trial names each image rightly, float32, shape (trials, images).
        choice: chooses a trial by some of the images.
        draws: how often images are drawn.
    """
    return sum(corrections(right, choice, draws)) / 2


def corrections(right: np.ndarray, choice: "Choice", draws: int = DRAWS) -> tuple[float, float]:
    """The winner's accuracy by BBC, and less the optimism of resamples; see `corrected_accuracy`.

    Returns:
        The mean accuracy of what is chosen on a resample, on the images that it lacks; and the
        winner's own accuracy less the mean of how much better what is chosen on a resample does
        there than on all images. Of both the same of the winner is taken off, its accuracy on all
        images put in its place.
    """
    images = right.shape[1]
    random = np.random.default_rng(_SEED)
    winner = int(choice.of(np.ones((1, images), np.float32))[0])
    own = float(right[winner].mean())
    held_out: list[np.ndarray] = []
    optimism: list[np.ndarray] = []
    for block in blocks(images, draws):
        counts = resampled(images, block, random).astype(np.float32)
        winners, lacked = choice.of(counts), counts == 0
        more = right[winners] - right[winner]
        some = lacked.any(axis=1)
        held_out.append((more * lacked).sum(axis=1)[some] / lacked.sum(axis=1)[some])
        optimism.append((more * counts).sum(axis=1) / images - more.mean(axis=1))
    lacking = np.concatenate(held_out)
    gained = float(lacking.mean()) if len(lacking) else 0.0  # of one image nothing is left out
    return own + gained, own - float(np.concatenate(optimism).mean())


class Choice:
    """Chooses a trial as a search does, by some of its validation images.

    Args:
        values: what each image adds to each trial's score, the more the better, shape (trials,
            images).
        labels: class numbers where each class counts the same; None where each image does.
        slack: how far below the best score a trial may lie that is taken for being cheaper.
        costs: of the trials; of those within the slack the cheapest is taken, of these the best,
            and of these the first. None where all cost the same.
    """

    def __init__(
        self,
        values: np.ndarray,
        labels: np.ndarray | None = None,
        slack: float = 0.0,
        costs: Sequence[float] | None = None,
    ) -> None:
        self._costs = np.asarray(np.zeros(len(values)) if costs is None else costs, np.float64)
        self._values = np.asarray(values, np.float32)
        self._classes = (
            None if labels is None else np.eye(labels.max() + 1, dtype=np.float32)[labels]
        )
        self._slack = slack

    def of(self, counts: np.ndarray) -> np.ndarray:
        """The trials that are chosen when each image counts so many times.

        Args:
            counts: shape (choices, images); at least one image counts in each.

        Returns:
            Rows of `values`, int, shape (choices,).
        """
        weights = counts / counts.sum(axis=1, keepdims=True)
        if self._classes is not None:
            in_class = counts @ self._classes
            present = (in_class > 0).sum(axis=1, keepdims=True)
            weights = counts / (in_class @ self._classes.T * present).clip(1.0)
        scores = self._values @ weights.T.astype(np.float32)
        scores = np.where(scores >= scores.max(axis=0) - self._slack - _TIE, scores, -np.inf)
        costs = np.where(np.isfinite(scores), self._costs[:, np.newaxis], np.inf)
        scores[costs > costs.min(axis=0)] = -np.inf
        return np.asarray((scores >= scores.max(axis=0) - _TIE).argmax(axis=0))
