"""The program of a decoder process: files come in over a socket, pixels go back.

Memory, and processor time for each file, are limited by the operating system, which holds for any
decoder. `tuner.decoding.pool` starts it, and replaces it if it dies.
"""

import contextlib
import mmap
import os
import resource
import socket
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tuner.decoding.formats import MEMORY_LIMIT_BYTES, TIME_LIMIT_SECONDS, DecodeError
from tuner.decoding.pixels import write_pixels
from tuner.decoding.pool import HEADER, IN_MEMORY, LARGE, LENGTH, OUT_OF_MEMORY, PIXELS, REASON

# Pixels of which are sent along; above, they are shared in memory.
_SMALL_PIXELS = 100_000
# Above this an image is decoded alone: on all cores at once such images would fill the memory.
_LARGE_PIXELS = 30_000_000


def serve(descriptor: int) -> None:
    """Answer the requests on a socket until its other end is closed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and libjpeg print what they find
    _limit_memory()
    connection = socket.socket(fileno=descriptor)
    with connection.makefile("rb") as stream, contextlib.suppress(ConnectionError):
        while count := stream.read(LENGTH.size):
            try:
                files = _read(stream, *LENGTH.unpack(count))
            except MemoryError:
                sys.exit(OUT_OF_MEMORY)
            for data in files:
                _limit_time()
                _Reply(connection, stream).send(data)


def _read(stream: BinaryIO, count: int) -> list[bytes]:
    lengths = [LENGTH.unpack(stream.read(LENGTH.size))[0] for _ in range(count)]
    return [stream.read(length) for length in lengths]


class _Reply:
    """Room for the pixels of a file, and the way back to the caller."""

    def __init__(self, connection: socket.socket, stream: BinaryIO) -> None:
        self._connection = connection
        self._stream = stream
        self._memory: list[int] = []

    def send(self, data: bytes) -> None:
        try:
            height, width, _ = (pixels := write_pixels(data, self)).shape
            if self._memory:
                header = HEADER.pack(IN_MEMORY, height, width)
                socket.send_fds(self._connection, [header], self._memory)
            else:
                self._connection.sendall(HEADER.pack(PIXELS, height, width) + pixels.tobytes())
        except DecodeError as error:
            reason = error.reason.encode()
            self._connection.sendall(HEADER.pack(REASON, len(reason), 0) + reason)
        finally:
            for file in self._memory:
                os.close(file)

    def wait_for_turn(self, pixels: int) -> None:
        if pixels > _LARGE_PIXELS:
            self._connection.sendall(HEADER.pack(LARGE, 0, 0))
            self._stream.read(1)

    def allocate(self, height: int, width: int) -> np.ndarray:
        shape = (height, width, 3)
        if height * width <= _SMALL_PIXELS:
            return np.empty(shape, np.uint8)
        self._memory.append(file := _memory_file())
        os.ftruncate(file, height * width * 3)
        return np.frombuffer(mmap.mmap(file, 0), np.uint8).reshape(shape)


def _memory_file() -> int:
    """A file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pixels")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # macOS has no such limit
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + MEMORY_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_time() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + 1 + TIME_LIMIT_SECONDS
    with contextlib.suppress(ValueError):  # the system allows less
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
