"""Sources of a trial's trainer and rows: features at its cut, or whole images."""

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
# Estimate for a step of a wide head: matrix products, and Adam's passes over the variables. Assumed
# for two cores, and corrected by the times of earlier trials.
_STEP_SECONDS_PER_PARAMETER = 5e-9


@dataclass(frozen=True)
class Images:
    """The images of a search, uint8, shape (n, image_size, image_size, 3), and their labels.

    Attributes:
        views: training images, once for each view; epoch e trains on view e mod their number.
        labels: class numbers of the training images.
        validation: validation images with class numbers.
        class_weights: see `Trainer`.
    """

    views: Sequence[np.ndarray]
    labels: np.ndarray
    validation: Rows
    class_weights: np.ndarray | None = None


@dataclass(frozen=True)
class TrialRows:
    """Training rows of a trial, once for each view, and the validation rows of its score."""

    views: Sequence[Rows]
    validation: Rows

    def training(self, epoch: int) -> Rows:
        """The training rows of an epoch, counted from 0."""
        return self.views[epoch % len(self.views)]


class Source(Protocol):
    """Provides trainers and rows for trials.

    Attributes:
        fingerprint: digests of the "images" with labels, and of the backbone's "weights".
    """

    fingerprint: dict[str, str]

    def trainer(
        self, hyperparameters: Mapping[str, Any], trial: int, batch_size: int | None = None
    ) -> Trainer:
        """A trainer at epoch 0; invalidates the trainer returned before."""

    def forget(self) -> None:
        """Release the memory of earlier trials."""

    def epoch_seconds(self, hyperparameters: Mapping[str, Any]) -> float | None:
        """Estimated seconds of an epoch and its evaluation; None if unknown."""

    def rows(self, hyperparameters: Mapping[str, Any]) -> TrialRows:
        """The rows that its trainer takes."""


class FromFeatures:
    """Trains the layers above each trial's cut, on features that are computed once."""

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
    """Trains each trial's whole network on the images, for spaces that cannot be cut."""

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
        """Do nothing: no memory is held."""

    def epoch_seconds(self, hyperparameters: Mapping[str, Any]) -> None:
        """None: the cost of a foreign network is unknown."""

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
    """Estimated seconds of an epoch and its evaluation."""
    below, above = store.pass_seconds(configuration.unfreeze_blocks)
    # Gradients cost two more passes through the trained layers.
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
    """A trial's network as its space builds it, with reproducible initial weights."""
    keras.utils.set_random_seed(trial_seed(search_seed, trial))
    return space.build(hyperparameters)


def trial_seed(search_seed: int, trial: int) -> int:
    """Seed of a trial's initial weights and dropout; nearby seeds give unrelated numbers."""
    return int(np.random.SeedSequence((search_seed, trial)).generate_state(1)[0] >> 1)


def _digest(pixel_digests: Sequence[str], images: Images) -> str:
    labels = [np.asarray(y).tolist() for y in (images.labels, images.validation.y)]
    return key_of(*pixel_digests, labels)


def _head_parameters(configuration: Configuration) -> int:
    """Parameters of the hidden layers' kernels, nearly all of a head."""
    widths = [configuration.head_width >> number for number in range(configuration.head_layers)]
    return sum(a * b for a, b in itertools.pairwise([_POOLED_CHANNELS, *widths]))


def _number(number: int, views: Sequence[np.ndarray]) -> str:
    return f", view {number + 1} of {len(views)}" if len(views) > 1 else ""
