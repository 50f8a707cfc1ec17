"""The live view as a terminal shows it: a command in a pseudo-terminal, its screen read by pyte."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from tests.support.repository import ROOT
from tests.support.small_search import write_photos

# A search of fourteen trials that trains nothing, so that what is seen is what was told.
PLAYED = r"""
import sys, threading, time
from tuner.observer import EpochEnds, RungBegins, RungEnds, SearchBegins, SearchEnds, TimeLeft
from tuner.runs.records import COMPLETED, FAILED, RUNNING, STOPPED, RungRecord, TrialRecord
from tuner.terminal.search_progress import SearchProgress
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.interrupt import StopRequest, stop_on_signals

NASTY = "<img src=x onerror=alert(1)>"
FILE = "it's a \"file\"\nnamed \x1b[2Jso\x07.png"
schedule = Schedule(hyperband(9, 3), 1, ("plain head",))
values = {
    "unfreeze_blocks": 3, "backbone_lr_factor": 0.3, "head_layers": 2, "head_width": 512,
    "head_batchnorm": True, "dropout": 0.25, "l2": 0.0001, "learning_rate": 0.001,
}

def trial(number, status, *rungs):
    records = tuple(RungRecord(*rung, 1.0) for rung in rungs)
    message = f"class {NASTY}\nis [red]odd" if status == FAILED else None
    return TrialRecord(number, None, 0, 2, values, status, 1, message, records)

stop, pause = StopRequest(), float(sys.argv[1])
with SearchProgress("val_accuracy", cache_bytes=lambda: 123_400_000) as progress:
    progress.say(f"Warning: {NASTY}/{FILE} is left out: truncated.")
    with stop_on_signals(stop, lambda: progress.say("Stopping: this epoch is finished.")):
        progress.on_event(SearchBegins(schedule, seconds_left=300.0))
        best = None
        for number in range(1, 9):
            progress.on_event(RungBegins(trial(number, RUNNING), 1))
            time.sleep(pause)
            progress.on_event(EpochEnds(trial(number, RUNNING), 1, None))
            if number == 4:
                progress.on_event(RungEnds(trial(number, FAILED), best))
            else:
                best = trial(number, STOPPED, (0, 1, number / 10))
                progress.on_event(RungEnds(best, best))
            progress.on_event(TimeLeft(300.0 - 10 * number))
        progress.on_event(RungBegins(trial(9, RUNNING), 1))
        print("READY", flush=True)
        while not stop.made:
            progress.on_event(TimeLeft(200.0))
            progress.on_event(EpochEnds(trial(9, RUNNING), 1, None))
            time.sleep(0.05)
        progress.on_event(SearchEnds((best,) * 9))
"""


class Terminal:
    """A pseudo-terminal in which a program runs, and what its screen shows."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=500)
        self._stream = pyte.ByteStream(self.screen)
        self.master, self.slave = pty.openpty()
        self._set_size(columns, lines)
        self.written = b""

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        unwanted = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE")
        inherited = {name: text for name, text in os.environ.items() if name not in unwanted}
        self.process = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=subprocess.PIPE,
            stderr=self.slave,
            cwd=ROOT,
            env=inherited | {"TERM": "xterm-256color", "TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
            start_new_session=True,
        )
        return self.process

    def resize(self, columns: int, lines: int) -> None:
        self.read(0.3)
        self._set_size(columns, lines)
        self.screen.resize(lines, columns)
        self.process.send_signal(signal.SIGWINCH)

    def read(self, seconds: float, until: str | None = None) -> list[str]:
        """Reads for so long, or until the screen shows a text; returns its lines."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            ready, _, _ = select.select([self.master], [], [], min(0.05, end - now))
            if ready:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:  # nobody has the terminal open any more
                    break
                self.written += piece
                self._stream.feed(piece)
            elif until is not None and any(until in line for line in self.lines()):
                break
        return self.lines()

    def wait_until_ready(self, seconds: float) -> None:
        """Reads until the program has said on its standard output that it is where it should be."""
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while not select.select([self.process.stdout], [], [], 0)[0]:
            assert time.monotonic() < end, self.lines()
            self.read(0.1)
        assert self.process.stdout.readline() == b"READY\n"

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for number in (self.master, self.slave):
            os.close(number)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _set_size(self, columns: int, lines: int) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)


@contextmanager
def played(columns: int, lines: int, **environment: str) -> Iterator[Terminal]:
    """A terminal once eight trials have been told of and the ninth is being trained."""
    terminal = Terminal(columns, lines)
    try:
        terminal.start(sys.executable, "-c", PLAYED, "0.02", **environment)
        terminal.wait_until_ready(60)
        terminal.read(1)
        yield terminal
    finally:
        terminal.close()


def shown_once(lines: list[str], text: str) -> bool:
    return sum(text in line for line in lines) == 1


def assert_whole_view(lines: list[str], width: int) -> None:
    """What has to be on the screen, and once."""
    for text in (
        "a minute",
        "best 0.8000 val_accuracy",
        "trial 0009",
        "cache 123.4 MB",
        "3m20s left",
    ):
        assert shown_once(lines, text), (text, lines)
    assert any("7/9 to 1" in line for line in lines), lines
    assert any(tick in line for line in lines for tick in "▁█"), lines
    assert any("blocks" in line and "3" in line for line in lines), lines
    assert any("L2 1e-4" in line and "lr 1e-3" in line for line in lines), lines
    assert not any("…" in line for line in lines), lines
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (60, 20)])
def test_the_screen_is_whole(columns: int, lines: int) -> None:
    with played(columns, lines) as terminal:
        assert_whole_view(terminal.read(0.5), columns)


def test_a_terminal_that_is_resized_while_running_shows_the_view_once() -> None:
    with played(80, 24) as terminal:
        for columns, lines in ((60, 20), (100, 30), (80, 24)):
            terminal.resize(columns, lines)
            assert_whole_view(terminal.read(2.5), columns)


@pytest.mark.parametrize(("columns", "lines"), [(40, 12), (20, 5), (7, 3)])
def test_a_small_terminal_shows_what_matters_most(columns: int, lines: int) -> None:
    with played(columns, lines) as terminal:
        shown = terminal.read(1)
        assert terminal.process.poll() is None
        assert any("━" in line or "%" in line for line in shown), shown


def test_names_of_a_users_files_and_classes_are_text() -> None:
    with played(100, 40) as terminal:
        history = terminal.read(1)
        text = "\n".join(history)
        assert (
            '<img src=x onerror=alert(1)>/it\'s a "file"\ufffdnamed \ufffd[2Jso\ufffd.png' in text
        )
        assert "trial 0004 failed: class <img src=x onerror=alert(1)> is [red]odd" in text
        assert b"\x07" not in terminal.written
        assert b"\x1b[2J" not in terminal.written.split(b"Warning")[1][:400]


def test_ctrl_c_is_answered_above_the_view_and_the_screen_is_left_clean() -> None:
    with played(80, 24) as terminal:
        terminal.process.send_signal(signal.SIGINT)
        lines = terminal.read(20, "Searched 9 trials")
        assert terminal.process.wait(20) == 0
        lines = terminal.read(1)
        assert shown_once(lines, "Stopping: this epoch is finished.")
        assert shown_once(lines, "Searched 9 trials")
        assert not any("a minute" in line for line in lines)
        assert terminal.screen.cursor.hidden is False


@pytest.mark.parametrize(("variable", "colours"), [("1", False), ("", True)])
def test_no_color(variable: str, colours: bool) -> None:
    with played(80, 24, **({"NO_COLOR": variable} if variable else {})) as terminal:
        shown = {cell.fg for row in terminal.screen.buffer.values() for cell in row.values()}
        assert (shown - {"default"} != set()) is colours


def test_a_terminal_that_is_gone_does_not_end_the_search() -> None:
    with played(80, 24) as terminal:
        os.close(terminal.slave)
        os.close(terminal.master)
        time.sleep(1)
        try:
            assert terminal.process.poll() is None
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.process.wait(20) == 0
        finally:
            terminal.master, terminal.slave = pty.openpty()


@pytest.mark.slow
class TestSearch:
    """A real `tune search` in a pseudo-terminal, as a user watches it."""

    @contextmanager
    def searching(self, folder: Path, columns: int, lines: int) -> Iterator[Terminal]:
        """A head-only search of small photos."""
        write_photos(folder / "photos", per_class=12)
        code = "from tuner.cli import main; main()"
        terminal = Terminal(columns, lines)
        try:
            terminal.start(
                sys.executable,
                "-c",
                code,
                "search",
                str(folder / "photos"),
                "--run",
                "watched",
                "--weights",
                "none",
                "--image-size",
                "32",
                "--max-epochs",
                "27",
                "--fix",
                "unfreeze_blocks=0",
                "--runs-dir",
                str(folder / "runs"),
                "--cache-dir",
                str(folder / "cache"),
            )
            yield terminal
        finally:
            terminal.close()

    def test_the_screen_is_whole_at_every_size_and_clean_in_the_end(self, tmp_path: Path) -> None:
        with self.searching(tmp_path, 80, 24) as terminal:
            terminal.read(300, "val_accuracy, trial")
            for columns, lines in ((80, 24), (60, 20), (80, 24)):
                terminal.resize(columns, lines)
                terminal.read(0.6)
                self.assert_whole(terminal.read(30, "now  trial"), columns)
            assert self.code_at_the_end(terminal) == 0
            lines = terminal.read(1)
            assert shown_once(lines, "Searched ")
            assert not any("a minute" in line or "━" in line for line in lines), lines
            assert terminal.screen.cursor.hidden is False

    def test_ctrl_c_prints_the_command_that_goes_on(self, tmp_path: Path) -> None:
        with self.searching(tmp_path, 80, 24) as terminal:
            terminal.read(300, "val_accuracy, trial")
            terminal.process.send_signal(signal.SIGINT)
            assert self.code_at_the_end(terminal) != 0
            text = "".join(line.ljust(80) for line in terminal.read(1))
            assert "Continue with: tune resume watched --runs-dir" in " ".join(text.split())
            assert "a minute" not in text
            assert terminal.screen.cursor.hidden is False

    def code_at_the_end(self, terminal: Terminal) -> int | None:
        """The exit code, once it is there; what is written is read, for who writes waits for it."""
        end = time.monotonic() + 300
        while terminal.process.poll() is None and time.monotonic() < end:
            terminal.read(0.2)
        return terminal.process.poll()

    def assert_whole(self, lines: list[str], width: int) -> None:
        for text in ("a minute", "val_accuracy, trial", "cache ", " left", "to which epoch"):
            assert shown_once(lines, text), (text, lines)
        shown = [line.split()[0] for line in lines if line.startswith(("recipes", "bracket"))]
        assert shown == ["recipes", *["bracket"] * 4], lines
        best = next(i for i, line in enumerate(lines) if line.startswith("best "))
        assert any("lr " in line for line in lines[best : best + 4]), lines
        assert all(len(line) <= width for line in lines)
