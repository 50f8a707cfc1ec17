"""The baselines' predictions of the test images: recipes, logistic regression, the majority class.

The backbone passes over the test images once for all of them.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space, can_be_cut
from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset, group_of
from tuner.data.pixel_store import pixels_of
from tuner.errors import InputError, RunError, first_line
from tuner.evaluate.baselines import LOGISTIC, MAJORITY, LeftOut, regression
from tuner.features.pooled import pooled
from tuner.runs.checkpoint import read_checkpoint, state_file
from tuner.runs.records import TrialRecord, trial_name
from tuner.runs.run import Run
from tuner.storage.cache import Cache
from tuner.training.networks import space_of
from tuner.training.state import restore_weights


@dataclass(frozen=True)
class Predictions:
    """A baseline's class numbers of the test images, shape (images,), and its trial, if any."""

    name: str
    classes: np.ndarray
    trial: int | None = None


class _OtherNetworkError(RunError):
    """A trial's weights belong to another network."""


def baseline_predictions(
    run: Run, dataset: Dataset, cache: Cache, images: np.ndarray, on_progress: Progress = silent
) -> tuple[list[Predictions], list[LeftOut]]:
    """Every baseline's predictions, simplest network first, and the baselines that were skipped.

    Recipes that the run did not train are passed over, and so is what needs pooled features where
    the space cannot be cut.

    Args:
        run: the run.
        dataset: its images.
        cache: holds the features of the training images, which are computed where it does not.
        images: the test images, uint8, shape (n, image_size, image_size, 3).
        on_progress: shows the images done.
    """
    found: list[Predictions] = []
    left_out: list[LeftOut] = []
    for name, trial, predict in _predictors(run, dataset, cache, images, on_progress):
        try:
            found.append(Predictions(name, predict(), trial))
        except InputError as error:
            may_return = not isinstance(error, _OtherNetworkError)
            left_out.append(LeftOut(name, str(error), may_return))
    majority = np.bincount(dataset.labels("train")).argmax()
    return [*found, Predictions(MAJORITY, np.full(len(images), majority))], left_out


def can_return(
    run: Run, dataset: Dataset, cache: Cache, left_out: Sequence[LeftOut], on_progress: Progress
) -> bool:
    """Whether a skipped baseline can be evaluated now; opens no test image."""
    missing = {each.name for each in left_out if each.may_return}
    for trial in _recipes(run):
        if trial.recipe in missing:
            with contextlib.suppress(InputError):
                _weights(run, trial)
                return True
    if LOGISTIC in missing:
        with contextlib.suppress(InputError):
            pixels_of(dataset, "train", run.settings, cache, on_progress)
            return True
    return False


def _predictors(
    run: Run, dataset: Dataset, cache: Cache, images: np.ndarray, on_progress: Progress
) -> Iterator[tuple[str, int | None, Callable[[], np.ndarray]]]:
    """Name, trial and prediction of each baseline on pooled features."""
    space = space_of(run.settings, len(dataset.classes))
    if not can_be_cut(space):
        return
    backbone = PretrainedBackbone(space.build_backbone())
    (tests,) = pooled(backbone, {"test features": images}, cache)
    for trial in _recipes(run):
        predict = partial(_head_predictions, run, trial, space, backbone, tests)
        yield str(trial.recipe), trial.id, predict

    def by_regression() -> np.ndarray:
        pixels = pixels_of(dataset, "train", run.settings, cache, on_progress)
        (rows,) = pooled(backbone, {"training features": pixels}, cache, on_progress)
        groups = np.array([group_of(file) for file in dataset.of("train")])
        predict, _ = regression(rows, dataset.labels("train"), groups, run.settings.seed)
        return np.asarray(predict(tests))

    yield LOGISTIC, None, by_regression


def _recipes(run: Run) -> list[TrialRecord]:
    """The recipes that the run has trained, as far as their heads stand on pooled features."""
    return [
        trial
        for trial in run.journal.trials()
        if trial.recipe is not None
        and trial.rungs
        and not Configuration.of(trial.hyperparameters).unfreeze_blocks
    ]


def _weights(run: Run, trial: TrialRecord) -> dict[str, np.ndarray]:
    found = read_checkpoint(state_file(run.folder, trial.id))
    if found.epoch != trial.epochs:
        raise RunError(f"trial {trial_name(trial.id)} is being trained on.")
    return dict(found.state)


def _head_predictions(
    run: Run,
    trial: TrialRecord,
    space: ResNet50Space,
    backbone: PretrainedBackbone,
    features: np.ndarray,
) -> np.ndarray:
    weights = _weights(run, trial)
    model = space.build_suffix(Configuration.of(trial.hyperparameters), backbone.lend(0), seed=0)
    try:
        restore_weights(model, weights)
    except (KeyError, ValueError) as error:  # an array is missing, or has another shape
        raise _OtherNetworkError(
            f"the weights of trial {trial_name(trial.id)} belong to another network: "
            f"{first_line(error)}."
        ) from error
    return np.asarray(model.predict(features, verbose=0)).argmax(axis=1)
