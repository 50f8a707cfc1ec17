"""What experiments on stuck accuracy look at: the images, their pooled features, and heads."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import ResNet50Space
from tuner.cache import Cache
from tuner.features import FeatureStore
from tuner.heads import Heads
from tuner.training import Rows


@dataclass(frozen=True)
class Evidence:
    """Images of a dataset and what the frozen backbone makes of them.

    Attributes:
        space: decides image size, weights and the number of classes.
        backbone: the space's.
        training: images, uint8, shape (n, image_size, image_size, 3), with their class numbers.
        validation: the same of the images that decide.
        pooled_training: features of the training images, float32, shape (n, 2048), with the class
            numbers.
        pooled_validation: the same of the validation images.
        heads: trains heads on such features.
    """

    space: ResNet50Space
    backbone: PretrainedBackbone
    training: Rows
    validation: Rows
    pooled_training: Rows
    pooled_validation: Rows
    heads: Heads

    def first(self, training: int, validation: int) -> "Evidence":
        """The same of the first images alone, for what takes long for each of them."""
        return replace(
            self,
            training=_first(self.training, training),
            validation=_first(self.validation, validation),
            pooled_training=_first(self.pooled_training, training),
            pooled_validation=_first(self.pooled_validation, validation),
        )


def gather(
    space: ResNet50Space,
    training: Rows,
    validation: Rows,
    cache: Cache,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Evidence:
    """Computes the pooled features that are not in the cache yet.

    Args:
        space: decides image size, weights and the number of classes.
        training: images, uint8, shape (n, image_size, image_size, 3), with their class numbers.
        validation: the same of the images that decide.
        cache: keeps the features.
        on_progress: is told (what is done, images done, of how many).
    """
    backbone = PretrainedBackbone(space.build_backbone())
    store = FeatureStore(backbone.lend(0), cache)
    store.stored = (0,)

    def pooled(rows: Rows, what: str) -> Rows:
        def told(done: int, count: int) -> None:
            if on_progress is not None:
                on_progress(what, done, count)

        features: np.ndarray = store.open(rows.x, told).rows(0)[:]
        return Rows(features, rows.y)

    return Evidence(
        space, backbone, training, validation,
        pooled(training, "training features"), pooled(validation, "validation features"),
        Heads(space, backbone),
    )  # fmt: skip


def _first(rows: Rows, count: int) -> Rows:
    return Rows(rows.x[:count], rows.y[:count])
