"""Being asked to stop: Ctrl-C and SIGTERM, once to save and end, twice to end at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from tuner.errors import StoppedError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE = 130
_AT_ONCE = b"\r\nStopped at once; what was saved is whole.\r\n\x1b[?25h"  # shows the cursor


class StopRequest:
    """Whether the program was asked to stop; whoever works looks at it where stopping is safe."""

    def __init__(self) -> None:
        self.made = False

    def check(self) -> None:
        """Raises StoppedError if the request was made."""
        if self.made:
            raise StoppedError("interrupted.")


@contextlib.contextmanager
def stop_on_signals(request: StopRequest, on_request: Callable[[], None]) -> Iterator[None]:
    """Lets the first signal make the request, and the second end the process at once.

    The second works in the middle of a long computation too, when Python handles no signals: what
    is saved is consistent at every moment, so nothing needs to be tidied. In a thread that is not
    the main one signals are left alone.

    Args:
        request: is made by the first signal.
        on_request: is called by the first signal.
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
    """Reads the signals as they arrive, a byte each; ends the process at the second of ours."""
    seen = 0
    while received := os.read(reading, 1):
        seen += received[0] in _SIGNALS
        if seen == 2:
            os.write(2, _AT_ONCE)
            os._exit(EXIT_CODE)
