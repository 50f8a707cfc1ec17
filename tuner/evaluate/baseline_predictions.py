"""The baselines' predictions of the test images: recipes, logistic regression, the majority class.

The backbone passes over the test images once for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space, can_be_cut
from tuner.counting import silent
from tuner.data.dataset import Dataset
from tuner.data.pixel_store import pixels_of
from tuner.errors import InputError, first_line
from tuner.evaluate.baselines import LOGISTIC, MAJORITY, LeftOut, regression
from tuner.features.pooled import pooled
from tuner.runs.checkpoint import read_checkpoint, state_file
from tuner.runs.records import TrialRecord, trial_name
from tuner.runs.run import Run
from tuner.storage.cache import Cache
from tuner.training.networks import space_of
from tuner.training.state import restore_weights

Counting = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Answer:
    """A baseline's predictions of the test images.

    Attributes:
        name: of the baseline.
        named: class numbers, shape (images,).
        trial: number of the trial that trained it, or None.
    """

    name: str
    named: np.ndarray
    trial: int | None = None


def opponents_answers(
    run: Run, dataset: Dataset, cache: Cache, images: np.ndarray, on_progress: Counting | None
) -> tuple[list[Answer], list[LeftOut]]:
    """Every baseline's predictions, simplest network first, and the baselines that were skipped.

    Recipes that the run did not train are passed over, and so is what needs pooled features where
    the space cannot be cut.

    Args:
        run: the run.
        dataset: its images.
        cache: holds the features of the training images, which are computed where it does not.
        images: the test images, uint8, shape (n, image_size, image_size, 3).
        on_progress: called with (what is done, images done, of how many).
    """
    answers: list[Answer] = []
    left_out: list[LeftOut] = []
    space = space_of(run.settings, len(dataset.classes))
    if can_be_cut(space):
        pooled = _Pooled(run, dataset, space, images, cache, on_progress)
        for trial in _recipes(run):
            found = pooled.of_head(trial)
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                answers.append(Answer(str(trial.recipe), found.argmax(axis=1), trial.id))
        named = pooled.of_regression()
        if isinstance(named, LeftOut):
            left_out.append(named)
        else:
            answers.append(Answer(LOGISTIC, named))
    majority = np.bincount(dataset.labels("train")).argmax()
    return [*answers, Answer(MAJORITY, np.full(len(images), majority))], left_out


def can_return(
    run: Run, dataset: Dataset, cache: Cache, left_out: Sequence[LeftOut],
    on_progress: Counting | None,
) -> bool:  # fmt: skip
    """Whether a skipped baseline can be evaluated now; opens no test image.

    Args:
        run: the run.
        dataset: its images.
        cache: keeps the training images, where they are needed and there again.
        left_out: baselines that were skipped.
        on_progress: see `opponents_answers`.
    """
    missing = {each.name for each in left_out if each.may_return}
    trials = [trial for trial in _recipes(run) if trial.recipe in missing]
    if any(not isinstance(_weights(run, trial), LeftOut) for trial in trials):
        return True
    if LOGISTIC not in missing:
        return False
    return not isinstance(_training_pixels(run, dataset, cache, on_progress), LeftOut)


def _recipes(run: Run) -> list[TrialRecord]:
    """The recipes that the run has trained, as far as their heads stand on pooled features."""
    trained = [trial for trial in run.journal.trials() if trial.recipe is not None and trial.rungs]
    return [
        trial for trial in trained
        if not Configuration.of(trial.hyperparameters).unfreeze_blocks
    ]  # fmt: skip


def _weights(run: Run, trial: TrialRecord) -> dict[str, np.ndarray] | LeftOut:
    try:
        found = read_checkpoint(state_file(run.folder, trial.id))
    except InputError as error:
        return LeftOut(str(trial.recipe), str(error))
    if found.epoch != trial.epochs:
        return LeftOut(str(trial.recipe), f"trial {trial_name(trial.id)} is being trained on.")
    return dict(found.state)


def _training_pixels(
    run: Run, dataset: Dataset, cache: Cache, on_progress: Counting | None
) -> np.ndarray | LeftOut:
    try:
        return pixels_of(dataset, "train", run.settings, cache, on_progress or silent)
    except InputError as error:
        return LeftOut(LOGISTIC, str(error))


def _told(tell: Counting | None, what: str) -> Any:
    if tell is None:
        return None
    return lambda done, count: tell(what, done, count)


class _Pooled:
    """Classifiers on pooled features, which the backbone computes once for all of them."""

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        space: ResNet50Space,
        images: np.ndarray,
        cache: Cache,
        on_progress: Counting | None,
    ) -> None:
        self._run = run
        self._dataset = dataset
        self._space = space
        self._cache = cache
        self._on_progress = on_progress
        self._backbone = PretrainedBackbone(space.build_backbone())
        (self._pooled,) = pooled(self._backbone, {"test features": images}, cache)

    def of_head(self, trial: TrialRecord) -> np.ndarray | LeftOut:
        """A head-only trial's probabilities, (n, classes)."""
        weights = _weights(self._run, trial)
        if isinstance(weights, LeftOut):
            return weights
        configuration = Configuration.of(trial.hyperparameters)
        model = self._space.build_suffix(configuration, self._backbone.lend(0), seed=0)
        try:
            restore_weights(model, weights)
        except (KeyError, ValueError) as error:  # an array is missing, or has another shape
            reason = f"the weights of trial {trial_name(trial.id)} belong to another network: "
            return LeftOut(str(trial.recipe), f"{reason}{first_line(error)}.", may_return=False)
        return np.asarray(model.predict(self._pooled, verbose=0))

    def of_regression(self) -> np.ndarray | LeftOut:
        """Logistic regression's class numbers, (n,)."""
        dataset = self._dataset
        pixels = _training_pixels(self._run, dataset, self._cache, self._on_progress)
        if isinstance(pixels, LeftOut):
            return pixels
        images = {"training features": pixels}
        (rows,) = pooled(self._backbone, images, self._cache, self._on_progress or silent)
        groups = np.array([file.group or file.sha256 for file in dataset.of("train")])
        named, _ = regression(rows, dataset.labels("train"), groups, self._run.settings.seed)
        return np.asarray(named(self._pooled))
