"""How long does a whole `tune diagnose` take, from start to result?

    python benchmarks/diagnosis_time.py --data FOLDER --weights FILE

`tune diagnose` is run as a user runs it, in a process of its own, and its cache is empty: starting
Python and TensorFlow, reading and decoding the images, and their features are all counted. A second
run with the cache of the first shows how much of it those are. Phases come from the command's
progress lines, one in ten seconds, so they are known to about that.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Report, image_arguments, progress, scratch_folder

AIM_SECONDS = 300
QUESTION = "How long does a whole diagnosis take?"
_TOLD = re.compile(r"(?P<phase>[^:]+): \d+ of \d+")


def main() -> None:
    options = _parse()
    report = Report("diagnosis_time", QUESTION, options)
    with scratch_folder(options) as scratch:
        runs = {
            cache: _diagnose(options, scratch / "cache") for cache in ("empty", "as it was left")
        }
    report.table(
        "tune diagnose",
        [{"cache": cache, "seconds": run["seconds"]} for cache, run in runs.items()],
    )
    report.table("Phases with an empty cache", _phases(runs["empty"]["told"]))
    report.keep("told", {cache: run["told"] for cache, run in runs.items()})
    seconds = runs["empty"]["seconds"]
    report.note(f"{seconds:.0f} s, where the aim is less than {AIM_SECONDS} s on 2 cores.")
    report.write()
    if seconds >= AIM_SECONDS:
        raise SystemExit(1)


def _diagnose(options: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """Run the command; its seconds, and its progress lines with the second of each."""
    command = [
        *_tune(), "diagnose", str(options.data), "--weights", str(options.weights),
        "--image-size", str(options.image_size), "--cache-dir", str(cache), "--json",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    begun = time.perf_counter()
    told = []
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            told.append({"second": round(time.perf_counter() - begun, 1), "line": line.strip()})
            progress(line.strip())
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed, see above.")
    return {"seconds": seconds, "told": told}


def _phases(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """When each phase was first and last shown."""
    seconds: dict[str, list[float]] = {}
    for each in told:
        if found := _TOLD.match(each["line"]):
            seconds.setdefault(found["phase"], []).append(each["second"])
    return [
        {"phase": phase, "first told, s": times[0], "last told, s": times[-1]}
        for phase, times in seconds.items()
    ]


def _tune() -> list[str]:
    """The command, from the sources that this script stands beside."""
    return [sys.executable, "-c", "from tuner.cli import main; main()"]


def _parse() -> argparse.Namespace:
    return image_arguments(__doc__).parse_args()


if __name__ == "__main__":
    main()
