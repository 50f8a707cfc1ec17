"""Decode the files named on standard input; print a JSON line for each.

A program of its own, so that a crash, a hang or its memory is seen from outside. The decoder of a
file named kill-me is killed on the way.
"""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from tuner.decoding.decode import decode
from tuner.decoding.formats import DecodeError

SECONDS_ALLOWED = 30  # a decoder may take 8 of processor time, and a busy machine gives them slowly


def processes() -> list[str]:
    """The folders of this process and its decoders in /proc; none but on Linux."""
    tasks = Path("/proc/self/task").glob("*/children")
    children = [child for task in tasks for child in task.read_text().split()]
    return [f"/proc/{name}" for name in ("self", *children)]


def peaks() -> dict[str, int]:
    """The most bytes that each process had since `forget_peaks`.

    Not by getrusage, which begins with what the parent had.
    """
    found = {}
    for process in processes():
        with contextlib.suppress(OSError, IndexError):
            status = Path(process, "status").read_text()
            found[process] = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return found


def forget_peaks() -> None:
    """So that each file's own growth is seen; what the allocator keeps from others is no part."""
    for process in processes():
        with contextlib.suppress(OSError):
            Path(process, "clear_refs").write_text("5")


def grown(before: dict[str, int]) -> int:
    """By how many bytes the process that grew most did; a decoder that ended has none."""
    return max(peak - before.get(name, 0) for name, peak in peaks().items())


def outcome(path: Path) -> str:
    """The shape of the pixels, or why there are none."""
    try:
        pixels = decode(path.read_bytes())
    except DecodeError as error:
        return f"refused: {error.reason}"
    assert pixels.ndim == 3
    return f"read: {pixels.shape[1]} x {pixels.shape[0]}"


def kill_decoders() -> None:
    """As the system does when memory is short."""
    for process in processes()[1:]:
        os.kill(int(Path(process).name), signal.SIGKILL)


def main() -> None:
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        faulthandler.dump_traceback_later(SECONDS_ALLOWED, exit=True)
        forget_peaks()
        before, start = peaks(), time.monotonic()
        if path.name == "kill-me":
            threading.Timer(0.3, kill_decoders).start()
        report = {"name": path.name, "outcome": outcome(path)}
        report["seconds"] = time.monotonic() - start
        report["grown_bytes"] = grown(before)
        print(json.dumps(report), flush=True)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
