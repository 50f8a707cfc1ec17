"""Can a search be killed anywhere, any number of times, and what does that cost?

    python benchmarks/crash.py

ours        `tune search`, killed by SIGKILL at random moments and gone on with by the same command
            each time, until all kills are used up. Half of them land inside a system call that
            writes to the run's folder (`strace` delivers them there, in SQLite's own calls too),
            half up to 40 ms after something that a search tells, or while it starts. A search that
            completes is compared with one that was never killed, all but seconds, and the next one
            begins; every other one saves after each epoch and not every ten seconds. Lost: it
            cannot be gone on with, or a trial is missing. Blended: a result differs.
plain       keras_tuner.Hyperband on the same space and images, constructed again after each kill
            as its documentation says. Where that raises, its folder is removed.
cost        A head-only search from stored features, alone: what the journal and the checkpoints
            take of it, and how often anything is synced.

An epoch counts as trained again when the same trial's epoch of the same number came to its end more
than once. Needs strace, and the right to trace.
"""

import argparse
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, Workload, arguments, progress, run_arm, scratch_folder, workload_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from forked import (
    CHANGING,
    Child,
    command,
    differences,
    memory,
    names_of_calls,
    paths_of_run,
    traced,
    why_no_strace,
)

QUESTION = "Can a search be killed anywhere, any number of times, and what does that cost?"
PINNED = {"unfreeze_blocks": 0, "head_width": 128}
MAX_EPOCHS = 4
_SYNCS = ("fsync", "fdatasync")
_CANNOT_OPEN = 3  # exit code of the plain tuner's child
_FINISHED = "finished"  # written in place of an epoch


def main() -> None:
    options = _parse()
    missing = why_no_strace()
    if missing is not None:
        raise SystemExit(f"{missing}.")
    with scratch_folder(options) as scratch:
        workload = workload_of(options, scratch)
        folder = run_arm(_write_images, workload=workload, folder=str(scratch / "images"))
        report = Report("crash", QUESTION, options)
        if options.kills:
            _show_ours(report, Ours(Path(folder), workload, scratch / "ours"), options)
        if options.opponent_kills:
            _show_plain(report, Plain(workload, scratch / "plain"), options)
        if options.cost_epochs:
            _show_cost(report, workload, options, scratch / "cost")
        report.write()


class Arm:
    """A search that is killed and gone on with.

    Attributes:
        events: things that a search told which was never killed.
        calls: its system calls on what is watched, by name.
        struck: names of the calls that a kill landed in.
    """

    def __init__(self, folder: Path, watched: tuple[str, ...]) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.number = 0
        self.events = 0
        self.calls: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self._watched = watched
        self._random = random.Random(0)

    def begin(self, hold_at: int | None = None) -> Child:
        """Begins the search, or goes on with it."""
        raise NotImplementedError

    def paths(self, pid: int) -> list[Path]:
        """What is watched."""
        raise NotImplementedError

    def look(self) -> None:
        """Runs the search once without killing it, to know what it does."""
        child = self.begin(hold_at=0)
        assert child.is_held()
        with traced(child, self.paths(child.pid), calls=self._watched) as output:
            while child.happens():
                self.events += 1
            if child.exit_code():
                raise SystemExit(f"the search that nobody kills failed: {child.printed()}")
        self.calls = Counter(names_of_calls(output))

    def strike(self, inside: bool) -> tuple[Child, bool]:
        """Begins it and kills it, in a call or not; whether the kill came before its end."""
        return self._in_a_call() if inside else self._between_calls()

    def _between_calls(self) -> tuple[Child, bool]:
        events = self._random.randrange(1 + self.events // 4)
        seconds = self._random.uniform(0, 0.04 if events else 2.0)
        child = self.begin()
        return child, child.kill_after(events, seconds)

    def _in_a_call(self) -> tuple[Child, bool]:
        child = self.begin(hold_at=self._random.randrange(self.events // 4))
        if not child.is_held():
            return child, False
        call = self._random.choice(sorted(self.calls))
        number = self._random.randint(1, 1 + self.calls[call] // 8)
        inject = f"{call}:signal=SIGKILL:when={number}"
        with traced(child, self.paths(child.pid), inject, calls=self._watched):
            killed = child.exit_code() == -9
        self.struck[call] += killed
        return child, killed

    def log(self) -> Path:
        """What the present search prints."""
        return self.folder / f"{self.number}.log"

    def ended(self) -> Path:
        """A line for each trial and epoch of the present search that came to its end."""
        return self.folder / f"{self.number}.epochs"

    def epochs_again(self) -> int:
        """Epochs of the present search that came to their end more than once."""
        return sum(count - 1 for epoch, count in self._counted() if not epoch.endswith(_FINISHED))

    def finished_again(self) -> int:
        """How often a trial was trained that had been trained to its end."""
        return sum(count - 1 for epoch, count in self._counted() if epoch.endswith(_FINISHED))

    def _counted(self) -> list[tuple[str, int]]:
        lines = self.ended().read_text().splitlines() if self.ended().exists() else []
        return list(Counter(lines).items())


class Ours(Arm):
    """Runs of `tune search` on a folder of images, with features that are stored already."""

    def __init__(self, images: Path, workload: Workload, folder: Path) -> None:
        super().__init__(folder, CHANGING)
        self._images = images
        self._workload = workload
        self.runs = folder / "runs"
        child = self.begin()
        while child.happens():
            pass
        if child.exit_code():
            raise SystemExit(f"the search that nobody kills failed: {child.printed()}")
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
    from tuner.progress import SearchProgress

    epoch_ends = SearchProgress.epoch_ends

    def noted(self: Any, trial: Any, epoch: int, metrics: Any) -> None:
        _append(ended, f"{trial.id} {epoch}")
        epoch_ends(self, trial, epoch, metrics)

    SearchProgress.epoch_ends = noted  # type: ignore[method-assign]
    command(tell, asked, save_every_epoch=every)


def _show_ours(report: Report, ours: Ours, options: argparse.Namespace) -> None:
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
        complaints += [child.printed()[-2000:]] if code else wrong[:5]
        fresh = True
    report.table(
        "Ours, killed and gone on with",
        [
            {
                "kills": kills,
                "inside a call": inside,
                "searches completed": complete,
                "lost": lost,
                "blended": blended,
                "bit-identical": complete - blended,
                "epochs of a search": len(ours.expected["epochs"]) and _epochs(ours.expected),
                "trained again in all": again,
                "left in the runs folder": sum(1 for _ in ours.runs.glob(".*")),
                "minutes": (time.monotonic() - begun) / 60,
            }
        ],
    )
    report.table("Calls that a kill landed in", _counted(ours.struck))
    report.keep("attempts", attempts)
    report.keep("complaints", complaints)
    report.note("Aim: none lost, none blended.")


def _epochs(found: dict[str, Any]) -> int:
    return sum(map(len, found["epochs"].values()))


class Plain(Arm):
    """Searches of a stock keras_tuner.Hyperband."""

    def __init__(self, workload: Workload, folder: Path) -> None:
        super().__init__(folder, CHANGING)
        self._workload = workload
        self.images = folder / "images.npz"
        run_arm(_write_arrays, workload=workload, path=str(self.images))
        self.look()

    def project(self) -> Path:
        return self.folder / f"search-{self.number}"

    def begin(self, hold_at: int | None = None) -> Child:
        return Child(
            plain_search, self._workload, self.images, self.project(), self.ended(),
            log=self.log(), hold_at=hold_at,
        )  # fmt: skip

    def paths(self, pid: int) -> list[Path]:
        project = self.project()
        trials = [project / f"trial_{number:04}" for number in range(30)]
        names = ("trial.json", "build_config.json", "checkpoint.weights.h5")
        of_trials = [trial / name for trial in trials for name in names]
        return [project, project / "oracle.json", project / "tuner0.json", *trials, *of_trials]

    def found(self) -> dict[str, Any]:
        """What the last process found, and what the search ended with if it did."""
        path = self.project().with_suffix(".json")
        return json.loads(path.read_text()) if path.exists() else {}


def plain_search(
    tell: Callable[[], None], workload: Workload, images: Path, project: Path, ended: Path
) -> None:
    """In a child: constructs the plain tuner, which reloads what is there, and searches."""
    import keras
    import keras_tuner
    from spaces import PlainSpace

    class Events(keras.callbacks.Callback):
        trial = ""

        def __deepcopy__(self, memo: dict[int, Any]) -> "Events":
            return self

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            _append(ended, f"{self.trial} {epoch}")
            tell()

    events = Events()

    class Told(keras_tuner.Hyperband):
        def on_trial_begin(self, trial: Any) -> None:
            events.trial = trial.trial_id
            super().on_trial_begin(trial)
            tell()

        def run_trial(self, trial: Any, *given: Any, **options: Any) -> Any:
            history = super().run_trial(trial, *given, **options)
            _append(ended, f"{trial.trial_id} {_FINISHED}")
            return history

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            tell()

    result = project.with_suffix(".json")
    result.unlink(missing_ok=True)
    try:
        tuner = Told(
            PlainSpace(
                PINNED,
                num_classes=workload.class_count(),
                image_size=workload.image_size,
                weights=workload.weights,
            ),
            objective=keras_tuner.Objective("val_accuracy", "max"),
            max_epochs=MAX_EPOCHS,
            factor=3,
            seed=1,
            directory=str(project.parent),
            project_name=project.name,
        )
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(_CANNOT_OPEN) from error
    found = {"trials found": len(tuner.oracle.trials)}
    result.write_text(json.dumps(found))
    tell()
    with np.load(images) as arrays:
        x, y, x_val, y_val = (arrays[name] for name in ("x", "y", "x_val", "y_val"))
    tuner.search(
        x, y, validation_data=(x_val, y_val), batch_size=workload.batch_size, verbose=0,
        callbacks=[events],
    )  # fmt: skip
    statuses = Counter(trial.status for trial in tuner.oracle.trials.values())
    result.write_text(json.dumps(found | {"statuses": statuses}))


def _show_plain(report: Report, plain: Plain, options: argparse.Namespace) -> None:
    begun = time.monotonic()
    kills = inside = unreadable = forgotten = complete = failed = running = again = twice = 0
    complaints: list[str] = []
    plain.number += 1
    while kills < options.opponent_kills or plain.ended().exists():
        knew = _trials_ended(plain.ended())
        if kills < options.opponent_kills:
            in_a_call = kills % 2 == 0
            child, killed = plain.strike(in_a_call)
        else:
            child, killed = plain.begin(), False
            while child.happens():
                pass
        found = plain.found()
        forgotten += bool(knew) and found.get("trials found") == 0
        if killed:
            kills += 1
            inside += in_a_call
            progress(f"plain: {kills} kills")
            continue
        code = child.exit_code()
        if code:
            complaints.append(child.printed()[-500:])
        unreadable += code == _CANNOT_OPEN
        failed += code not in (0, _CANNOT_OPEN)
        complete += code == 0
        again += plain.epochs_again()
        twice += plain.finished_again()
        running += found.get("statuses", {}).get("RUNNING", 0)
        shutil.rmtree(plain.project(), ignore_errors=True)
        plain.number += 1
    report.table(
        "keras_tuner.Hyperband, killed and constructed again",
        [
            {
                "kills": kills,
                "inside a call": inside,
                "cannot be opened": unreadable,
                "began again from nothing": forgotten,
                "searches that raised": failed,
                "searches completed": complete,
                "trials left RUNNING there": running,
                "finished trials run again": twice,
                "epochs trained again": again,
                "minutes": (time.monotonic() - begun) / 60,
            }
        ],
    )
    report.table("Calls of the plain tuner that a kill landed in", _counted(plain.struck))
    report.keep("plain_complaints", complaints)


def _trials_ended(ended: Path) -> set[str]:
    """Trials of which an epoch came to its end."""
    lines = ended.read_text().splitlines() if ended.exists() else []
    return {line.split()[0] for line in lines}


def _show_cost(
    report: Report, workload: Workload, options: argparse.Namespace, folder: Path
) -> None:
    progress("cost")
    folder.mkdir()
    larger = Workload(
        workload.image_size, options.cost_train, options.cost_validation, workload.classes, 32,
        workload.data, workload.weights,
    )  # fmt: skip
    for number in range(3):  # the first prepares the features, the last is traced
        run, result = folder / "runs" / f"search-{number}", folder / f"{number}.json"
        child = Child(
            timed_search, larger, options.cost_epochs, run, folder / "cache", result,
            log=folder / f"{number}.log", hold_at=0,
        )  # fmt: skip
        assert child.is_held()
        if number < 2:
            child.go()
        else:
            paths = paths_of_run(run, child.pid, most_trials=300)
            with traced(child, paths, calls=_SYNCS) as output:
                child.exit_code()
            by_call = Counter(names_of_calls(output))
        if child.exit_code():
            raise SystemExit(child.printed())
    timed = json.loads((folder / "1.json").read_text())
    seconds, rungs = timed["seconds"], timed["rungs"]
    rows = [
        {
            "what": what,
            "times": count,
            "seconds": spent,
            "ms each": spent / max(1, count) * 1e3,
            "share of the search, %": spent / seconds * 100,
        }
        for what, (count, spent) in timed["parts"].items()
    ]
    rows.append(
        {
            "what": "all of it",
            "times": sum(row["times"] for row in rows),
            "seconds": sum(row["seconds"] for row in rows),
            "share of the search, %": sum(row["share of the search, %"] for row in rows),
        }
    )
    report.table("cost", rows)
    report.table(
        "Syncs of that search",
        [
            {
                "trials": timed["trials"],
                "rungs": rungs,
                "epochs": timed["epochs"],
                "seconds": seconds,
                "fsync": by_call["fsync"],
                "fdatasync (SQLite)": by_call["fdatasync"],
                "a rung": sum(by_call.values()) / rungs,
            }
        ],
    )


def timed_search(
    tell: Callable[[], None],
    workload: Workload,
    max_epochs: int,
    run: Path,
    cache: Path,
    result: Path,
) -> None:
    """In a child: a search whose journal and checkpoints are timed from its first trial on."""
    from spaces import NarrowHeads

    from tuner import rung
    from tuner.cache import Cache
    from tuner.hyperband import HyperbandTuner, SearchObserver
    from tuner.journal import Journal

    parts = {"journal, changes": [0, 0.0], "journal, reading": [0, 0.0], "checkpoints": [0, 0.0]}

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        parts[what][0] += 1
        parts[what][1] += time.perf_counter() - begun

    def wrapped(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*given: Any, **options: Any) -> Any:
            with timed(what):
                return function(*given, **options)

        return timing

    transaction, read = Journal._transaction, Journal._read

    @contextmanager
    def timed_transaction(self: Journal, durable: bool = True) -> Iterator[Any]:
        with timed("journal, changes"), transaction(self, durable) as execute:
            yield execute

    class Clock(SearchObserver):
        begun = 0.0

        def search_begins(self, *news: Any, **more: Any) -> None:
            for part in parts.values():
                part[:] = [0, 0.0]
            self.begun = time.perf_counter()

    Journal._transaction = timed_transaction  # type: ignore[method-assign]
    Journal._read = wrapped("journal, reading", read)  # type: ignore[method-assign]
    rung.write_checkpoint = wrapped("checkpoints", rung.write_checkpoint)
    x, y, validation = workload.arrays()
    space = NarrowHeads(
        num_classes=workload.class_count(),
        image_size=workload.image_size,
        weights=workload.weights,
    )
    clock = Clock()
    with Cache(cache) as opened:
        tuner = HyperbandTuner(
            space,
            max_epochs=max_epochs,
            batch_size=workload.batch_size,
            fixed={"unfreeze_blocks": "0"},
            directory=run.parent,
            project_name=run.name,
            cache=opened,
            observer=clock,
        )
        tuner.search(x, y, validation)
        seconds = time.perf_counter() - clock.begun
    records = tuner.oracle.records()
    document = {
        "seconds": seconds,
        "parts": parts,
        "trials": len(records),
        "rungs": sum(len(record.rungs) for record in records),
        "epochs": sum(record.epochs for record in records),
    }
    result.write_text(json.dumps(document))


def _counted(calls: Counter[str]) -> list[dict[str, Any]]:
    return [{"call": call, "kills": kills} for call, kills in sorted(calls.items()) if kills]


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def _write_images(workload: Workload, folder: str) -> str:
    from common import write_image_folder

    return str(write_image_folder(*workload.arrays(), Path(folder)))


def _write_arrays(workload: Workload, path: str) -> None:
    x, y, (x_val, y_val) = workload.arrays()
    np.savez(path, x=x, y=y, x_val=x_val, y_val=y_val)


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=32, training=40, validation=20)
    add = parser.add_argument
    add("--kills", type=int, default=200, help="of ours; 0 leaves this part out (200)")
    add("--opponent-kills", type=int, default=40, help="of the plain tuner, or 0 (40)")
    add("--cost-epochs", type=int, default=30, help="max_epochs of the cost's search, or 0 (30)")
    add("--cost-train", type=int, default=600, help="its training images (600)")
    add("--cost-validation", type=int, default=200, help="its validation images (200)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
