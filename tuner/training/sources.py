"""Where a trial's trainer and rows come from: features at its cut, or whole images.

Both give the same thing for a trial, so that the tuner does not know which it uses.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import keras_tuner
import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.head import STATISTICS_ROWS
from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.counting import Progress, silent
from tuner.features.shards import rows_on_disk
from tuner.features.store import FeatureStore
from tuner.storage.cache import Cache
from tuner.storage.digests import bytes_digest, key_of
from tuner.training.compiled import Programs
from tuner.training.rows import Rows
from tuner.training.trainer import Trainer

_POOLED_CHANNELS = 2048
# For the estimate of a wide head's step: its products and Adam's passes over its variables. Assumed
# for two cores; where it is used, it is corrected by what the trials before took.
_STEP_SECONDS_PER_PARAMETER = 5e-9


@dataclass(frozen=True)
class Images:
    """The images of a search, uint8, each of shape (n, image_size, image_size, 3), with labels.

    Attributes:
        views: the training images, once for each view; epoch e trains on view e mod their number.
        labels: class numbers of the training images.
        validation: the validation images with their class numbers.
        class_weights: what a training image of each class weighs, as `Trainer` takes them.
    """

    views: Sequence[np.ndarray]
    labels: np.ndarray
    validation: Rows
    class_weights: np.ndarray | None = None


@dataclass(frozen=True)
class TrialRows:
    """What a trial trains on and is scored on.

    Attributes:
        views: training rows, once for each view.
        validation: rows that decide the score.
    """

    views: Sequence[Rows]
    validation: Rows

    def training(self, epoch: int) -> Rows:
        """The training rows of an epoch, counted from 0."""
        return self.views[epoch % len(self.views)]


class Source(Protocol):
    """Gives trials what they need.

    Attributes:
        fingerprint: digests of the "images" with their labels and of the "weights" of the backbone.
    """

    fingerprint: dict[str, str]

    def trainer(
        self, hyperparameters: Mapping[str, Any], trial: int, batch_size: int | None = None
    ) -> Trainer:
        """A trainer at epoch 0; the one before it must not be used any more.

        Args:
            hyperparameters: of the trial.
            trial: its number, which seeds it.
            batch_size: rows of a step, where they are not those of the search.
        """

    def forget(self) -> None:
        """Lets go of what earlier trials left in memory."""

    def epoch_seconds(self, hyperparameters: Mapping[str, Any]) -> float | None:
        """Estimate of what an epoch takes, with its evaluation; None where nothing is known."""

    def rows(self, hyperparameters: Mapping[str, Any]) -> TrialRows:
        """The rows that this trainer takes."""


class FromFeatures:
    """Trains the suffix above each trial's cut, on features that are computed once.

    Args:
        space: the space.
        backbone: its backbone.
        images: all images.
        cache: keeps the features.
        epochs: unfreeze depth to the epochs that the search is expected to train at it.
        batch_size: rows of a training step.
        seed: of the search.
        on_progress: called while features are computed.
    """

    def __init__(
        self,
        space: ResNet50Space,
        backbone: PretrainedBackbone,
        images: Images,
        cache: Cache,
        epochs: Mapping[int, float],
        *,
        batch_size: int,
        seed: int,
        on_progress: Progress = silent,
    ) -> None:
        self._programs = Programs(space, backbone, batch_size, images.class_weights)
        self._batch_size = batch_size
        self._seed = seed
        self._labels = images.labels
        self._validation_labels = images.validation.y
        store = FeatureStore(backbone.lend(0), cache)
        count = sum(rows_on_disk(len(pixels)) for pixels in (*images.views, images.validation.x))
        store.choose_stored(epochs, count, space.image_size)
        self.stored = store.stored
        self._store = store
        self._views = [
            store.open(pixels, on_progress, f"training features{_number(number, images.views)}")
            for number, pixels in enumerate(images.views)
        ]
        self._validation = store.open(images.validation.x, on_progress, "validation features")
        sets = [*self._views, self._validation]
        self.fingerprint = {
            "images": _digest([features.fingerprint for features in sets], images),
            "weights": store.weights_digest,
        }

    def trainer(
        self, hyperparameters: Mapping[str, Any], trial: int, batch_size: int | None = None
    ) -> Trainer:
        """See Source."""
        return self._programs.trainer(
            Configuration.of(hyperparameters),
            trial_seed(self._seed, trial),
            (self._seed, trial),
            batch_size,
        )

    def forget(self) -> None:
        """See Source."""
        self._programs.clear()

    def epoch_seconds(self, hyperparameters: Mapping[str, Any]) -> float:
        """See Source."""
        return epoch_seconds(
            self._store,
            Configuration.of(hyperparameters),
            len(self._labels),
            len(self._validation_labels),
            self._batch_size,
        )

    def rows(self, hyperparameters: Mapping[str, Any]) -> TrialRows:
        """See Source."""
        cut = Configuration.of(hyperparameters).unfreeze_blocks
        return TrialRows(
            [Rows(view.rows(cut), self._labels) for view in self._views],
            Rows(self._validation.rows(cut), self._validation_labels),
        )


class FromImages:
    """Trains each trial's whole network on the images: for spaces that this program cannot cut.

    Args:
        space: any HyperModel whose `build` gives a compiled classifier.
        declared: its hyperparameters.
        images: all images.
        batch_size: images of a training step.
        seed: of the search.
    """

    def __init__(
        self,
        space: keras_tuner.HyperModel,
        declared: keras_tuner.HyperParameters,
        images: Images,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self._space = space
        self._declared = declared
        self._batch_size = batch_size
        self._seed = seed
        self._class_weights = images.class_weights
        self._rows = TrialRows(
            [Rows(pixels, images.labels) for pixels in images.views], images.validation
        )
        digests = [bytes_digest(pixels) for pixels in (*images.views, images.validation.x)]
        self.fingerprint = {"images": _digest(digests, images), "weights": ""}

    def trainer(
        self, hyperparameters: Mapping[str, Any], trial: int, batch_size: int | None = None
    ) -> Trainer:
        """See Source."""
        chosen = self._declared.copy()
        chosen.values = dict(hyperparameters)
        model = build_seeded(self._space, chosen, self._seed, trial)
        order = (self._seed, trial)
        return Trainer(model, batch_size or self._batch_size, order, self._class_weights)

    def forget(self) -> None:
        """Nothing is kept."""

    def epoch_seconds(self, hyperparameters: Mapping[str, Any]) -> None:
        """Nothing is known of a network that is not this program's."""

    def rows(self, hyperparameters: Mapping[str, Any]) -> TrialRows:
        """See Source."""
        return self._rows


def epoch_seconds(
    store: FeatureStore,
    configuration: Configuration,
    training: int,
    validation: int,
    batch_size: int,
) -> float:
    """Estimate of what an epoch takes, with its evaluation.

    Args:
        store: knows what is stored and what computing costs.
        configuration: what is trained.
        training: number of training rows.
        validation: number of validation rows.
        batch_size: rows of a step.
    """
    below, above = store.pass_seconds(configuration.unfreeze_blocks)
    # The gradients take two more passes through what is trained.
    seconds = training * (below + 3 * above) + validation * (below + above)
    if configuration.head_batchnorm:
        seconds += min(training, STATISTICS_ROWS) * (below + above)
    steps = -(-training // batch_size)
    return seconds + steps * _head_parameters(configuration) * _STEP_SECONDS_PER_PARAMETER


def build_seeded(
    space: keras_tuner.HyperModel,
    hyperparameters: keras_tuner.HyperParameters,
    search_seed: int,
    trial: int,
) -> keras.Model:
    """A trial's network as the space builds it, with the same initial weights every time."""
    keras.utils.set_random_seed(trial_seed(search_seed, trial))
    return space.build(hyperparameters)


def trial_seed(search_seed: int, trial: int) -> int:
    """Seed of a trial's initial weights and dropout; neighbouring seeds have nothing in common."""
    return int(np.random.SeedSequence((search_seed, trial)).generate_state(1)[0] >> 1)


def _digest(pixel_digests: Sequence[str], images: Images) -> str:
    labels = [np.asarray(y).tolist() for y in (images.labels, images.validation.y)]
    return key_of(*pixel_digests, labels)


def _head_parameters(configuration: Configuration) -> int:
    """Kernels of the hidden layers, which are nearly all of a head."""
    widths = [configuration.head_width >> number for number in range(configuration.head_layers)]
    return sum(a * b for a, b in itertools.pairwise([_POOLED_CHANNELS, *widths]))


def _number(number: int, views: Sequence[np.ndarray]) -> str:
    return f", view {number + 1} of {len(views)}" if len(views) > 1 else ""
