"""What the opponents answer for the test images: recipes, logistic regression, the majority class.

The backbone passes over the test images once for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces import load_space
from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space, can_be_cut
from tuner.cache import Cache
from tuner.checkpoint import read_checkpoint, state_file
from tuner.dataset import Dataset
from tuner.errors import InputError
from tuner.features import FeatureStore
from tuner.images import prepare_images
from tuner.journal import TrialRecord
from tuner.opponents import LOGISTIC, MAJORITY, regression
from tuner.run import Run
from tuner.training import restore_weights

Counting = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Answer:
    """What an opponent takes the test images for.

    Attributes:
        name: of the opponent.
        named: class numbers, shape (images,).
        trial: number of the trial that trained it, or None.
    """

    name: str
    named: np.ndarray
    trial: int | None = None


def opponents_answers(
    run: Run, dataset: Dataset, cache: Cache, images: np.ndarray, on_progress: Counting | None
) -> list[Answer]:
    """What every opponent answers, the simplest network first.

    Recipes that the run did not train, or whose weights are gone, are left out, and so is what
    needs pooled features where the space cannot be cut.

    Args:
        run: the run.
        dataset: its images.
        cache: holds the features of the training images, which are computed where it does not.
        images: the test images, uint8, shape (n, image_size, image_size, 3).
        on_progress: is told (what is done, images done, of how many).
    """
    settings, answers = run.settings, []
    space = load_space(settings.space, len(dataset.classes), settings.image_size, settings.weights)
    if can_be_cut(space):
        pooled = _Pooled(run, dataset, space, images, cache, on_progress)
        for trial in run.journal.trials():
            if trial.recipe is None or not trial.rungs:
                continue
            probabilities = pooled.of_head(trial)
            if probabilities is not None:
                answers.append(Answer(trial.recipe, probabilities.argmax(axis=1), trial.id))
        named = pooled.of_regression()
        if named is not None:
            answers.append(Answer(LOGISTIC, named))
    majority = np.bincount(dataset.labels("train")).argmax()
    return [*answers, Answer(MAJORITY, np.full(len(images), majority))]


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
        self._store = FeatureStore(self._backbone.lend(0), cache)
        self._store.stored = (0,)
        self._pooled = self._store.open(images).rows(0)[:]

    def of_head(self, trial: TrialRecord) -> np.ndarray | None:
        """A head-only trial's probabilities, (n, classes); None where its weights are gone."""
        try:
            found = read_checkpoint(state_file(self._run.folder, trial.id))
        except InputError:
            return None
        if found.epoch != trial.epochs:
            return None
        configuration = Configuration.of(trial.hyperparameters)
        if configuration.unfreeze_blocks:
            return None
        model = self._space.build_suffix(configuration, self._backbone.lend(0), seed=0)
        restore_weights(model, dict(found.state))
        return np.asarray(model.predict(self._pooled, verbose=0))

    def of_regression(self) -> np.ndarray | None:
        """Logistic regression's class numbers, (n,); None where training images are gone."""
        dataset, settings = self._dataset, self._run.settings
        files = dataset.of("train")
        try:
            pixels = prepare_images(
                files, dataset.root, settings.image_size, self._cache,
                self._told("decoding training images"), crop=settings.crop,
            )  # fmt: skip
        except InputError:
            return None
        told = self._told("training features")
        rows = self._store.open(pixels, told).rows(0)[:]
        groups = np.array([file.group or file.sha256 for file in files])
        named, _ = regression(rows, dataset.labels("train"), groups, settings.seed)
        return np.asarray(named(self._pooled))

    def _told(self, what: str) -> Any:
        tell = self._on_progress
        if tell is None:
            return None
        return lambda done, count: tell(what, done, count)
