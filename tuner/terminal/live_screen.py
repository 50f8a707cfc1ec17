"""A live view on a terminal, drawn in its own thread; its errors are suppressed."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.live import Live

_SECONDS = 0.25
_NOTES = 200  # lines printed again after the terminal is resized


class Frames:
    """Draws a view four times a second, below permanent lines."""

    def __init__(
        self, console: Console, draw: Callable[[], RenderableType], live: bool = True
    ) -> None:
        self._console = console
        self._shown = live
        self._draw = draw
        self._live: Live | None = None  # rich draws when one is made, so none before `start`
        self._size = console.size
        self._notes: deque[str] = deque(maxlen=_NOTES)
        # Reentrant: a signal handler may print in the middle of a frame.
        self._lock = threading.RLock()
        self._frames = Repeating(self.refresh, _SECONDS, "live view")

    def start(self) -> None:
        """Start drawing."""
        if self._shown:
            with self._lock, _harmless():
                self._live = self._new_live()
                self._live.start()
            self._frames.start()

    def stop(self) -> None:
        """Erase the view and show the cursor."""
        self._frames.stop()
        with self._lock, _harmless():
            if self._live is not None:
                self._live.stop()

    def say(self, line: str) -> None:
        """Print a permanent line."""
        self._notes.append(line)
        with self._lock, _harmless():
            self._console.print(line, markup=False)

    def refresh(self) -> None:
        """Draw a frame; redraw everything if the terminal was resized."""
        with self._lock, _harmless():
            if self._live is None:
                return
            if self._console.size != self._size:
                self._live = self._redrawn(self._live)
            self._live.refresh()

    def _redrawn(self, old: Live) -> Live:
        # The old view has wrapped at an unknown place.
        self._size = self._console.size
        old.stop()
        live = self._new_live()  # the old one would erase the lines of its last frame
        self._console.clear()
        for note in list(self._notes)[-self._size.height :]:
            self._console.print(note, markup=False)
        live.start()
        return live

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
    """Suppress errors: a closed terminal or a broken view must not end a search."""
    with contextlib.suppress(Exception):
        yield


class Repeating:
    """Calls a function periodically in a daemon thread, from `start` to `stop`."""

    def __init__(self, call: Callable[[], None], seconds: float, name: str) -> None:
        self._call = call
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current call; does nothing if never started."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._seconds):
            self._call()
