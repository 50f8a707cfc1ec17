"""A search that is killed in or between its system calls and resumed, for `crash.py`."""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.forked import Child, names_of_calls, traced

MAX_EPOCHS = 4
PINNED = {"unfreeze_blocks": 0, "head_width": 128}
FINISHED = "finished"  # written in place of an epoch


class Arm:
    """A search that is killed and resumed.

    Attributes:
        events: number of events of a search that was never killed.
        calls: its system calls on what is watched, by name.
        struck: names of the calls that a kill landed in.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.number = 0
        self.events = 0
        self.calls: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self._random = random.Random(0)

    def begin(self, hold_at: int | None = None) -> Child:
        """Begin or resume the search."""
        raise NotImplementedError

    def paths(self, pid: int) -> list[Path]:
        """What is watched."""
        raise NotImplementedError

    def look(self) -> None:
        """Runs the search once without killing it, to know what it does."""
        child = self.begin(hold_at=0)
        assert child.is_held()
        with traced(child, self.paths(child.pid)) as output:
            while child.happens():
                self.events += 1
            if child.exit_code():
                raise SystemExit(f"the search without kills failed: {child.printed()}")
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
        with traced(child, self.paths(child.pid), inject):
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
        return sum(count - 1 for epoch, count in self._counted() if not epoch.endswith(FINISHED))

    def finished_again(self) -> int:
        """How often a trial was trained that had been trained to its end."""
        return sum(count - 1 for epoch, count in self._counted() if epoch.endswith(FINISHED))

    def _counted(self) -> list[tuple[str, int]]:
        lines = self.ended().read_text().splitlines() if self.ended().exists() else []
        return list(Counter(lines).items())


def counted(calls: Counter[str]) -> list[dict[str, Any]]:
    """A table of the calls that kills landed in."""
    return [{"call": call, "kills": kills} for call, kills in sorted(calls.items()) if kills]


def append(path: Path, line: str) -> None:
    """Adds a line to a file, in one call."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)
