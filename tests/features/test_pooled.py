"""Pooled features in one call: those of the store, set by set."""

from pathlib import Path

import numpy as np

from search_spaces.backbone import PretrainedBackbone, build_backbone
from tuner.features.pooled import pooled
from tuner.features.store import FeatureStore
from tuner.storage.cache import Cache


def test_pooled_features_are_those_of_the_store(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sets = {
        name: random.integers(0, 256, (count, 32, 32, 3), np.uint8)
        for name, count in (("training features", 40), ("test features", 3))
    }
    backbone = PretrainedBackbone(build_backbone(32, "none"))
    shown: list[tuple[str, int, int]] = []
    with Cache(tmp_path) as cache:
        found = pooled(backbone, sets, cache, lambda *progress: shown.append(progress))
        assert len(cache.entries()) == 2  # a shard for each set, at no other cut
        store = FeatureStore(backbone.lend(0), cache)
        for pixels, rows in zip(sets.values(), found, strict=True):
            np.testing.assert_array_equal(rows, store.open(pixels).rows(0)[:])
    assert shown == [("training features", 40, 40), ("test features", 3, 3)]
