"""Pooled features of images under the frozen backbone, in one call."""

from collections.abc import Mapping

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from tuner.counting import Progress, silent
from tuner.features.store import FeatureStore
from tuner.storage.cache import Cache


def pooled(
    backbone: PretrainedBackbone,
    sets: Mapping[str, np.ndarray],
    cache: Cache,
    on_progress: Progress = silent,
) -> list[np.ndarray]:
    """Pooled features, float32, (n, 2048), of image sets under the frozen backbone; cached.

    `sets` are pixels, uint8, (n, size, size, 3), by their name for `on_progress`.
    """
    store = FeatureStore(backbone.lend(0), cache)
    store.stored = (0,)
    return [store.open(pixels, on_progress, what).rows(0)[:] for what, pixels in sets.items()]
