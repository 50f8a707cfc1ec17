"""Something that is done again and again."""

import threading

from tuner.terminal.live_screen import Repeating


def test_it_is_called_again_and_again_until_it_is_stopped() -> None:
    often = threading.Event()
    calls: list[str] = []

    def call() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            often.set()

    repeated = Repeating(call, 0.001, "looks")
    repeated.start()
    assert often.wait(30)
    repeated.stop()
    count = len(calls)
    assert set(calls) == {"looks"}
    threading.Event().wait(0.02)
    assert len(calls) == count


def test_what_never_began_is_stopped_too() -> None:
    Repeating(lambda: None, 1.0, "never").stop()
