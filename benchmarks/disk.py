"""How many bytes does a head-only search leave on disk?

    python benchmarks/disk.py

The schedule of max_epochs 10 (30 rungs, which Keras Tuner counts as 30 trials), heads of at most
256 units. Ours: the run's folder, with features and the recipes' states counted apart. Keras Tuner:
the project folder after a few trials, scaled to 30; it deletes nothing.
"""

import argparse
from pathlib import Path
from typing import Any

from common import (
    Report,
    Workload,
    arguments,
    import_all,
    progress,
    run_arm,
    scratch_folder,
    workload_of,
    write_image_folder,
)

from tuner.storage.disk import folder_bytes

AIM_MB, LEAST_MB = 10, 30
MB = 1e6


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        workload = workload_of(options, scratch)
        report = Report("disk", "Bytes on disk after a head-only search.", options)
        progress("ours")
        ours = run_arm(
            our_search,
            workload=workload,
            max_epochs=options.max_epochs,
            folder=str(scratch / "ours"),
        )
        progress("the plain tuner")
        plain = run_arm(
            plain_trials,
            workload=workload,
            configurations=[rung["values"] for rung in ours["rungs"][: options.plain_trials]],
            folder=str(scratch / "plain"),
        )
        _show(report, ours, plain)
        report.write()


def our_search(workload: Workload, max_epochs: int, folder: str) -> dict[str, Any]:
    """An arm: a search from a folder of images, and what it left."""
    import_all()
    from dataclasses import asdict

    from plain import rungs_of

    from tuner.search.pipeline import run_search
    from tuner.settings import SearchFolders, SearchSettings

    images, runs, cache = (Path(folder) / name for name in ("images", "runs", "cache"))
    x, y, validation = workload.arrays()
    settings = SearchSettings(
        data=str(write_image_folder(x, y, validation, images)),
        space="spaces:NarrowHeads",
        fixed={"unfreeze_blocks": "0"},
        weights=workload.weights,
        image_size=workload.image_size,
        batch_size=workload.batch_size,
        max_epochs=max_epochs,
    )
    run = run_search(settings, "disk", SearchFolders(runs, cache))
    records = run.journal.trials()
    run.journal.close()
    states = {
        record.id: folder_bytes(path)
        for record in records
        for path in (run.folder / "trials").glob("*")
        if path.name.isdigit() and int(path.name) == record.id
    }
    recipes = sum(states.get(record.id, 0) for record in records if record.recipe)
    return {
        "rungs": [asdict(rung) for rung in rungs_of(records)],
        "run": folder_bytes(run.folder),
        "recipes": recipes,
        "states": sum(states.values()) - recipes,
        "states_kept": len(states),
        "features": folder_bytes(cache / "entries" / "features"),
        "cache": folder_bytes(cache),
        "files": {
            str(path.relative_to(run.folder)): path.stat().st_size
            for path in sorted(run.folder.rglob("*"))
            if path.is_file()
        },
    }


def plain_trials(
    workload: Workload, configurations: list[dict[str, Any]], folder: str
) -> dict[str, Any]:
    """An arm: the bytes that keras_tuner.Hyperband's trials leave."""
    import_all()
    from plain import PlainTuner, Rung

    x, y, validation = workload.arrays()
    space = {
        "num_classes": workload.class_count(),
        "image_size": workload.image_size,
        "weights": workload.weights,
    }
    fit = {"x": x[:64], "y": y[:64], "validation_data": validation, "batch_size": 32}
    tuner = PlainTuner({"unfreeze_blocks": 0}, space, 10, Path(folder), fit)
    before = folder_bytes(tuner.folder)
    for number, values in enumerate(configurations):
        tuner.train(Rung(number, values, 0, 1))
    return {"trials": len(configurations), "bytes": folder_bytes(tuner.folder) - before}


def _show(report: Report, ours: dict[str, Any], plain: dict[str, Any]) -> None:
    rungs = len(ours["rungs"])
    report.table(
        "Ours, MB",
        [
            {
                "rungs": rungs,
                "run folder without recipes' states": (ours["run"] - ours["recipes"]) / MB,
                "of it states of trials": ours["states"] / MB,
                "states kept, with recipes": ours["states_kept"],
                "recipes' states": ours["recipes"] / MB,
                "features": ours["features"] / MB,
                "cache folder in all": ours["cache"] / MB,
            }
        ],
    )
    scaled = plain["bytes"] / plain["trials"] * rungs
    left = ours["run"] - ours["recipes"]
    report.table(
        "Bytes on disk after the search, features and recipes apart, MB",
        [
            {
                "keras_tuner, added up": scaled / MB,
                "ours": left / MB,
                "times less": scaled / left,
                "aim": AIM_MB,
                "least": LEAST_MB,
            }
        ],
    )
    report.keep("ours", ours)
    report.keep("plain", plain)
    report.note(
        f"Keras Tuner's figure is that of {plain['trials']} trials, scaled to {rungs} rungs."
    )


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=64, training=600, validation=200)
    parser.add_argument("--max-epochs", type=int, default=10, help="of Hyperband (10)")
    parser.add_argument("--plain-trials", type=int, default=3, help="of Keras Tuner (3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
