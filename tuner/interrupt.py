"""Ctrl-C and SIGTERM: the first saves and stops, the second ends the process at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from tuner.errors import StoppedError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE = 130
_AT_ONCE = b"\r\nStopped at once; saved files are intact.\r\n\x1b[?25h"  # shows the cursor


class StopRequest:
    """A request to stop, `made` or not, checked where stopping is safe."""

    def __init__(self) -> None:
        self.made = False

    def check(self) -> None:
        """Raise StoppedError if the request was made."""
        if self.made:
            raise StoppedError("Stopped.")


@contextlib.contextmanager
def stop_on_signals(request: StopRequest, on_request: Callable[[], None]) -> Iterator[None]:
    """Make the request at the first signal, and end the process at the second.

    The second works during a long computation too, when Python handles no signals; saved files are
    consistent at any time, so that nothing has to be cleaned up. Outside the main thread this does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: FrameType | None) -> None:
        if not request.made:
            request.made = True
            on_request()

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, first) for number in _SIGNALS}
    watcher = threading.Thread(target=_end_at_second, args=(reading,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _end_at_second(reading: int) -> None:
    """Read the signals as they arrive, one byte each; end the process at the second of ours."""
    seen = 0
    while received := os.read(reading, 1):
        seen += received[0] in _SIGNALS
        if seen == 2:
            os.write(2, _AT_ONCE)
            os._exit(EXIT_CODE)
