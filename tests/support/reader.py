"""Decodes the files named on standard input; prints a JSON line for each.

A program of its own, so that a crash, a hang or its memory is seen from outside.
"""

import contextlib
import faulthandler
import json
import resource
import sys
import time
from pathlib import Path

from tuner.decoding.decode import decode
from tuner.decoding.formats import DecodeError

SECONDS_ALLOWED = 10


def peak_bytes() -> int:
    """The most memory that the process had, on Linux since `forget_peak`.

    On Linux not by getrusage, which begins with what the parent had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """So that each file's own growth is seen; what the allocator keeps from others is no part."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def outcome(path: Path) -> str:
    """The shape of the pixels, or why there are none."""
    try:
        pixels = decode(path.read_bytes())
    except DecodeError as error:
        return f"refused: {error.reason}"
    assert pixels.ndim == 3
    return f"read: {pixels.shape[1]} x {pixels.shape[0]}"


def main() -> None:
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        faulthandler.dump_traceback_later(SECONDS_ALLOWED, exit=True)
        forget_peak()
        before, start = peak_bytes(), time.monotonic()
        report = {"name": path.name, "outcome": outcome(path)}
        report["seconds"] = time.monotonic() - start
        report["grown_bytes"] = peak_bytes() - before
        print(json.dumps(report), flush=True)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
