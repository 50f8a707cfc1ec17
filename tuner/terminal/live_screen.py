"""A live view on a terminal, drawn in a thread of its own; what goes wrong with it ends nothing."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.live import Live

_SECONDS = 0.25
_NOTES = 200  # lines that are printed again when the terminal has changed its size


class Frames:
    """Draws what a function returns four times a second, below the lines that stay.

    Args:
        console: where it is drawn.
        draw: what is shown now; it is called in another thread.
        live: whether anything is drawn; the lines that stay are printed all the same.
    """

    def __init__(
        self, console: Console, draw: Callable[[], RenderableType], live: bool = True
    ) -> None:
        self._console = console
        self._shown = live
        self._draw = draw
        self._live = self._new_live()
        self._size = console.size
        self._notes: deque[str] = deque(maxlen=_NOTES)
        # A signal may say something in the middle of a frame.
        self._lock = threading.RLock()
        self._frames = Repeating(self.refresh, _SECONDS, "live view")

    def start(self) -> None:
        """Begins to draw."""
        if self._shown:
            with _harmless():
                self._live.start()
            self._frames.start()

    def stop(self) -> None:
        """Clears what was drawn, and shows the cursor."""
        self._frames.stop()
        with _harmless():
            self._live.stop()

    def say(self, line: str) -> None:
        """Prints a line that stays."""
        self._notes.append(line)
        with self._lock, _harmless():
            self._console.print(line, markup=False)

    def refresh(self) -> None:
        """Draws a frame; all of it anew where the terminal has another size."""
        with self._lock, _harmless():
            if self._console.size != self._size:
                self._begin_again()
            self._live.refresh()

    def _begin_again(self) -> None:
        # What was drawn for another width has wrapped, and lies nobody knows where.
        self._size = self._console.size
        self._live.stop()
        self._live = self._new_live()  # it would erase as many lines as it drew before
        self._console.clear()
        for note in list(self._notes)[-self._size.height :]:
            self._console.print(note, markup=False)
        self._live.start()

    def _new_live(self) -> Live:
        return Live(
            console=self._console,
            get_renderable=self._frame,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )

    def _frame(self) -> RenderableType:
        with _harmless():
            return self._draw()
        return ""


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """A terminal that is gone, or a view that cannot be drawn, is no reason to end a search."""
    with contextlib.suppress(Exception):
        yield


class Repeating:
    """Calls a function every so many seconds, from `start` to `stop`.

    Args:
        call: what is called; it must not raise, and no other call of it runs at the same time.
        seconds: between two calls.
        name: of the thread.
    """

    def __init__(self, call: Callable[[], None], seconds: float, name: str) -> None:
        self._call = call
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins, once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, after a call that is running; nothing happens where it never began."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._seconds):
            self._call()
