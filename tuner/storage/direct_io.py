"""Files written past the system's page cache.

A checkpoint is seldom read again. In the page cache it would push out features, which are, and
finding fresh memory for it takes longer than writing it: on a virtual machine the mean checkpoint
of a search over all heads took 27 ms through the cache and 13 ms past it, both synced
(benchmarks/crash.py).
"""

import errno
import io
import mmap
import os
from pathlib import Path
from typing import Any

# The device's blocks: past the cache, memory, lengths and offsets are whole multiples of them.
_BLOCK = 4096
_BUFFER = 256 * _BLOCK
_REFUSED = (errno.EINVAL, errno.EOPNOTSUPP)


class UncachedFile(io.RawIOBase):
    """A new file to write from beginning to end.

    Where the file system knows only its cache, the file is written through that.

    Args:
        path: the file; what it held is lost.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags | getattr(os, "O_DIRECT", 0), 0o666)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._descriptor = os.open(path, flags, 0o666)
        self._buffer = mmap.mmap(-1, _BUFFER)
        self._offset = 0  # in the file, of the buffer's first byte
        self._filled = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Descriptor of the file.

        Raises:
            ValueError: it is closed.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return self._descriptor

    def write(self, data: Any) -> int:
        """Takes all bytes of a buffer and returns their number."""
        with memoryview(data).cast("B") as given:
            taken = 0
            while taken < len(given):
                size = min(len(given) - taken, _BUFFER - self._filled)
                self._buffer[self._filled : self._filled + size] = given[taken : taken + size]
                self._filled += size
                taken += size
                if self._filled == _BUFFER:
                    self._write_out(_BUFFER)
                    self._offset += _BUFFER
                    self._filled = 0
            return taken

    def flush(self) -> None:
        """Hands all bytes to the system."""
        if self._filled and not self.closed:
            self._write_out(-(-self._filled // _BLOCK) * _BLOCK)
            os.ftruncate(self._descriptor, self._offset + self._filled)

    def close(self) -> None:
        """Closes the file."""
        if not self.closed:
            try:
                super().close()  # flushes
            finally:
                os.close(self._descriptor)
                self._buffer.close()

    def _write_out(self, size: int) -> None:
        done = 0
        with memoryview(self._buffer) as bytes_:
            while done < size:
                with bytes_[done:size] as rest:
                    done += os.pwrite(self._descriptor, rest, self._offset + done)
