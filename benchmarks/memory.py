"""Does memory grow, with the number of trials or with the number of images?

    python benchmarks/memory.py

Trials: 60 trials with heads of 2,048 units (1 or 2 hidden layers, BatchNorm or not, drawn) in one
process; RssAnon after each, and its growth from the 10th to the 60th. Keras Tuner's growth is
measured on a few such trials.

Images: RssAnon at its peak and time per image while the features of 1,000, 4,000 and 16,000 images
are prepared, each in a fresh process; the pixels are a memory map, as in a search.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    PeakMemory,
    Report,
    Workload,
    arguments,
    import_all,
    make_images,
    progress,
    rss_anon_bytes,
    run_arm,
    scratch_folder,
    workload_of,
)

AIM_MB, LEAST_MB = 20, 50
MB = 1e6
_PIECE = 500  # images that are made at a time


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        workload = workload_of(options, scratch)
        report = Report("memory", "Memory over many trials, and over many images.", options)
        if options.trials:
            _trials(report, workload, options, scratch)
        if options.images:
            _images(report, workload, options, scratch)
        report.write()


def our_trials(workload: Workload, trials: int, epochs: int, folder: str) -> list[int]:
    """An arm: RssAnon after each trial."""
    import_all()
    from drawn import draw_and_train
    from spaces import WideHeads

    readings: list[int] = []
    draw_and_train(
        workload,
        WideHeads,
        {"unfreeze_blocks": 0},
        [(trials, 0, epochs)],
        Path(folder),
        lambda tuner: readings.append(rss_anon_bytes()),
    )
    return readings


def plain_trials(workload: Workload, trials: int, folder: str) -> list[int]:
    """An arm: the same of keras_tuner.Hyperband, one epoch each."""
    import_all()
    from plain import PlainTuner, Rung

    x, y, validation = workload.arrays()
    x, y = x[:64], y[:64]
    space = {
        "num_classes": workload.class_count(),
        "image_size": workload.image_size,
        "weights": workload.weights,
    }
    fit = {"x": x, "y": y, "validation_data": validation, "batch_size": workload.batch_size}
    pinned = {"unfreeze_blocks": 0, "head_width": 2048}
    tuner = PlainTuner(pinned, space, 30, Path(folder), fit)
    readings = []
    for number in range(trials):
        values = {
            **pinned,
            "head_layers": 1 + number % 2,
            "head_batchnorm": bool(number // 2 % 2),
            "dropout": 0.1,
            "l2": 1e-4,
            "learning_rate": 1e-3,
        }
        tuner.train(Rung(number, values, 0, 1))
        readings.append(rss_anon_bytes())
    return readings


def prepare(workload: Workload, count: int, cuts: list[int], folder: str) -> dict[str, Any]:
    """An arm: features of so many images, and one epoch of a head on them."""
    import_all()
    from search_spaces.backbone import CUTS, PretrainedBackbone
    from search_spaces.resnet50 import Configuration, ResNet50Space
    from tuner.features.shards import BATCH
    from tuner.features.store import FeatureStore
    from tuner.storage.cache import Cache
    from tuner.training.compiled import Programs
    from tuner.training.rows import Rows

    pixels, labels = _mapped_images(workload, count, Path(folder))
    space = ResNet50Space(workload.classes, workload.image_size, workload.weights)
    backbone = PretrainedBackbone(space.build_backbone())
    with Cache(Path(folder) / "cache") as cache:
        store = FeatureStore(backbone.lend(0), cache)
        store.stored = tuple(cut for cut in CUTS if cut in cuts)
        store.open(np.zeros((BATCH, *pixels.shape[1:]), np.uint8))
        before = rss_anon_bytes()
        with PeakMemory() as preparing:
            begun = time.perf_counter()
            features = store.open(pixels)
            seconds = time.perf_counter() - begun
        rows = Rows(features.rows(0), labels)
        few = Rows(features.rows(0)[:64], labels[:64])
        trainer = Programs(space, backbone, workload.batch_size).trainer(Configuration(), 0, (0,))
        trainer.run_epoch(few, few)
        with PeakMemory() as training:
            trainer.run_epoch(rows, few)
    return {
        "images": count,
        "cuts": str(cuts),
        "ms an image": seconds / count * 1e3,
        "RssAnon before, MB": before / MB,
        "peak preparing, MB": preparing.bytes / MB,
        "growth preparing, MB": (preparing.bytes - before) / MB,
        "peak of a head's epoch, MB": training.bytes / MB,
    }


def _trials(report: Report, workload: Workload, options: argparse.Namespace, scratch: Path) -> None:
    progress("trials: ours")
    ours = run_arm(
        our_trials,
        workload=workload,
        trials=options.trials,
        epochs=options.epochs,
        folder=str(scratch / "ours"),
    )
    start = min(10, max(1, options.trials // 6))
    rows = [_growth("ours", ours, start)]
    if options.plain_trials:
        progress("trials: the plain tuner")
        plain = run_arm(
            plain_trials,
            workload=workload,
            trials=options.plain_trials,
            folder=str(scratch / "plain"),
        )
        rows.append(_growth("keras_tuner", plain, max(1, options.plain_trials // 3)))
        report.keep("plain_rss_anon_bytes", plain)
    report.table("RssAnon over trials with heads of 2,048 units", rows)
    report.note(f"Aim {AIM_MB} MB, least {LEAST_MB} MB from the 10th to the 60th trial.")
    report.keep("ours_rss_anon_bytes", ours)


def _growth(arm: str, readings: list[int], start: int) -> dict[str, Any]:
    grown = readings[-1] - readings[start - 1]
    return {
        "arm": arm,
        "trials": len(readings),
        "after trial 1, MB": readings[0] / MB,
        "from trial": start,
        "there, MB": readings[start - 1] / MB,
        "at the end, MB": readings[-1] / MB,
        "most, MB": max(readings) / MB,
        "growth, MB": grown / MB,
        "MB a trial": grown / MB / max(1, len(readings) - start),
    }


def _images(report: Report, workload: Workload, options: argparse.Namespace, scratch: Path) -> None:
    rows = []
    for cuts in options.cuts:
        for count in options.images:
            progress(f"images: {count}, cuts {cuts}")
            folder = scratch / f"images-{count}-{cuts}"
            folder.mkdir()
            rows.append(
                run_arm(
                    prepare,
                    workload=workload,
                    count=count,
                    cuts=[int(cut) for cut in cuts.split(",")],
                    folder=str(folder),
                )
            )
    report.table("Preparing features of more and more images", rows)
    report.note(
        "A head's epoch takes rows in windows of up to 256 MB, so its peak grows up to there."
    )


def _mapped_images(workload: Workload, count: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Random images as a read-only memory map, written piece by piece."""
    path, size = folder / "images.npy", workload.image_size
    shape = (count, size, size, 3)
    labels = np.empty(count, np.int64)
    with path.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, count, _PIECE):
            here = min(_PIECE, count - start)
            images, labels[start : start + here] = make_images(
                here, size, workload.classes, seed=start
            )
            stream.write(images.data)
    return np.load(path, mmap_mode="r"), labels


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=64, training=600, validation=200)
    add = parser.add_argument
    add("--trials", type=int, default=60, help="trials of ours; 0 leaves this part out (60)")
    add("--epochs", type=int, default=1, help="of each trial (1)")
    add("--plain-trials", type=int, default=12, help="of the plain tuner, or 0 (12)")
    add("--images", type=int, nargs="*", default=[1000, 4000, 16000], help="(1000 4000 16000)")
    add("--cuts", nargs="+", default=["0", "3,0"], help="sets of stored cuts (0 3,0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
