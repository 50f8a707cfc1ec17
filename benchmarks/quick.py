"""Has anything become slower? Shortened forms of three benchmarks, in under five minutes.

    python benchmarks/quick.py             compares with results/quick.json; exit code 1 if worse
    python benchmarks/quick.py --record    writes results/quick.json

A head-only search at 96 px against keras_tuner.Hyperband, the seconds per trial outside its epochs
against Keras Tuner's, and preparing features against a bare forward pass: ratios, larger is better,
since seconds would say more about the machine than about the program. One that is worse than the
recorded one by more than --tolerance fails. Ratios move with the processor too, so record anew on
another one; the table of the full benchmarks is not what this is for.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import feature_speed
import search_speed
import trial_overhead
from common import Report, arguments, progress, scratch_folder, workload_of

NAME = "quick"


def main() -> int:
    options = _parse()
    given = argparse.Namespace(**vars(options))
    recorded = _recorded(options.results / f"{NAME}.json")
    if recorded is None and not options.record:
        print("Nothing is recorded in benchmarks/results/quick.json: run it with --record.")
        return 1
    with scratch_folder(options) as scratch:
        report = Report(NAME, "Has anything become slower?", options)
        ratios = _measure(given, scratch)
    before = {} if options.record or recorded is None else recorded["ratios"]
    rows = [_compare(name, ratio, before.get(name), options) for name, ratio in ratios.items()]
    report.table("Times better than the baseline", rows)
    if options.record:
        report.keep("ratios", ratios)
        report.write()
        return 0
    assert recorded is not None
    if recorded["machine"]["processor"] != report.machine["processor"]:
        print(f"Recorded on another processor: {recorded['machine']['processor']}.")
    worse = [row["ratio"] for row in rows if row["verdict"] == "worse"]
    if worse:
        print(f"Worse by more than {options.tolerance} times: {', '.join(worse)}.")
    return 1 if worse else 0


def _measure(options: argparse.Namespace, scratch: Path) -> dict[str, float]:
    options.runs, options.samples, options.sample_epochs, options.max_epochs = 2, 1, 3, 4
    options.full_plain = False
    workload = workload_of(options, scratch)
    progress("head-only search")
    search = search_speed.measure_case("head", workload, options, scratch)
    options.trials, options.epochs, options.extra_epochs, options.plain_trials = 8, 2, 3, 2
    progress("trial overhead")
    trials = trial_overhead.measure(workload, options, scratch)
    theirs = [row["overhead"] for row in trials["plain"]]
    options.sizes, options.images, options.cuts, options.repeats = [64, 96], 256, ["0"], 5
    features = feature_speed.measure(options, scratch)
    return {
        "head-only search": search["ratio"],
        "trial outside its epochs": sum(theirs) / len(theirs) / trials["ours_mean"],
        **{f"features at {row['pixels']} px": 1 / row["times a forward pass"] for row in features},
    }


def _compare(
    name: str, ratio: float, before: float | None, options: argparse.Namespace
) -> dict[str, Any]:
    row: dict[str, Any] = {"ratio": name, "now": ratio}
    if before is None:
        return row | {"verdict": "recorded" if options.record else "not recorded before"}
    worse = before / ratio > options.tolerance
    return row | {"recorded": before, "verdict": "worse" if worse else "holds"}


def _recorded(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=96, training=128, validation=64)
    parser.add_argument("--record", action="store_true", help="write results/quick.json")
    parser.add_argument("--tolerance", type=float, default=1.5, help="times worse that fail (1.5)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
