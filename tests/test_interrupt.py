"""Signals: the first makes a request, the second ends the process, whatever it is doing."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.repository import ROOT
from tuner.errors import StoppedError
from tuner.interrupt import EXIT_CODE, StopRequest, stop_on_signals

PATIENCE_SECONDS = 120

# What is done between the signals; each prints "ready" first, and "asked" at the first signal.
PROGRAM = """
import ctypes, hashlib, os, signal, sys, time
from tuner.interrupt import StopRequest, stop_on_signals

def say(text):
    os.write(1, text.encode() + bytes([10]))

request = StopRequest()
with stop_on_signals(request, lambda: say("asked")):
    say("ready")
    {body}
say("ended as it should")
"""
WAIT_FOR_THE_REQUEST = "while not request.made: time.sleep(0.01)"
GO_ON_FOR_EVER = "while True: time.sleep(0.01)"
# Neither comes back for a signal's sake: Python sees none before it is over.
COMPUTE = 'hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)'
SLEEP = "ctypes.CDLL(None).usleep(4 * 10**9)"


@contextmanager
def program(body: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that is ready for signals."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert line_of(process) == "ready"
            yield process
        finally:
            process.kill()


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_request_is_made_once_and_for_good() -> None:
    request = StopRequest()
    request.check()
    request.made = True
    for _ in range(2):
        with pytest.raises(StoppedError, match="Stopped"):
            request.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_makes_the_request_and_ends_nothing(number: signal.Signals) -> None:
    with program(WAIT_FOR_THE_REQUEST) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert output.splitlines() == ["asked", "ended as it should"]
    assert errors == ""
    assert process.returncode == 0


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_the_process(first: signal.Signals, second: signal.Signals) -> None:
    with program(GO_ON_FOR_EVER) as process:
        process.send_signal(first)
        assert line_of(process) == "asked"  # two at once of a kind can be one
        process.send_signal(second)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == EXIT_CODE == 130
    assert output == ""
    assert errors.strip().startswith("Stopped at once; saved files are intact.")


@pytest.mark.parametrize("body", [COMPUTE, f"{SLEEP}\n    {GO_ON_FOR_EVER}"])
def test_the_second_signal_ends_it_in_the_middle_of_a_long_call(body: str) -> None:
    with program(body) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # of another kind, so that none is lost
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == EXIT_CODE
    assert "ended as it should" not in output
    assert "Stopped at once" in errors


def test_other_signals_count_for_nothing() -> None:
    body = (
        "signal.signal(signal.SIGUSR1, lambda *_: say('other'))\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        f"    {WAIT_FOR_THE_REQUEST}"
    )
    with program(body) as process:
        assert [line_of(process), line_of(process)] == ["other", "other"]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert output.splitlines() == ["asked", "ended as it should"]
    assert process.returncode == 0


def test_afterwards_signals_do_what_they_did_before() -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    on_interrupt = signal.getsignal(signal.SIGINT)  # a shell's background process ignores it
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    threads = threading.active_count()
    try:
        request = StopRequest()
        with pytest.raises(KeyError), stop_on_signals(request, lambda: None):
            os.kill(os.getpid(), signal.SIGTERM)
            raise KeyError
        assert request.made
        assert told == []
        assert signal.getsignal(signal.SIGINT) is on_interrupt
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.set_wakeup_fd(wakeup) == wakeup
    assert threading.active_count() == threads


def test_one_signal_in_each_of_two_searches_ends_nothing() -> None:
    requests = [StopRequest(), StopRequest()]
    for request in requests:
        with stop_on_signals(request, lambda: None):
            os.kill(os.getpid(), signal.SIGINT)
    assert all(request.made for request in requests)


def test_in_another_thread_signals_are_left_alone() -> None:
    handlers: list[object] = []

    def work() -> None:
        with stop_on_signals(StopRequest(), lambda: None):
            handlers.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]
