"""Does preparing features cost more than one bare forward pass over the same images?

    python benchmarks/feature_speed.py

Both in one process, in turn, with every program traced before; the median of the quotients of
--repeats pairs. The bare forward pass is the whole backbone with its preprocessing as one
`tf.function`, on batches of 32. Preparing is `FeatureStore.open` on an empty cache folder: digests,
segments, writing, checksums.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from common import (
    Report,
    Workload,
    arguments,
    import_all,
    median,
    progress,
    run_arm,
    scratch_folder,
    workload_of,
)

AIM, LEAST = 1.0, 1.1
IMAGES = {64: 2048, 96: 1024, 224: 256}


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        report = Report("feature_speed", "Preparing features against a bare forward pass.", options)
        rows = measure(options, scratch)
        report.table("Preparing features against a bare forward pass", rows)
        report.note(f"Aim {AIM}, least {LEAST}, of the times a forward pass with cuts [0].")
        report.write()


def measure(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """One row for each image size and set of cuts."""
    rows = []
    for size in options.sizes:
        given = argparse.Namespace(**vars(options))
        given.image_size = size
        given.train = options.images or IMAGES.get(size, 256)
        workload = workload_of(given, scratch)
        for cuts in options.cuts:
            progress(f"{size} px, cuts {cuts}")
            rows.append(
                run_arm(
                    compare,
                    workload=workload,
                    cuts=[int(cut) for cut in cuts.split(",")],
                    repeats=options.repeats,
                    folder=str(scratch),
                )
            )
    return rows


def compare(workload: Workload, cuts: list[int], repeats: int, folder: str) -> dict[str, Any]:
    """An arm, and its baseline: both in this process, in turn."""
    import_all()
    import keras
    import numpy as np
    import tensorflow as tf

    from search_spaces.backbone import CUTS, build_backbone, preprocess
    from tuner.features.shards import BATCH
    from tuner.features.store import FeatureStore
    from tuner.storage.cache import Cache

    pixels = workload.arrays()[0]
    backbone = build_backbone(workload.image_size, workload.weights)
    images = keras.Input(backbone.input_shape[1:])
    whole = keras.Model(images, backbone(preprocess(images)))
    forward = tf.function(lambda rows: whole(tf.cast(rows, tf.float32), training=False))

    def bare() -> float:
        begun = time.perf_counter()
        for start in range(0, len(pixels), BATCH):
            np.asarray(forward(pixels[start : start + BATCH]))
        return time.perf_counter() - begun

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as empty, Cache(Path(empty)) as cache:
        store = FeatureStore(backbone, cache)
        making = time.perf_counter() - begun
        store.stored = tuple(cut for cut in CUTS if cut in cuts)
        store.open(pixels[:BATCH])

    def prepare() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as empty, Cache(Path(empty)) as cache:
            store.cache = cache
            begun = time.perf_counter()
            store.open(pixels)
            return time.perf_counter() - begun

    bare()
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(repeats):
        for measured, function in ((ours, prepare), (theirs, bare))[:: 1 if number % 2 else -1]:
            measured.append(function())
    quotients = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {
        "pixels": workload.image_size,
        "images": len(pixels),
        "cuts": str(cuts),
        "forward, images/s": len(pixels) / median(theirs),
        "preparing, images/s": len(pixels) / median(ours),
        "times a forward pass": median(quotients),
        "least and most": f"{min(quotients):.2f} {max(quotients):.2f}",
        "making the store, s": making,
    }


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=224, training=256, validation=0)
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[64, 96, 224], help="pixels a side (64 96 224)")
    add("--images", type=int, help="for each size (64: 2048, 96: 1024, 224: 256)")
    add("--cuts", nargs="+", default=["0", "3,0"], help="sets of stored cuts (0 3,0)")
    add("--repeats", type=int, default=5, help="of each; the median counts (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
