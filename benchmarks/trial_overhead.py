"""How many seconds does a head-only trial take besides gradient steps and validation?

    python benchmarks/trial_overhead.py

Ours: 30 trials drawn from the whole head space (seed 0), in one process, as a search runs them. A
trial's time is that from asking the oracle to the end of the trial, its state and journal written;
taken off are its epochs at the pace of further epochs of the same program, which trace nothing
(trained outside the clock, after the trial). So building, tracing, writing and the journal count.

Keras Tuner: the same way, on the first few of the same configurations; a rung of its own is built,
fitted and checkpointed by keras_tuner.Hyperband, at --image-size, on which this hardly depends.
"""

import argparse
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

AIM, LEAST, KERAS_TUNER = 0.15, 0.35, 0.9


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        workload = workload_of(options, scratch)
        report = Report(
            "trial_overhead", "Seconds per head-only trial outside its epochs.", options
        )
        measured = measure(workload, options, scratch)
        show(report, measured, options)
        report.write()


def measure(workload: Workload, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Both arms."""
    runs = []
    for number in range(1, options.runs + 1):
        progress(f"ours, run {number} of {options.runs}")
        runs.append(
            run_arm(
                our_trials,
                workload=workload,
                trials=options.trials,
                epochs=options.epochs,
                extra=options.extra_epochs,
                folder=str(scratch / f"ours-{number}"),
            )
        )
    progress("the plain tuner")
    plain = run_arm(
        plain_trials,
        workload=workload,
        configurations=[row["values"] for row in runs[0][: options.plain_trials]],
        epochs=options.extra_epochs + 1,
        folder=str(scratch / "plain"),
    )
    means = [sum(row["overhead"] for row in rows) / len(rows) for rows in runs]
    return {"runs": runs, "plain": plain, "ours_mean": median(means)}


def our_trials(
    workload: Workload, trials: int, epochs: int, extra: int, folder: str
) -> list[dict[str, Any]]:
    """An arm: each trial's seconds, and what of them its epochs do not explain."""
    import_all()
    from drawn import DrawnTrials, draw_and_train
    from spaces import DrawnOnly

    rows: list[dict[str, Any]] = []
    seen: set[tuple[Any, ...]] = set()

    def steady(tuner: DrawnTrials) -> None:
        assert tuner.trained is not None
        trainer, training, validation = tuner.trained
        seconds = []
        for _ in range(extra):
            begun = time.perf_counter()
            trainer.run_epoch(training, validation)
            seconds.append(time.perf_counter() - begun)
        values = tuner.oracle.records()[-1].hyperparameters
        shape = tuple(values.get(f"head_{name}") for name in ("layers", "width", "batchnorm"))
        rows.append(
            {
                "values": values,
                "new_shape": shape not in seen,
                "seconds": tuner.seconds[-1],
                "epoch": median(seconds),
                "overhead": tuner.seconds[-1] - epochs * median(seconds),
            }
        )
        seen.add(shape)

    draw_and_train(
        workload, DrawnOnly, {"unfreeze_blocks": 0}, [(trials, 0, epochs)], Path(folder), steady
    )
    return rows


def plain_trials(
    workload: Workload, configurations: list[dict[str, Any]], epochs: int, folder: str
) -> list[dict[str, Any]]:
    """An arm: the same of keras_tuner.Hyperband."""
    import_all()
    from plain import PlainTuner, Rung

    x, y, validation = workload.arrays()
    space = {
        "num_classes": workload.class_count(),
        "image_size": workload.image_size,
        "weights": workload.weights,
    }
    fit = {"x": x, "y": y, "validation_data": validation, "batch_size": workload.batch_size}
    tuner = PlainTuner({"unfreeze_blocks": 0}, space, 30, Path(folder), fit)
    rows = []
    for number, values in enumerate(configurations):
        _, timing = tuner.train(Rung(number, values, 0, epochs))
        rows.append(
            {
                "values": values,
                "seconds": timing.seconds,
                "epoch": timing.steady_epoch,
                "overhead": timing.overhead,
            }
        )
    return rows


def show(report: Report, measured: dict[str, Any], options: argparse.Namespace) -> None:
    """Prints the tables and keeps them."""
    first, plain = measured["runs"][0], measured["plain"]
    report.table(
        "Ours, first run",
        [
            {
                "trial": number,
                "hidden layers": row["values"]["head_layers"],
                "width": row["values"].get("head_width"),
                "batchnorm": row["values"].get("head_batchnorm"),
                "new shape": "yes" if row["new_shape"] else "",
                "trial, s": row["seconds"],
                "an epoch, s": row["epoch"],
                "outside epochs, s": row["overhead"],
            }
            for number, row in enumerate(first)
        ],
    )
    report.table(
        "Ours, by whether the head's shape had been met before in the search",
        [_group(name, first, new) for name, new in (("new shape", True), ("met before", False))],
    )
    theirs = sum(row["overhead"] for row in plain) / len(plain)
    report.table(
        "Seconds per head-only trial outside its epochs, mean",
        [
            {
                "keras_tuner": theirs,
                "its trials": len(plain),
                "ours": measured["ours_mean"],
                "our trials": len(first),
                "runs": options.runs,
                "times less": theirs / measured["ours_mean"],
                "aim": AIM,
                "least": LEAST,
            }
        ],
    )
    report.keep("ours", measured["runs"])
    report.keep("plain", plain)
    report.note("Ours is the mean over the trials, and of the runs' means the median.")


def _group(name: str, rows: list[dict[str, Any]], new: bool) -> dict[str, Any]:
    overheads = [row["overhead"] for row in rows if row["new_shape"] is new]
    if not overheads:
        return {"trials": name, "count": 0}
    return {
        "trials": name,
        "count": len(overheads),
        "mean, s": sum(overheads) / len(overheads),
        "median, s": median(overheads),
        "most, s": max(overheads),
    }


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=64, training=600, validation=200)
    add = parser.add_argument
    add("--trials", type=int, default=30, help="drawn trials of ours (30)")
    add("--epochs", type=int, default=2, help="of each (2)")
    add("--extra-epochs", type=int, default=3, help="epochs that show the pace (3)")
    add("--runs", type=int, default=3, help="runs of ours (3)")
    add("--plain-trials", type=int, default=5, help="trials of the plain tuner (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
