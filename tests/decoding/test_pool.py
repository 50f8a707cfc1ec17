"""Decoder processes that crash, hang, are killed or take too much memory, and are survived."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support.repository import ROOT
from tests.support.sample_images import GREY, RGB, encode, png_chunk
from tests.support.slow_images import slow_jpeg
from tuner.decoding import pool
from tuner.decoding.decode import decode
from tuner.decoding.formats import DecodeError

GOOD = encode(RGB)


@pytest.fixture(autouse=True)
def own_workers() -> Iterator[None]:
    pool._close_all()
    yield
    pool._close_all()


def kill_during(monkeypatch: pytest.MonkeyPatch, data: bytes, code: int) -> None:
    """Send a signal to the process that decodes `data`, a while after it has begun."""
    send = pool.Worker.send

    def send_and_kill(self: pool.Worker, files: list[bytes]) -> None:
        send(self, files)
        if data in files:
            threading.Timer(0.3, self.process.send_signal, [code]).start()

    monkeypatch.setattr(pool.Worker, "send", send_and_kill)


@pytest.mark.parametrize("code", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_that_crashes_costs_its_file_alone(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = slow_jpeg()
    kill_during(monkeypatch, slow, code)
    with pytest.raises(DecodeError, match=r"\Aits decoder crashed\Z"):
        decode(slow)
    assert np.array_equal(decode(GOOD), RGB)


def test_the_files_after_one_that_crashes_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = slow_jpeg()
    kill_during(monkeypatch, slow, signal.SIGKILL)
    first, crashed, text, last = pool.decode_each([GOOD, slow, b"<html>", GOOD])
    assert np.array_equal(first, RGB) and np.array_equal(last, RGB)
    assert isinstance(crashed, DecodeError) and crashed.reason == "its decoder crashed"
    assert isinstance(text, DecodeError) and text.reason == "it is a web page, not an image"


def test_a_decoder_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system, that counts its processor time, or by us, that wait."""
    reason = r"\Adecoding it takes over 8 seconds\Z"
    monkeypatch.setattr(pool, "_PATIENCE_SECONDS", 0.7)
    with pytest.raises(DecodeError, match=reason):
        decode(slow_jpeg())
    monkeypatch.undo()
    kill_during(monkeypatch, slow_jpeg(), signal.SIGXCPU)
    with pytest.raises(DecodeError, match=reason):
        decode(slow_jpeg())
    assert np.array_equal(decode(GOOD), RGB)


@pytest.mark.slow
def test_processor_time_is_limited() -> None:
    decode(GOOD)
    before = time.monotonic()
    with pytest.raises(DecodeError, match="takes over 8 seconds"):
        decode(slow_jpeg(300_000_000))
    assert time.monotonic() - before > 7


def test_memory_is_limited() -> None:
    side = 15_811  # 4 bytes for each of 249,987,721 pixels, and what a file takes besides
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
    data = GOOD[:8] + header + GOOD[33:]
    with pytest.raises(DecodeError, match=r"\Adecoding it needs over 1 GB of memory\Z"):
        decode(data)
    assert np.array_equal(decode(GOOD), RGB)


def test_a_file_larger_than_the_memory_limit() -> None:
    with pytest.raises(DecodeError, match=r"\Adecoding it needs over 1 GB of memory\Z"):
        decode(b"\0" * 1_050_000_000)
    assert np.array_equal(decode(GOOD), RGB)


def test_a_process_that_dies_while_idle_is_replaced() -> None:
    decode(GOOD)
    (worker,) = pool._idle
    worker.process.kill()
    worker.process.wait()
    assert np.array_equal(decode(GOOD), RGB)
    assert pool._idle and pool._idle[0] is not worker


def test_processes_serve_again_and_are_as_many_as_threads() -> None:
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(decode, [GOOD, encode(GREY)] * 50))
    assert all(np.array_equal(pixels, RGB) for pixels in found[::2])
    assert 1 <= len(pool._idle) <= 3


def test_pixels_of_any_size_may_be_changed_and_stay() -> None:
    large = np.arange(400 * 500 * 3).reshape(400, 500, 3).astype(np.uint8)
    files = [encode(large), encode(255 - large), GOOD]
    first, second, third = pool.decode_each(files)
    first[0] = 0
    third[0] = 0
    assert np.array_equal(first[1:], large[1:]) and np.array_equal(second, 255 - large)


def test_no_more_is_drawn_than_is_used() -> None:
    """What is left of the replies goes with its process."""
    results = pool.decode_each([GOOD, encode(GREY)])
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert np.array_equal(decode(GOOD), RGB)


def test_a_program_ends_with_its_decoders() -> None:
    """Without a guard for its main module, and on a signal that it cannot handle."""
    program = (
        "import os, sys; from tests.support.sample_images import RGB, encode;"
        "from tuner.decoding import pool; list(pool.decode_each([encode(RGB)]));"
        "print(pool._idle[0].process.pid, flush=True); sys.argv[1:] and os.kill(os.getpid(), 9)"
    )
    for arguments in ([], ["killed"]):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        child = int(done.stdout)
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:  # noqa: PTH110
            time.sleep(0.05)
        assert not os.path.exists(f"/proc/{child}")  # noqa: PTH110
