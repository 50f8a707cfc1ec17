"""Frames of a live view: what stays, and what goes wrong; test_terminal.py looks at screens."""

import io

from rich.console import Console
from rich.text import Text

from tuner.terminal.live_screen import Frames


class Broken(io.StringIO):
    """A terminal that is gone."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def console(file: io.StringIO) -> Console:
    return Console(
        file=file, force_terminal=True, highlight=False, width=40, height=10, _environ={}
    )


def test_what_is_said_stays_and_the_view_goes() -> None:
    file = io.StringIO()
    frames = Frames(console(file), lambda: Text("the view"))
    frames.start()
    frames.say("one [red]line")
    frames.refresh()
    frames.stop()
    assert "one [red]line\n" in file.getvalue()
    assert "the view" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")  # the last that was drawn is erased


def test_nothing_is_drawn_before_the_start() -> None:
    drawn: list[str] = []

    def draw() -> Text:
        drawn.append("frame")
        return Text("the view")

    frames = Frames(console(io.StringIO()), draw)
    frames.refresh()
    frames.stop()
    assert not drawn


def test_without_a_live_view_lines_are_printed_alone() -> None:
    file = io.StringIO()
    frames = Frames(console(file), lambda: Text("the view"), live=False)
    frames.start()
    frames.say("a line")
    frames.stop()
    assert file.getvalue() == "a line\n"


def test_a_terminal_that_is_gone_and_a_view_that_fails_are_survived() -> None:
    def fail() -> Text:
        raise ValueError("no view")

    for frames in (Frames(console(Broken()), lambda: Text("x")), Frames(console(Broken()), fail)):
        frames.start()
        frames.say("a line")
        frames.refresh()
        frames.stop()
