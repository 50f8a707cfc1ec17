"""How much faster is a grid over unfreeze depths than training each network end to end?

    python benchmarks/nautilus.py

The grid that Nautilus was measured on (Nakandala & Kumar 2022, "Nautilus: An Optimized System for
Deep Transfer Learning over Evolving Training Datasets", SIGMOD), in its shape: ResNet50 at 224 px,
4 unfreeze depths x 2 batch sizes x 3 learning rates, 5 epochs. Nautilus's published figure for
feature transfer and fine-tuning workloads of that kind is 2.83 x against current practice; it is
theirs, on their machine, and stands in the table for comparison only.

Ours: features at the cuts that the cost model chooses, then each trial on its suffix, all 24 of
them, everything from building the backbone on the clock. The baseline: `build` and `fit` for each
configuration, from the images. Its epochs are measured for each depth and batch size and added up
over the learning rates, which do not change them; --full-plain trains them all.
"""

import argparse
import itertools
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

PUBLISHED, AIM, LEAST = 2.83, 3.3, 2.8
LEARNING_RATES = (1e-3, 3e-4, 1e-4)


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        workload = workload_of(options, scratch)
        report = Report("nautilus", "A grid over unfreeze depths against end-to-end fit.", options)
        plan = {
            "depths": options.depths,
            "batch_sizes": options.batch_sizes,
            "learning_rates": list(LEARNING_RATES[: options.learning_rates]),
            "epochs": options.epochs,
        }
        runs = []
        for number in range(1, options.runs + 1):
            progress(f"ours, run {number} of {options.runs}")
            folder = str(scratch / f"cache-{number}")
            runs.append(run_arm(our_grid, workload=workload, plan=plan, cache=folder))
        progress("the baseline")
        plain = run_arm(
            plain_grid,
            workload=workload,
            plan=plan,
            measured_epochs=None if options.full_plain else options.measured_epochs,
        )
        _show(report, runs, plain, plan, options)
        report.write()


def our_grid(workload: Workload, plan: dict[str, Any], cache: str) -> dict[str, Any]:
    """An arm: the grid from features, from building the backbone on."""
    import_all()
    from search_spaces.backbone import PretrainedBackbone
    from search_spaces.resnet50 import ResNet50Space
    from tuner.storage.cache import Cache
    from tuner.training.rows import Rows
    from tuner.training.sources import FromFeatures, Images

    x, y, validation = workload.arrays()
    space = ResNet50Space(workload.class_count(), workload.image_size, workload.weights)
    images = Images([x], y, Rows(*validation))
    each = len(plan["batch_sizes"]) * len(plan["learning_rates"]) * plan["epochs"]
    expected = dict.fromkeys(plan["depths"], float(each))
    trials: list[dict[str, Any]] = []
    begun = time.perf_counter()
    backbone = PretrainedBackbone(space.build_backbone())
    preparing = 0.0
    stored: tuple[int, ...] = ()
    with Cache(Path(cache)) as opened:
        for batch_size in plan["batch_sizes"]:
            started = time.perf_counter()
            source = FromFeatures(
                space, backbone, images, opened, expected, batch_size=batch_size, seed=0
            )
            stored = stored or source.stored
            preparing += time.perf_counter() - started
            for depth, rate in itertools.product(plan["depths"], plan["learning_rates"]):
                started = time.perf_counter()
                values = _values(depth, rate)
                trainer = source.trainer(values, len(trials))
                rows = source.rows(values)
                epochs = []
                for epoch in range(plan["epochs"]):
                    epoch_begun = time.perf_counter()
                    trainer.run_epoch(rows.training(epoch), rows.validation)
                    epochs.append(time.perf_counter() - epoch_begun)
                trials.append(
                    {
                        "depth": depth,
                        "batch_size": batch_size,
                        "seconds": time.perf_counter() - started,
                        "epoch": median(epochs[1:] or epochs),
                    }
                )
    seconds = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "preparing": preparing,
        "stored": [int(cut) for cut in stored],
        "trials": trials,
    }


def plain_grid(
    workload: Workload, plan: dict[str, Any], measured_epochs: int | None
) -> dict[str, Any]:
    """An arm: `build` and `fit` for each configuration; None trains all of it."""
    import_all()
    import keras
    from plain import EpochClock
    from spaces import PlainSpace

    from search_spaces.resnet50 import Configuration, compile_classifier

    x, y, validation = workload.arrays()
    space = PlainSpace(
        {},
        num_classes=workload.class_count(),
        image_size=workload.image_size,
        weights=workload.weights,
    )
    rates = plan["learning_rates"][: 1 if measured_epochs else None]
    trials = []
    for batch_size, depth, rate in itertools.product(plan["batch_sizes"], plan["depths"], rates):
        progress(f"fit: unfreeze_blocks {depth}, batch {batch_size}, learning rate {rate}")
        begun = time.perf_counter()
        keras.backend.clear_session()
        configuration = Configuration.of(_values(depth, rate))
        model = space.build_whole(configuration, space.build_backbone(), 0)
        compile_classifier(model, configuration)
        clock = EpochClock()
        model.fit(
            x,
            y,
            batch_size,
            measured_epochs or plan["epochs"],
            verbose=0,
            callbacks=[clock],
            validation_data=validation,
        )
        seconds = time.perf_counter() - begun
        epoch = median(clock.epochs[1:] or clock.epochs)
        besides = seconds - epoch * len(clock.epochs)
        trials.append(
            {
                "depth": depth,
                "batch_size": batch_size,
                "seconds": besides + epoch * plan["epochs"] if measured_epochs else seconds,
                "epoch": epoch,
            }
        )
    times = len(plan["learning_rates"]) // len(rates)
    return {"seconds": times * sum(trial["seconds"] for trial in trials), "trials": trials}


def _show(
    report: Report,
    runs: list[dict[str, Any]],
    plain: dict[str, Any],
    plan: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    rows = []
    for depth, batch_size in itertools.product(plan["depths"], plan["batch_sizes"]):
        ours = [_epoch(run, depth, batch_size) for run in runs]
        theirs = _epoch(plain, depth, batch_size)
        rows.append(
            {
                "unfreeze_blocks": depth,
                "batch size": batch_size,
                "fit, s an epoch": theirs,
                "ours, s an epoch": median(ours),
                "times faster": theirs / median(ours),
            }
        )
    report.table("An epoch with its validation, features prepared", rows)
    seconds = median([run["seconds"] for run in runs])
    report.table(
        "The whole grid, features included",
        [
            {
                "fit, s": plain["seconds"],
                "of it added up": "no, all of it ran" if options.full_plain else "yes",
                "ours, s (median)": seconds,
                "of it features": median([run["preparing"] for run in runs]),
                "cuts stored": str(runs[-1]["stored"]),
                "times faster": plain["seconds"] / seconds,
                "aim": AIM,
                "least": LEAST,
                "Nautilus's": PUBLISHED,
            }
        ],
    )
    report.keep("ours", runs)
    report.keep("plain", plain)
    if not options.full_plain:
        report.note(
            f"The baseline's time is added up from {options.measured_epochs} epochs of each depth "
            "and batch size, tracing and building counted once for each configuration."
        )


def _epoch(arm: dict[str, Any], depth: int, batch_size: int) -> float:
    return median(
        [
            trial["epoch"]
            for trial in arm["trials"]
            if (trial["depth"], trial["batch_size"]) == (depth, batch_size)
        ]
    )


def _values(depth: int, learning_rate: float) -> dict[str, Any]:
    return {
        "unfreeze_blocks": depth,
        "head_layers": 1,
        "head_width": 256,
        "head_batchnorm": False,
        "dropout": 0.2,
        "l2": 1e-4,
        "learning_rate": learning_rate,
    }


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=224, training=600, validation=200)
    add = parser.add_argument
    add("--depths", type=int, nargs="+", default=[0, 1, 2, 3], help="unfreeze_blocks (0 1 2 3)")
    add("--batch-sizes", type=int, nargs="+", default=[16, 32], help="(16 32)")
    add("--learning-rates", type=int, choices=(1, 2, 3), default=3, help="how many (3)")
    add("--epochs", type=int, default=5, help="of each trial (5)")
    add("--runs", type=int, default=1, help="runs of ours; the median counts (1)")
    add("--measured-epochs", type=int, default=2, help="of the baseline; the first traces (2)")
    add("--full-plain", action="store_true", help="train the baseline's whole grid")
    return parser.parse_args()


if __name__ == "__main__":
    main()
