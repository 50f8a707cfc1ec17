"""How many times faster is a whole search than keras_tuner.Hyperband on the same space?

    python benchmarks/search_speed.py --case head stored     600 + 200 images, 224 px
    python benchmarks/search_speed.py --case default
    python benchmarks/search_speed.py --case whole           96 px

head      Head-only Hyperband, head_width 256. Both arms have done their imports; on the clock is
          everything from constructing the tuner, its backbone included, to the end of `search`,
          the preparation of features included.
stored    The same with the features already in the cache folder.
default   The command `tune search DATA --fix unfreeze_blocks=0` as a user runs it, start-up,
          decoding, recipes and wide heads included, against the plain tuner's whole script,
          `plain_script.py`, which reads the same folder.
whole     Every unfreeze depth; the baseline trains the configurations that our search drew.

Ours runs in full, each time in a fresh process with a fresh cache folder; the median of --runs is
reported. The baseline's rungs are measured by kind of network and added up over the same schedule;
--full-plain runs it whole instead: its own search for head and stored, the same configurations
for default and whole.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
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
    write_image_folder,
)

AIMS = {"head": (75, 50), "stored": (200, 120), "default": (40, 25), "whole": (1.7, 1.4)}
PINNED: dict[str, dict[str, Any]] = {
    "head": {"unfreeze_blocks": 0, "head_width": 256},
    "stored": {"unfreeze_blocks": 0, "head_width": 256},
    "default": {"unfreeze_blocks": 0},
    "whole": {},
}
QUESTION = "How many times faster is a whole search than keras_tuner.Hyperband?"


def main() -> None:
    options = _parse()
    plain: dict[str, Any] | None = None
    for case in options.case:
        given = argparse.Namespace(**vars(options))
        if given.image_size is None:
            given.image_size = 96 if case == "whole" else 224
        with scratch_folder(given) as scratch:
            workload = workload_of(given, scratch)
            report = Report(f"search_speed_{case}", f"{QUESTION} Case: {case}.", given)
            keep = plain if case in ("head", "stored") else None
            measured = measure_case(case, workload, given, scratch, keep)
            show(report, case, measured)
            if case in ("head", "stored"):
                plain = measured["plain"]
            report.write()


def measure_case(
    case: str,
    workload: Workload,
    options: argparse.Namespace,
    scratch: Path,
    plain: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Both arms of one case; `plain` is the baseline's arm if it has been measured already."""
    if case == "default":
        folder = run_arm(_write_folder, workload=workload, folder=str(scratch / "images"))
        ours = _run_commands(folder, workload, options, scratch)
        plain = _run_script(folder, workload, ours[-1]["rungs"], options, scratch)
    else:
        ours = _run_searches(case, workload, options, scratch)
        if plain is None:
            progress(f"{case}: the plain tuner")
            plain = run_arm(
                plain_search,
                workload=workload,
                pinned=PINNED[case],
                rungs=ours[-1]["rungs"],
                max_epochs=options.max_epochs,
                samples=options.samples,
                epochs=options.sample_epochs,
                full=_full_mode(case, options),
                folder=str(scratch / "plain"),
            )
    ours_seconds = median([run["seconds"] for run in ours])
    ratio = plain["seconds"] / ours_seconds
    return {"ours": ours, "ours_seconds": ours_seconds, "plain": plain, "ratio": ratio}


def our_search(
    workload: Workload, pinned: dict[str, Any], max_epochs: int, cache: str, runs: str
) -> dict[str, Any]:
    """An arm: HyperbandTuner from its construction to the end of its search."""
    import_all()
    from spaces import DrawnOnly

    from tuner.observer import SearchBegins, SearchEvent, SearchObserver
    from tuner.search.tuner import HyperbandTuner
    from tuner.storage.cache import Cache

    class Clock(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            if isinstance(event, SearchBegins):
                self.first_trial = time.perf_counter()

    space = DrawnOnly(
        num_classes=workload.class_count(),
        image_size=workload.image_size,
        weights=workload.weights,
    )
    x, y, validation = workload.arrays()
    clock = Clock()
    begun = time.perf_counter()
    with Cache(Path(cache)) as opened:
        tuner = HyperbandTuner(
            space,
            max_epochs=max_epochs,
            batch_size=workload.batch_size,
            fixed={name: str(value) for name, value in pinned.items()},
            directory=runs,
            cache=opened,
            observer=clock,
        )
        tuner.search(x, y, validation)
        seconds = time.perf_counter() - begun
        records = tuner.oracle.records()
    return {
        "seconds": seconds,
        "seconds_before_first_trial": clock.first_trial - begun,
        **_of_records(records),
    }


def plain_search(
    workload: Workload,
    pinned: dict[str, Any],
    rungs: list[dict[str, Any]],
    max_epochs: int,
    samples: int,
    epochs: int,
    full: str | None,
    folder: str,
) -> dict[str, Any]:
    """An arm: keras_tuner.Hyperband on the same images; `full` is None, "search" or "list"."""
    import_all()
    from plain import Costs, PlainTuner, Rung, as_json, describe

    x, y, validation = workload.arrays()
    begun = time.perf_counter()
    tuner = PlainTuner(
        pinned,
        {
            "num_classes": workload.class_count(),
            "image_size": workload.image_size,
            "weights": workload.weights,
        },
        max_epochs,
        Path(folder),
        {"x": x, "y": y, "validation_data": validation, "batch_size": workload.batch_size},
    )
    constructor = time.perf_counter() - begun
    schedule = [Rung(**rung) for rung in rungs]
    result: dict[str, Any] = {"constructor_seconds": constructor, "extrapolated": full is None}
    if full == "search":
        result |= {"seconds": constructor + tuner.search(), "kinds": []}
    elif full == "list":
        timings = tuner.train_all(schedule)
        result |= {"seconds": time.perf_counter() - begun, "timings": as_json(timings), "kinds": []}
    else:
        timings = tuner.measure(schedule, samples, epochs)
        costs = Costs.of(timings)
        result |= {
            "seconds": constructor + costs.total(schedule),
            "kinds": describe(costs, schedule),
            "promotion_extra_seconds": costs.promotion_extra,
            "timings": as_json(timings),
        }
    tuner.check_pins()
    return result


def show(report: Report, case: str, measured: dict[str, Any]) -> None:
    """Prints the tables of one case and keeps them."""
    ours, plain = measured["ours"], measured["plain"]
    aim, least = AIMS[case]
    if plain["kinds"]:
        report.table("The plain tuner, measured and added up", plain["kinds"])
    report.table(
        "Ours, each run in a fresh process",
        [
            {
                "run": number,
                "seconds": run["seconds"],
                "before the first trial": run.get("seconds_before_first_trial"),
                "in trials": run["seconds_in_trials"],
                "configurations": run["configurations"],
                "epochs": run["epochs"],
            }
            for number, run in enumerate(ours, 1)
        ],
    )
    report.table(
        f"Wall time of the search, case {case}",
        [
            {
                "keras_tuner.Hyperband, s": plain["seconds"],
                "of it added up": "yes" if plain["extrapolated"] else "no, all of it ran",
                "ours, s (median)": measured["ours_seconds"],
                "times faster": measured["ratio"],
                "aim": aim,
                "least": least,
            }
        ],
    )
    rungs = ours[-1].pop("rungs")
    report.keep("schedule", rungs)
    for run in ours[:-1]:
        run.pop("rungs", None)
    report.keep("ours", ours)
    report.keep("plain", plain)
    drawn = sum(rung["end"] - rung["start"] for rung in rungs)
    report.note(
        f"Ours trained {ours[-1]['epochs']} epochs in all; the baseline's schedule has "
        f"{len(rungs)} rungs and {drawn} epochs, without recipes."
    )
    if plain["extrapolated"]:
        report.note(
            "The baseline's time is added up: its constructor, and per rung and per epoch the "
            "medians that were measured on a few of them (see plain.py)."
        )


def _run_searches(
    case: str, workload: Workload, options: argparse.Namespace, scratch: Path
) -> list[dict[str, Any]]:
    """Ours, several times; for `stored` once before, to fill the cache that all then share."""
    cache = "stored" if case == "stored" else None
    numbers = range(0 if case == "stored" else 1, options.runs + 1)
    results = []
    for number in numbers:
        progress(
            f"{case}: ours, run {number} of {options.runs}" + " (fills the cache)" * (not number)
        )
        result = run_arm(
            our_search,
            workload=workload,
            pinned=PINNED[case],
            max_epochs=options.max_epochs,
            cache=str(scratch / (cache or f"cache-{number}")),
            runs=str(scratch / f"runs-{number}"),
        )
        if number:
            results.append(result)
    return results


def _run_commands(
    folder: str, workload: Workload, options: argparse.Namespace, scratch: Path
) -> list[dict[str, Any]]:
    """The command `tune search`, several times, each with a fresh cache and runs folder."""
    from tuner.runs.journal import Journal

    results = []
    for number in range(1, options.runs + 1):
        progress(f"default: ours, run {number} of {options.runs}")
        runs = scratch / f"runs-{number}"
        command = [
            *_tune(),
            "search",
            folder,
            "--fix",
            "unfreeze_blocks=0",
            "--max-epochs",
            str(options.max_epochs),
            "--image-size",
            str(workload.image_size),
            "--batch-size",
            str(workload.batch_size),
            "--weights",
            workload.weights,
            "--runs-dir",
            str(runs),
            "--cache-dir",
            str(scratch / f"cache-{number}"),
            "--quiet",
        ]
        seconds = _timed(command)
        journal = Journal.open(runs / "search" / "journal.db", read_only=True)
        results.append({"seconds": seconds, **_of_records(journal.trials())})
        journal.close()
    return results


def _run_script(
    folder: str,
    workload: Workload,
    rungs: list[dict[str, Any]],
    options: argparse.Namespace,
    scratch: Path,
) -> dict[str, Any]:
    """The plain tuner's script in a process; what it did not train is added up."""
    progress("default: the plain tuner's script")
    plan = {
        "data": folder,
        "space": {
            "num_classes": len(list((Path(folder) / "train").iterdir())),
            "image_size": workload.image_size,
            "weights": workload.weights,
        },
        "batch_size": workload.batch_size,
        "max_epochs": options.max_epochs,
        "pinned": PINNED["default"],
        "rungs": rungs,
        "samples": options.samples,
        "epochs": options.sample_epochs,
        "full": options.full_plain,
        "folder": str(scratch / "plain"),
    }
    plan_file, result_file = scratch / "plan.json", scratch / "plain.json"
    plan_file.write_text(json.dumps(plan))
    script = Path(__file__).with_name("plain_script.py")
    wall = _timed([sys.executable, str(script), str(plan_file), str(result_file)])
    result: dict[str, Any] = json.loads(result_file.read_text())
    start_up = wall - result["seconds_in_rungs"] - result["seconds_of_checks"]
    result |= {
        "start_up_seconds": start_up,
        "seconds": start_up + result["schedule_seconds"],
        "extrapolated": not options.full_plain,
    }
    return result


def _write_folder(workload: Workload, folder: str) -> str:
    x, y, validation = workload.arrays()
    return str(write_image_folder(x, y, validation, Path(folder)))


def _of_records(records: Sequence[Any]) -> dict[str, Any]:
    from plain import rungs_of

    failed = [record.message for record in records if record.status == "FAILED"]
    if failed:
        raise SystemExit(f"{len(failed)} of our trials failed: {failed[0]}")
    return {
        "rungs": [asdict(rung) for rung in rungs_of(records)],
        "configurations": len(records),
        "epochs": sum(record.epochs for record in records),
        "seconds_in_trials": sum(record.seconds for record in records),
    }


def _tune() -> list[str]:
    """The installed command, or the same from the sources."""
    command = Path(sys.executable).with_name("tune")
    if command.exists():
        return [str(command)]
    return [sys.executable, "-c", "from tuner.cli import main; main()"]


def _timed(command: list[str]) -> float:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    begun = time.perf_counter()
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    seconds = time.perf_counter() - begun
    if finished.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{finished.stdout}\n{finished.stderr}")
    return seconds


def _full_mode(case: str, options: argparse.Namespace) -> str | None:
    if not options.full_plain:
        return None
    return "list" if case == "whole" else "search"


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=224, training=600, validation=200)
    parser.set_defaults(image_size=None)
    add = parser.add_argument
    add("--case", nargs="+", choices=tuple(AIMS), default=["head"], help="which search (head)")
    add("--max-epochs", type=int, default=10, help="of Hyperband (10)")
    add("--runs", type=int, default=3, help="runs of ours; the median counts (3)")
    add("--samples", type=int, default=2, help="configurations measured for each kind (2)")
    add("--sample-epochs", type=int, default=3, help="epochs of each; the first traces (3)")
    add("--full-plain", action="store_true", help="run the whole baseline: tens of minutes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
