"""Decoder processes with limits on memory and time, so that no file can harm the caller.

They start when they are first needed, one for each thread that decodes, and are kept. They are
plain child programs: forking would copy the locks of TensorFlow's threads, and `multiprocessing`
would run the caller's main module again.

A request is a number of files and their lengths, each a `LENGTH`, and the files. Replies come in
their order, and each begins with a `HEADER`: a kind and two numbers. Before the reply on a large
image comes LARGE; the caller sends a byte when it may be decoded.
"""

import atexit
import contextlib
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from tuner.decoding.formats import NEEDS_MEMORY, TIME_LIMIT_SECONDS, DecodeError

LENGTH = struct.Struct("<Q")
HEADER = struct.Struct("<cII")
PIXELS = b"p"  # height and width; the pixels follow
IN_MEMORY = b"m"  # height and width; a file descriptor of the pixels comes with it
REASON = b"r"  # its bytes; the reason why there are no pixels follows
LARGE = b"l"
OUT_OF_MEMORY = 3  # exit code of a process that cannot hold the files
# Longest wait, for a decoder that sleeps or a busy machine.
_PATIENCE_SECONDS = 10 * TIME_LIMIT_SECONDS
_PROGRAM = """
import sys
descriptor, *sys.path = sys.argv[1:]
from tuner.decoding.worker import serve
serve(int(descriptor))
"""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class Worker:
    """A decoder process; one that cannot start raises RuntimeError at the first file."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        self._connection.settimeout(_PATIENCE_SECONDS)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the caller alone
                env=os.environ | _ONE_THREAD,
            )

    def send(self, files: Sequence[bytes]) -> None:
        """Send files to be decoded; a `receive` for each must follow."""
        with contextlib.suppress(ConnectionError, TimeoutError):  # seen again by `receive`
            self._connection.sendall(
                LENGTH.pack(len(files)) + b"".join(LENGTH.pack(len(file)) for file in files)
            )
            for file in files:
                self._connection.sendall(file)

    def receive(self) -> np.ndarray | DecodeError:
        """The pixels of the next file, or why there are none."""
        try:
            return self._pixels()
        except TimeoutError as error:
            raise DecodeError(_TOO_SLOW) from error
        except (ConnectionError, EOFError) as error:
            raise DecodeError(self._cause_of_death()) from error

    def close(self) -> None:
        """Kill the process."""
        self._connection.close()
        self.process.kill()
        self.process.wait()

    def _pixels(self) -> np.ndarray | DecodeError:
        header, files, _, _ = socket.recv_fds(self._connection, HEADER.size, 1)
        if len(header) < HEADER.size:
            raise EOFError("The decoder process ended")
        kind, height, width = HEADER.unpack(header)
        if kind == LARGE:
            with _large:
                self._connection.sendall(b".")
                return self._pixels()
        if kind == REASON:
            return DecodeError(self._receive(height).decode())
        content = _mapped(files[0]) if kind == IN_MEMORY else self._receive(height * width * 3)
        return np.frombuffer(content, np.uint8).reshape(height, width, 3)

    def _receive(self, length: int) -> bytearray:
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            received = self._connection.recv_into(rest)
            if not received:
                raise EOFError("The decoder process ended")
            rest = rest[received:]
        return content

    def _cause_of_death(self) -> str:
        code = self.process.wait()
        if code == OUT_OF_MEMORY:
            return NEEDS_MEMORY
        if code > 0:
            raise RuntimeError(f"The decoder process could not start: exit code {code}")
        return _TOO_SLOW if code == -signal.SIGXCPU else "its decoder crashed"


_TOO_SLOW = f"decoding it takes over {TIME_LIMIT_SECONDS} seconds"
_idle: list[Worker] = []
# On all cores at once, large images would fill the memory.
_large = threading.Lock()


def decode_each(files: Sequence[bytes]) -> Iterator[np.ndarray | DecodeError]:
    """The pixels of each file, or why there are none; from any thread.

    All are sent at once to a process that is idle or new, which is faster for small files. If one
    kills its decoder, the files after it get another.
    """
    done = 0
    while done < len(files):
        worker = _take()
        try:
            worker.send(files[done:])
            while done < len(files):
                done += 1
                yield worker.receive()
        except DecodeError as error:
            worker.close()
            yield error
        except BaseException:  # GeneratorExit too: its next replies would be taken for others
            worker.close()
            raise
        else:
            _idle.append(worker)


def _take() -> Worker:
    while _idle:
        try:
            worker = _idle.pop()
        except IndexError:
            break
        if worker.process.poll() is None:
            return worker
        worker.close()
    return Worker()


def _mapped(file: int) -> mmap.mmap:
    try:
        return mmap.mmap(file, 0)
    finally:
        os.close(file)


@atexit.register
def _close_all() -> None:
    while _idle:
        _idle.pop().close()


os.register_at_fork(after_in_child=_idle.clear)  # they answer the parent
