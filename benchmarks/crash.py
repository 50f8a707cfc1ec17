"""Can a search be killed anywhere, any number of times, and what does that cost?

    python benchmarks/crash.py

ours        `tune search`, killed by SIGKILL at random moments and resumed by the same command each
            time, until all kills are used up. Half of them land inside a system call that
            writes to the run's folder (`strace` delivers them there, in SQLite's own calls too),
            half up to 40 ms after an event of the search, or while it starts. A search that
            completes is compared with one that was never killed, all but seconds, and the next one
            begins; every other one saves after each epoch instead of every ten seconds. Lost: it
            cannot be resumed, or a trial is missing. Blended: a result differs.
plain       keras_tuner.Hyperband on the same space and images, constructed again after each kill
            as its documentation says. Where that raises, its folder is removed.
cost        A head-only search from stored features, alone: what the journal and the checkpoints
            take of it, and how often anything is synced (results/crash_cost.json).

An epoch counts as trained again when the same trial's epoch of the same number came to its end more
than once. Needs strace, and the right to trace.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import (
    Report,
    Workload,
    arguments,
    progress,
    run_arm,
    scratch_folder,
    workload_of,
    write_image_folder,
)
from killing import MAX_EPOCHS, PINNED, Arm, append, counted
from killing_cost import show_cost
from killing_plain import Plain, show_plain

from tests.support.forked import Child, command, differences, memory, paths_of_run, why_no_strace

QUESTION = "Can a search be killed anywhere, any number of times, and what does that cost?"


def main() -> None:
    options = _parse()
    missing = why_no_strace()
    if missing is not None:
        raise SystemExit(f"{missing}.")
    with scratch_folder(options) as scratch:
        workload = workload_of(options, scratch)
        folder = run_arm(_write_images, workload=workload, folder=str(scratch / "images"))
        if options.kills or options.plain_kills:
            report = Report("crash", QUESTION, options)
            if options.kills:
                _show(report, Ours(Path(folder), workload, scratch / "ours"), options)
            if options.plain_kills:
                show_plain(report, Plain(workload, scratch / "plain"), options)
            report.write()
        if options.cost_epochs:
            report = Report("crash_cost", "What do journal and checkpoints cost?", options)
            show_cost(report, workload, options, scratch / "cost")
            report.write()


class Ours(Arm):
    """Runs of `tune search` on a folder of images, with features that are stored already."""

    def __init__(self, images: Path, workload: Workload, folder: Path) -> None:
        super().__init__(folder)
        self._images = images
        self._workload = workload
        self.runs = folder / "runs"
        child = self.begin()
        while child.happens():
            pass
        if child.exit_code():
            raise SystemExit(f"the search without kills failed: {child.printed()}")
        self.number += 1
        self.look()
        self.expected = memory(self.run())
        assert not differences(memory(self.runs / "search-0"), self.expected)

    def run(self) -> Path:
        return self.runs / f"search-{self.number}"

    def begin(self, hold_at: int | None = None) -> Child:
        workload = self._workload
        given = {
            "--run": self.run().name,
            "--runs-dir": self.runs,
            "--cache-dir": self.folder / "cache",
            "--weights": workload.weights,
            "--image-size": workload.image_size,
            "--batch-size": workload.batch_size,
            "--max-epochs": MAX_EPOCHS,
            "--keep": 99,
        }
        asked = ["search", str(self._images), "--resume"]
        asked += [str(part) for pair in given.items() for part in pair]
        for name, value in PINNED.items():
            asked += ["--fix", f"{name}={value}"]
        every = bool(self.number % 2)
        return Child(our_search, asked, every, self.ended(), log=self.log(), hold_at=hold_at)

    def paths(self, pid: int) -> list[Path]:
        return paths_of_run(self.run(), pid)


def our_search(tell: Callable[[], None], asked: list[str], every: bool, ended: Path) -> None:
    """In a child: the command, that writes down each epoch that ends."""
    from tuner.observer import EpochEnds, SearchEvent
    from tuner.terminal.search_progress import SearchProgress

    on_event = SearchProgress.on_event

    def noted(self: Any, event: SearchEvent) -> None:
        if isinstance(event, EpochEnds):
            append(ended, f"{event.trial.id} {event.epoch}")
        on_event(self, event)

    SearchProgress.on_event = noted  # type: ignore[method-assign]
    command(tell, asked, save_every_epoch=every)


def _show(report: Report, ours: Ours, options: argparse.Namespace) -> None:
    begun = time.monotonic()
    kills = inside = complete = lost = blended = again = attempts = 0
    complaints: list[str] = []
    fresh = True
    while kills < options.kills or not fresh:
        if fresh:
            ours.number += 1
            fresh = False
        attempts += 1
        if kills < options.kills:
            in_a_call = kills % 2 == 0
            child, killed = ours.strike(in_a_call)
            if killed:
                kills += 1
                inside += in_a_call
                if kills % 20 == 0:
                    progress(f"{kills} kills, {complete} searches complete")
                continue
        else:
            child = ours.begin()
        code = child.exit_code()
        found = memory(ours.run()) if code == 0 else {"trials": []}
        wrong = differences(found, ours.expected)
        missing = len(found["trials"]) < len(ours.expected["trials"])
        lost += missing
        blended += bool(wrong) and not missing
        complete += not missing
        again += ours.epochs_again()
        complaints += [child.printed().strip().splitlines()[-1]] if code else wrong[:5]
        fresh = True
    report.table(
        "Ours, killed and resumed",
        [
            {
                "kills": kills,
                "inside a call": inside,
                "searches completed": complete,
                "lost": lost,
                "blended": blended,
                "bit-identical": complete - blended,
                "epochs of a search": sum(map(len, ours.expected["epochs"].values())),
                "trained again in all": again,
                "left in the runs folder": sum(1 for _ in ours.runs.glob(".*")),
                "minutes": (time.monotonic() - begun) / 60,
            }
        ],
    )
    report.table("Calls that a kill landed in", counted(ours.struck))
    report.keep("attempts", attempts)
    report.keep("complaints", complaints)
    report.note("Aim: none lost, none blended.")


def _write_images(workload: Workload, folder: str) -> str:
    return str(write_image_folder(*workload.arrays(), Path(folder)))


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=32, training=40, validation=20)
    add = parser.add_argument
    add("--kills", type=int, default=200, help="of ours; 0 leaves this part out (200)")
    add("--plain-kills", type=int, default=40, help="of the plain tuner, or 0 (40)")
    add("--cost-epochs", type=int, default=30, help="max_epochs of the cost's search, or 0 (30)")
    add("--cost-train", type=int, default=1140, help="its training images (1140)")
    add("--cost-validation", type=int, default=248, help="its validation images (248)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
