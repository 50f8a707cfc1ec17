"""What does watching a head-only search cost: the live view and TensorBoard's files together?

    python benchmarks/watching.py
    python benchmarks/watching.py --max-epochs 9 --train 300

A head-only search is the hardest case, since it trains many epochs a second and each is shown. The
search runs as `tune search` runs it: the live view on a pseudo-terminal of 80 x 24 with the size of
the cache folder, its events as JSON lines, TensorBoard's files. Counted are the wall time that the
search spends in showing them and in estimating the time left, and the processor time of the thread
that draws, as shares of the wall time from the first trial to the end. Comparing whole searches
with and without would measure the machine's other work.
"""

import fcntl
import functools
import io
import os
import pty
import struct
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import (
    Report,
    Workload,
    arguments,
    import_all,
    run_arm,
    scratch_folder,
    workload_of,
)

AIM, BOARD_AIM = 0.02, 0.01
BOARD = "TensorBoard's files"
QUESTION = "What do the live view and TensorBoard's files cost a head-only search?"


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        report = Report("watching", QUESTION, options)
        workload = workload_of(options, scratch)
        measured = run_arm(
            watched_search,
            workload=workload,
            max_epochs=options.max_epochs,
            folder=str(scratch),
        )
        seconds = measured.pop("search")
        rows = [
            {"what": what, "seconds": spent, "share": spent / seconds}
            for what, spent in measured["spent"].items()
        ]
        together = sum(row["share"] for row in rows)
        board = next(row["share"] for row in rows if row["what"] == BOARD)
        rows.append({"what": "together", "seconds": together * seconds, "share": together})
        report.table("Of the search from its first trial", rows)
        report.keep("search_seconds", seconds)
        report.keep("told", measured["told"])
        report.note(
            f"{measured['told']['EpochEnds']} epochs in {seconds:.1f} s; together "
            f"{together:.2%} of it, where the aim is less than {AIM:.0%}, and TensorBoard's files "
            f"alone {board:.2%}, where it is less than {BOARD_AIM:.0%}."
        )
        report.write()
    if together >= AIM or board >= BOARD_AIM:
        raise SystemExit(1)


def watched_search(workload: Workload, max_epochs: int, folder: str) -> dict[str, Any]:
    """The arm: a whole head-only search that is watched, and the seconds that each part took."""
    import_all()
    terminal = _terminal()
    from search_spaces.resnet50 import ResNet50Space
    from tuner.hyperband.time_left import TimeEstimator
    from tuner.observer import Observers, SearchBegins, SearchEvent, SearchObserver
    from tuner.search.tuner import HyperbandTuner
    from tuner.storage.cache import Cache, folder_size
    from tuner.terminal.json_lines import JsonLines
    from tuner.terminal.live_screen import Frames
    from tuner.terminal.search_progress import SearchProgress

    spent: dict[str, float] = {}
    told: Counter[str] = Counter()
    begun: list[float] = []

    class Clock(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            told[type(event).__name__] += 1
            if isinstance(event, SearchBegins):
                begun.append(time.perf_counter())

    sys.stderr = terminal
    clocked(Frames, "refresh", "drawing, in its thread", spent, time.thread_time)
    for method in ("begin_rung", "end_epoch", "seconds"):
        clocked(TimeEstimator, method, "estimating the time left", spent, time.perf_counter)
    lines = JsonLines(io.StringIO(), "val_accuracy")
    cached = Path(folder, "cache")
    in_use = functools.partial(folder_size, cached)  # as `tune search` shows it
    with SearchProgress("val_accuracy", False, in_use) as progress, Cache(cached) as cache:
        tuner = HyperbandTuner(
            ResNet50Space(
                num_classes=workload.class_count(),
                image_size=workload.image_size,
                weights=workload.weights,
            ),
            max_epochs=max_epochs,
            batch_size=workload.batch_size,
            fixed={"unfreeze_blocks": "0"},
            directory=Path(folder, "runs"),
            cache=cache,
            observer=Observers(Clock(), progress, lines),
        )
        parts = {
            "live view": progress,
            "JSON lines": lines,
            BOARD: tuner.summaries,
        }
        for what, part in parts.items():
            clocked(part, "on_event", what, spent, time.perf_counter)
        x, y, validation = workload.arrays()
        tuner.search(x, y, validation)
        seconds = time.perf_counter() - begun[0]
    return {"search": seconds, "spent": spent, "told": dict(told)}


def clocked(
    owner: Any,
    name: str,
    what: str,
    spent: dict[str, float],
    clock: Callable[[], float],
) -> None:
    """Lets a method add what each of its calls takes to `spent[what]`."""
    method = getattr(owner, name)
    spent.setdefault(what, 0.0)

    @functools.wraps(method)
    def timed(*arguments: Any, **options: Any) -> Any:
        before = clock()
        try:
            return method(*arguments, **options)
        finally:
            spent[what] += clock() - before

    setattr(owner, name, timed)


def _terminal() -> io.TextIOWrapper:
    """A pseudo-terminal of 80 x 24 that is read as a terminal would."""
    os.environ["TERM"] = "xterm-256color"
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def drain() -> None:
        while os.read(reading, 65536):
            pass

    threading.Thread(target=drain, daemon=True).start()
    return open(writing, "w", encoding="utf-8", buffering=1)  # noqa: PTH123 - a number


def _parse() -> Any:
    parser = arguments(__doc__, image_size=32, training=600, validation=200)
    parser.add_argument("--max-epochs", type=int, default=27, help="of the last rung (27)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
