"""The progress of a search on a terminal, in a log, and with --quiet."""

import contextlib
import functools
import io
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.clock import Clock
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.observer import EpochEnds, RungBegins, RungEnds, SearchBegins, SearchEnds, TimeLeft
from tuner.runs.records import COMPLETED, FAILED, RUNNING, RungRecord, TrialRecord
from tuner.terminal import search_progress as progress_module
from tuner.terminal.search_progress import SearchProgress
from tuner.training.trainer import EpochMetrics

METRICS = EpochMetrics(1.0, 0.5, 1.0, 0.5, 0.5)
SCHEDULE = Schedule(hyperband(4, 2), 1, ("plain head",))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return write_to(io.StringIO(), monkeypatch)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return write_to(Terminal(), monkeypatch)


def write_to(file: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    # In place of sys.stderr, which pytest sets anew between a fixture and its test.
    console = functools.partial(Console, file=file)
    monkeypatch.setattr(progress_module, "Console", console)
    return file


def trial(number: int, *scores: float, **changes: Any) -> TrialRecord:
    rungs = tuple(RungRecord(i, i + 1, score, 1.0) for i, score in enumerate(scores))
    values = {"status": COMPLETED, "message": None} | changes
    return TrialRecord(
        number, None, 0, 0, {}, values["status"], 1, values["message"], rungs
    )  # fmt: skip


def play(progress: SearchProgress, clock: Clock, seconds_per_epoch: float = 4.0) -> None:
    """Two trials of one epoch each, and a third that fails."""
    progress.on_event(SearchBegins(SCHEDULE, ("blog head",)))
    for number, score in enumerate((0.5, 0.625)):
        progress.on_event(RungBegins(trial(number), 1))
        progress.on_event(TimeLeft(50.0 - number * 10))
        clock.now += seconds_per_epoch
        progress.on_event(EpochEnds(trial(number), 1, METRICS))
        progress.on_event(RungEnds(trial(number, score), trial(number, score)))
    progress.on_event(RungBegins(trial(2), 1))
    failed = trial(2, status=FAILED, message="OOM\nwhen [red]allocating")
    progress.on_event(RungEnds(failed, trial(1, 0.625)))


def test_a_log_gets_plain_lines(clock: Clock, log: io.StringIO) -> None:
    with SearchProgress("val_accuracy") as progress:
        progress.say("Computing on [red]CPU\x1b[31m.")
        play(progress, clock)
        clock.now += 60
        progress.on_event(SearchEnds((trial(0), trial(1))))
    total = SCHEDULE.total_trials
    epochs = SCHEDULE.total_epochs
    assert log.getvalue().splitlines() == [
        "Computing on [red]CPU\ufffd[31m.",
        "The blog head is skipped: it contradicts --fix.",
        f"Hyperband: {total} trials, {epochs} epochs in all, up to 4 a trial.",
        "  recipes (known to be good): 1 to epoch 4",
        "  bracket 2: 4 to epoch 1, the best 2 to epoch 2, the best 1 to epoch 4",
        "  bracket 1: 3 to epoch 2, the best 2 to epoch 4",
        "  bracket 0: 3 to epoch 4",
        f"trial 0000 at epoch 1: val_accuracy 0.5000; 1/{total} trials, best 0.5000 (0000), "
        "about 46s left",
        f"trial 0001 at epoch 1: val_accuracy 0.6250; 2/{total} trials, best 0.6250 (0001), "
        "about 36s left",
        "trial 0002 failed: OOM when [red]allocating",
        "Searched 2 trials in 1m08s.",
    ]


def test_a_resumed_search_says_what_is_done_and_counts_from_there(
    clock: Clock, log: io.StringIO
) -> None:
    done = [trial(0, 0.5), trial(1, 0.25, 0.75)]
    total = SCHEDULE.total_trials
    with SearchProgress("val_accuracy") as progress:
        progress.on_event(SearchBegins(SCHEDULE, (), tuple(done), 3, 90.0, done[1]))
        progress.on_event(RungBegins(trial(2), 1))
        progress.on_event(RungEnds(trial(2, 0.625), done[1]))  # leads nothing
        progress.on_event(RungBegins(trial(0, 0.5), 2))
        clock.now += 4.0
        progress.on_event(EpochEnds(trial(0, 0.5), 2, METRICS))
        progress.on_event(RungEnds(trial(0, 0.5, 0.875), trial(0, 0.5, 0.875)))
    first, *_, said, last = log.getvalue().splitlines()
    assert first.endswith("up to 4 a trial, about 1m30s.")
    assert said == "Done before: 2 trials and 3 epochs."
    assert last == (
        f"trial 0000 at epoch 2: val_accuracy 0.8750; 3/{total} trials, best 0.8750 (0000), "
        "about 1m26s left"
    )


def test_the_first_frame_is_drawn_at_the_start(clock: Clock, terminal: io.StringIO) -> None:
    with SearchProgress("val_accuracy"):
        pass
    assert "cannot be drawn" not in terminal.getvalue()


def test_an_interrupted_rung_continues_at_its_saved_epoch(
    clock: Clock, log: io.StringIO, terminal: io.StringIO
) -> None:
    running = trial(0, status=RUNNING)
    with shown(SearchProgress("val_accuracy")) as progress:
        assert progress.saved() == ""
        progress.on_event(SearchBegins(SCHEDULE, (), (running,), 3))
        progress.on_event(RungBegins(running, 4, 3))
        progress._frames.refresh()
        total = f"{SCHEDULE.total_trials} trials, 3 of {SCHEDULE.total_epochs} epochs"
        assert progress.saved() == f": 0 of {total}"
    assert "Done before: 0 trials and 3 epochs." in terminal.getvalue()
    assert "now  trial 0000, epoch 3 of 4" in terminal.getvalue()


def test_before_the_first_epoch_the_estimate_is_shown(clock: Clock, terminal: io.StringIO) -> None:
    for seconds, expected in ((90.0, "about 1m30s left"), (None, "time left unknown")):
        with shown(SearchProgress("val_accuracy")) as progress:
            progress.on_event(SearchBegins(SCHEDULE, seconds_left=seconds))
            progress.on_event(RungBegins(trial(0), 1))
            progress._frames.refresh()
        assert expected in terminal.getvalue()


@contextlib.contextmanager
def shown(progress: SearchProgress) -> Iterator[SearchProgress]:
    """The progress, drawn only when it is refreshed."""
    progress._frames._frames.stop()
    with progress:
        yield progress


def test_a_log_says_where_it_stands_once_a_minute(clock: Clock, log: io.StringIO) -> None:
    with SearchProgress("val_accuracy") as progress:
        progress.on_event(SearchBegins(SCHEDULE))
        progress.on_event(RungBegins(trial(0), 4))
        for epoch, seconds in enumerate((20.0, 41.0, 20.0, 41.0), start=1):
            clock.now += seconds
            progress.on_event(EpochEnds(trial(0), epoch, METRICS))
        progress.on_event(RungEnds(trial(0, 0.5), trial(0, 0.5)))
        progress.on_event(RungBegins(trial(1), 4))
        clock.now += 20
        progress.on_event(RungEnds(trial(1, 0.25), trial(0, 0.5)))  # does not lead
    lines = [line for line in log.getvalue().splitlines() if line.startswith("trial")]
    assert [line.split(":")[0] for line in lines] == [
        "trial 0000, 2 of 4 epochs", "trial 0000, 4 of 4 epochs", "trial 0000 at epoch 1",
    ]  # fmt: skip


def test_a_log_is_not_silent_while_an_epoch_is_long(
    clock: Clock, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.terminal.search_progress._POLL_SECONDS", 0.01)
    with SearchProgress("val_accuracy") as progress:
        progress.on_event(SearchBegins(SCHEDULE))
        progress.on_event(RungBegins(trial(0), 4))
        progress.on_event(TimeLeft(600.0))
        clock.now += 61
        for _ in range(1000):
            if "trial 0000" in log.getvalue():
                break
            threading.Event().wait(0.01)
    assert log.getvalue().splitlines()[-1] == (
        f"trial 0000, 0 of 4 epochs: 0/{SCHEDULE.total_trials} trials, about 8m59s left"
    )


def test_counting_in_a_log(clock: Clock, log: io.StringIO) -> None:
    with SearchProgress("val_accuracy") as progress:
        for done in range(1, 101):
            clock.now += 0.3
            progress.count("reading images", done, 100)
        for done in range(1, 3):
            clock.now += 100
            progress.count("decoding train images", done, 2)
    assert log.getvalue().splitlines() == [
        "reading images: 35 of 100, 19s left",
        "reading images: 69 of 100, 9.3s left",
    ]


def test_the_time_left_of_one_step_of_several_is_marked(clock: Clock, log: io.StringIO) -> None:
    with SearchProgress("val_accuracy", steps=True) as progress:
        for done in range(1, 23):
            clock.now += 6
            progress.count("BatchNorm treatments", done, 22)
    first, *_ = log.getvalue().splitlines()
    assert first == "BatchNorm treatments: 3 of 22, 1m54s left in this step"


def test_quiet_says_nothing(clock: Clock, terminal: io.StringIO) -> None:
    with SearchProgress("val_accuracy", quiet=True) as progress:
        progress.say("text")
        progress.count("reading images", 1, 2)
        play(progress, clock)
        progress.on_event(SearchEnds(()))
    assert terminal.getvalue() == ""


def test_a_terminal_shows_a_screen_below_what_was_said(clock: Clock, terminal: io.StringIO) -> None:
    with shown(SearchProgress("val_accuracy")) as progress:
        play(progress, clock)
        progress._frames.refresh()
        lines = screen(terminal.getvalue())
    total, epochs = SCHEDULE.total_trials, SCHEDULE.total_epochs
    assert sum(line.endswith("about 36s left") for line in lines) == 1
    assert any(
        line.startswith(f"2/{total} trials, ") and f"; 2/{epochs} " in line for line in lines
    )
    assert "best 0.6250 val_accuracy, trial 0001 at epoch 1" in lines
    assert "trial 0002 failed: OOM when [red]allocating" in lines
    assert not [line for line in lines if line.startswith("trial 0000 at")]


def test_the_screen_goes_when_the_search_ends(clock: Clock, terminal: io.StringIO) -> None:
    with SearchProgress("val_accuracy") as progress:
        play(progress, clock)
        progress.on_event(SearchEnds((trial(0),)))
    assert [line for line in screen(terminal.getvalue()) if line][-1] == (
        "Searched 1 trial in 8.0s."
    )
    assert "━" not in "".join(screen(terminal.getvalue()))


def test_a_screen_that_cannot_be_drawn_ends_no_search(
    clock: Clock, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "LiveView", None)
    with shown(SearchProgress("val_accuracy")) as progress:
        play(progress, clock)
        progress._frames.refresh()
        assert "The screen cannot be drawn: 'NoneType'" in terminal.getvalue()
        progress.on_event(SearchEnds((trial(0),)))
    assert "Searched 1 trial" in terminal.getvalue()


def test_images_from_the_cache_do_not_make_the_rest_look_quick(
    clock: Clock, log: io.StringIO
) -> None:
    with SearchProgress("val_accuracy") as progress:
        progress.count("reading images", 283, 713)
        clock.now += 11
        progress.count("reading images", 283, 713)
        progress.count("reading images", 293, 713)
        clock.now += 11
        progress._remind()  # one image takes long
    first, second = log.getvalue().splitlines()
    assert first == "reading images: 283 of 713, 11s so far, time left unknown"
    assert second == "reading images: 293 of 713, 7m31s left"


def test_a_log_is_not_silent_between_two_steps(clock: Clock, log: io.StringIO) -> None:
    with SearchProgress("val_accuracy") as progress:
        progress.count("reading images", 1, 1)
        for seconds in (19, 2, 21):
            clock.now += seconds
            progress._remind()
    assert log.getvalue().splitlines() == ["working, 21s", "working, 42s"]


def test_a_screen_shows_that_it_works(clock: Clock, terminal: io.StringIO) -> None:
    with shown(SearchProgress("val_accuracy")) as progress:
        clock.now += 12
        progress._frames.refresh()
        assert screen(terminal.getvalue())[-1] == "working, 12s"


def test_the_line_goes_when_images_are_counted(clock: Clock, terminal: io.StringIO) -> None:
    with shown(SearchProgress("val_accuracy")) as progress:
        progress.count("decoding test images", 1, 2)
        progress._frames.refresh()
        assert screen(terminal.getvalue())[-1].startswith("decoding test images ━")
        progress.count("decoding test images", 2, 2)
        progress.say("Exporting.")
        progress._frames.refresh()
    assert [line for line in screen(terminal.getvalue()) if line] == ["Exporting."]


@pytest.mark.parametrize("variable", ["NO_COLOR", None])
def test_no_color(
    clock: Clock, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    with SearchProgress("val_accuracy") as progress:
        play(progress, clock)
        progress._frames.refresh()
    colours = re.findall(r"\x1b\[(?:\d+;)*3\d[;m]", terminal.getvalue())
    assert bool(colours) is (variable is None)


@pytest.mark.parametrize(
    ("name", "value"), [("TERM", "dumb"), ("FORCE_COLOR", "1")], ids=["dumb", "forced"]
)
def test_what_is_no_terminal_gets_plain_lines(
    clock: Clock, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    file = terminal if name == "TERM" else write_to(io.StringIO(), monkeypatch)
    with SearchProgress("val_accuracy") as progress:
        play(progress, clock)
    assert "trial 0000 at epoch 1" in file.getvalue()
    assert "\x1b[2K" not in file.getvalue()


def screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end: rich only goes up, and erases whole lines."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", written):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r" or (part[0] == "\x1b" and part[-1] in "mhl"):
            continue  # rich erases a line before it writes it again
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part[0] == "\x1b" and part[-1] == "A":
            row -= int(part[2:-1] or 1)
        else:
            lines[row] += part
    return [line.rstrip() for line in lines]


def test_the_same_is_counted_twice_from_the_beginning(clock: Clock, log: io.StringIO) -> None:
    with SearchProgress("val_accuracy") as progress:
        for _ in range(2):
            for done in range(1, 4):
                clock.now += 15
                progress.count("decoding images", done, 3)
            clock.now += 500
    once, again = log.getvalue().splitlines()
    assert once == again
    assert once.startswith("decoding images: 2 of 3, ")


def test_memory_is_what_is_in_use_now_or_the_peak_if_only_that_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = SearchProgress("val_accuracy")._resources()
    held = bytearray(b"1") * 200_000_000
    with_it = SearchProgress("val_accuracy")._resources()
    del held
    after = SearchProgress("val_accuracy")._resources()
    if sys.platform == "linux":
        used = [each["memory"] or 0 for each in (before, with_it, after)]
        assert used[1] - max(used[0], used[2]) > 150_000_000
        assert "memory at most" not in after
    monkeypatch.setattr(progress_module, "_STATM", tmp_path / "missing")
    missing = SearchProgress("val_accuracy")._resources()
    assert "memory" not in missing
    assert (missing["memory at most"] or 0) > 10_000_000
