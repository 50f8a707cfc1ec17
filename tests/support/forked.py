"""Functions in forked processes that are killed, or whose system calls fail; what they leave.

TensorFlow takes seconds to import, so one process imports everything and forks a child for each
attempt; that is safe as long as it has not computed anything itself.
"""

import contextlib
import ctypes
import dataclasses
import itertools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.hparams_page import scalars
from tuner.runs.checkpoint import read_checkpoint
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import trial_name
from tuner.tensorboard.hparams import SECONDS, WINNER
from tuner.tensorboard.writer import FOLDER

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "tuner.cli",
        "tuner.evaluate.evaluation",
        "tuner.terminal.search_progress",
        "tuner.search.pipeline",
        "tuner.terminal.trials",
        "typer._adapters",
    ]
)
# Calls that change what is on disk; where a machine has no call of that name, strace leaves it out.
CHANGING = (
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "openat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
)
_PATIENCE_SECONDS = 120.0


class Child:
    """A function in a process of its own.

    Args:
        function: of a module; is called with `tell`, which marks an event, and the arguments.
        *arguments: of the function.
        log: file of all that it prints.
        hold_at: number of the event, counted from 1, at which it waits for `go`; 0 to wait before
            it begins, None not to wait.

    Attributes:
        pid: of the process.
        log: as it was given.
    """

    def __init__(
        self,
        function: Callable[..., None],
        *arguments: Any,
        log: Path,
        hold_at: int | None = None,
    ) -> None:
        self.log = log
        self._hold_at = hold_at
        self._ours, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(
            target=_run, args=(function, arguments, log, theirs, hold_at)
        )
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def is_held(self) -> bool:
        """Waits until it waits itself; False if it ended before."""
        return all(self.happens() for _ in range(1 + (self._hold_at or 0)))

    def go(self) -> None:
        """Lets it go on."""
        self._ours.send_bytes(b"go")

    def happens(self) -> bool:
        """Waits for its next event; False if it ended before."""
        try:
            return bool(self._ours.recv_bytes())
        except (EOFError, ConnectionResetError):
            return False

    def kill_after(self, events: int, seconds: float) -> bool:
        """Kills it so long after so many events; whether it was still running."""
        if all(self.happens() for _ in range(1 + events)):
            time.sleep(seconds)
        self._process.kill()
        return self.exit_code() == -9

    def exit_code(self) -> int:
        """Waits until it has ended; minus the signal's number if it was killed."""
        self._process.join(_PATIENCE_SECONDS)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            raise AssertionError(f"it did not end: {self.printed()}")
        self._ours.close()
        return code

    def printed(self) -> str:
        """What it printed."""
        return self.log.read_text("utf-8", errors="replace")


def _run(
    function: Callable[..., None],
    arguments: Sequence[Any],
    log: Path,
    connection: Connection,
    hold_at: int | None,
) -> None:
    pr_set_ptracer, anybody = 0x59616D61, -1
    ctypes.CDLL(None).prctl(pr_set_ptracer, ctypes.c_long(anybody), 0, 0, 0)
    with log.open("ab") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    told = itertools.count()

    def tell() -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send_bytes(b"!")
            if next(told) == hold_at:
                connection.recv_bytes()

    tell()  # that it has begun
    function(tell, *arguments)


def command(
    tell: Callable[[], None], arguments: Sequence[str], save_every_epoch: bool = False
) -> None:
    """A command of the program; an event is whatever a search tells its observer."""
    from tuner import cli
    from tuner.observer import Counting, Note, SearchEvent, TimeLeft
    from tuner.search import rung
    from tuner.terminal import search_progress

    on_event = search_progress.SearchProgress.on_event

    def tells(self: Any, event: SearchEvent) -> None:
        on_event(self, event)
        if not isinstance(event, Counting | Note | TimeLeft):
            tell()

    setattr(search_progress.SearchProgress, "on_event", tells)  # noqa: B010
    if save_every_epoch:
        rung._SAVE_SECONDS = rung._SAVE_RATIO = 0
    sys.argv = ["tune", *arguments]
    cli.main()


def why_no_strace() -> str | None:
    """Why system calls cannot be watched here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(
        ["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else f"strace cannot trace here: {done.stderr.strip()}"


@contextlib.contextmanager
def traced(
    child: Child, paths: Sequence[Path], *inject: str, calls: Sequence[str] = CHANGING
) -> Iterator[Path]:
    """Watches a held child's system calls on some paths, and lets it go on.

    Args:
        child: which waits.
        paths: absolute; those of the calls that are watched, by name or by descriptor.
        *inject: what is done to calls, as `strace -e inject=` takes it.
        calls: names of the calls that are watched.

    Yields:
        The file that lists the calls, a line each, once the child has ended.
    """
    output = child.log.with_suffix(".calls")
    arguments = ["strace", "-f", "-qq", "-o", str(output), "-p", str(child.pid)]
    arguments += ["-e", "signal=none", "-e", "trace=" + ",".join(f"?{call}" for call in calls)]
    for path in paths:
        arguments += ["-P", str(path)]
    for injection in inject:
        arguments += ["-e", f"inject={injection}"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as strace:
        try:
            while not _is_traced(child.pid):
                if strace.poll() is not None:
                    raise AssertionError(strace.stderr.read() if strace.stderr else "")
                time.sleep(0.005)
            child.go()
            yield output
        finally:
            with contextlib.suppress(AssertionError):
                child.exit_code()
            strace.wait()


def _is_traced(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return not any("TracerPid:\t0\n" in (thread / "status").read_text() for thread in threads)


def paths_of_run(folder: Path, pid: int, most_trials: int = 30) -> list[Path]:
    """Every path that a process with this id writes when it searches in a run's folder."""
    new = folder.with_name(f".{folder.name}.{pid}.new")
    old = new.with_suffix(".old")
    names = [
        "lock",
        "settings.json",
        f".settings.json.{pid}",
        "dataset.json",
        f".dataset.json.{pid}",
    ]
    for journal in ("journal.db", f".journal.db.{pid}"):
        names += [journal, *(f"{journal}-{part}" for part in ("wal", "shm", "journal"))]
    trials = ["trials"]
    for trial in map(trial_name, range(most_trials)):
        here = f"trials/{trial}"
        trials += [here, f"{here}/state.npz", f"{here}/.state.npz.{pid}"]
    boards = [f"{FOLDER}/{trial_name(trial)}" for trial in range(3)]
    for board in (FOLDER, *boards):
        trials += [board, f"{board}/events.out.tfevents.000000", f"{board}/.000000.{pid}"]
    of_folders = [base / name for base in (new, folder, old) for name in names]
    return [folder.parent, new, folder, old, *of_folders, *(folder / name for name in trials)]


def names_of_calls(output: Path) -> list[str]:
    """Names of the system calls that `traced` listed, in order."""
    lines = output.read_text("utf-8", errors="replace").splitlines()
    called = (line.split(maxsplit=1)[-1] for line in lines if "(" in line)
    return [call.partition("(")[0] for call in called if not call.startswith("<...")]


def memory(folder: Path) -> dict[str, Any]:
    """All that a run's folder remembers of its search but seconds, to be compared bit for bit."""
    journal = Journal.open(folder / "journal.db")
    with contextlib.closing(journal):
        trials = [dataclasses.asdict(trial) for trial in journal.trials()]
        for trial in trials:
            for rung in trial["rungs"]:
                del rung["seconds"]
        epochs = {trial["id"]: journal.epochs(trial["id"]) for trial in trials}
        outcomes = {
            f"{trial['id']}/{number}": _bytes(journal.outcomes(trial["id"], number))
            for trial in trials
            for number in range(len(trial["rungs"]))
        }
        notes = dataclasses.asdict(journal.notes())
        notes |= {"spent_seconds": None, "prepared_seconds": None}
    states = {
        path.parent.name: _checkpoint(path) for path in sorted(folder.glob("trials/*/state.npz"))
    }
    files = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name not in ("journal.db-wal", "journal.db-shm")
        # Those count how often a run was gone on with, and what is in them is compared; a search
        # that ends between its last note and the pictures leaves these to `tune board`.
        and not path.name.startswith(("events.out.tfevents.", "mistakes-"))
    )
    return {
        "trials": trials,
        "epochs": epochs,
        "outcomes": outcomes,
        "notes": notes,
        "states": states,
        "files": files,
        "curves": {number: curves(folder, number, len(of)) for number, of in epochs.items()},
    }


def curves(folder: Path, trial: int, end: int) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of what TensorBoard shows of a trial, but seconds and who led when.

    Up to the epoch `end`: of a rung that failed the journal has no epochs.
    """
    found = scalars(folder / FOLDER / trial_name(trial))
    return {
        tag: [point for point in points if point[0] <= end]
        for tag, points in found.items()
        if tag not in (SECONDS, WINNER) and points[0][0] <= end
    }


def differences(found: Any, expected: Any, where: str = "") -> list[str]:
    """Where two memories differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        names = [*expected, *(name for name in found if name not in expected)]
        pairs = [(f"{where}/{name}", found.get(name), expected.get(name)) for name in names]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        both = enumerate(zip(found, expected, strict=True))
        pairs = [(f"{where}/{number}", *pair) for number, pair in both]
    else:
        shown = f"{found!r:.200} for {expected!r:.200}"
        return [] if found == expected else [f"{where}: {shown}"]
    return [line for at, one, other in pairs for line in differences(one, other, at)]


def _checkpoint(path: Path) -> dict[str, Any]:
    checkpoint = read_checkpoint(path)
    found = dataclasses.asdict(checkpoint) | {"outcomes": _bytes(checkpoint.outcomes)}
    del found["seconds"]
    arrays = found.pop("state")
    found["epochs"] = json.dumps(found["epochs"])
    return found | {name: _bits(array) for name, array in arrays.items()}


def _bytes(outcomes: Outcomes | None) -> bytes:
    assert outcomes is not None
    return outcomes.to_bytes()


def _bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()
