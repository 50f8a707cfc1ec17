"""Something that is done again and again, in a thread of its own."""

import threading
from collections.abc import Callable


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
