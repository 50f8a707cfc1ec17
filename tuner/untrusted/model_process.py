"""Run a model file in a process of its own, with limits on memory, time and file size.

A few bytes of a model may ask for any amount of memory, and its runtime may crash on a damaged
file. Neither takes this process down.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO, Self

import numpy as np

from tuner.errors import TuneError
from tuner.untrusted import model_server as server
from tuner.untrusted.keras_archive import ArchiveError

# TensorFlow and a ResNet50 take about one.
_LEAST_MEMORY_BYTES = 4 << 30
# How runtimes word it when they get no memory.
_NO_MEMORY = re.compile(
    "MemoryError|ResourceExhausted|bad_alloc|OOM when|allocate memory|Failed to allocate|"
    r"Cannot parse tensor from proto|AllocateTensors\(.*\)\s+RuntimeError\s*\Z"
)


class ModelProcess:
    """A model file in its own runtime, in a process that cannot import this package.

    Example:
        with ModelProcess("onnx", Path("model.onnx")) as model:
            model.load()
            probabilities, seconds = model.predict(pixels[np.newaxis])

    Memory and file size are limited if `limited`; time always is.
    """

    def __init__(self, kind: str, path: Path, limited: bool = True) -> None:
        self._limit = memory_limit() if limited else None
        self._folder = tempfile.TemporaryDirectory(prefix="tune-model.", ignore_cleanup_errors=True)
        errors = Path(self._folder.name, "errors")
        # -P: nothing in the working folder, or beside the script, is imported.
        command = [sys.executable, "-P", server.__file__, kind, str(path)]
        if self._limit is not None:
            command.append(str(self._limit))
        with errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | runtime_environment() | {"TMPDIR": self._folder.name},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers = server.read_arrays(self._process.stdout)
        self.close = weakref.finalize(self, _end, self._process, self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def load(self) -> None:
        """Load the file. Until then the process has only imported the runtime.

        Raises:
            ArchiveError: it crashes, needs more memory or time than the limit, or is of no use.
            TuneError: the runtime cannot load it; the message is the runtime's.
        """
        self._ask(np.empty(0), answers=1)

    def predict(self, request: np.ndarray) -> tuple[np.ndarray, float]:
        """Class probabilities, float32, (batch, classes), and their seconds, decoding left out.

        Takes uint8 RGB, (batch, height, width, 3), or an image's `path_request`; raises as `load`.
        """
        probabilities, seconds = self._ask(request, answers=2)
        return probabilities, float(seconds)

    def _ask(self, request: np.ndarray, answers: int) -> list[np.ndarray]:
        try:
            server.write_array(self._requests, request)
            return [next(self._answers) for _ in range(answers)]
        except (BrokenPipeError, StopIteration):
            raise self._failure() from None

    def _failure(self) -> TuneError:
        """The reason why the process ended."""
        code = self._process.wait()
        errors = Path(self._folder.name, "errors").read_text("utf-8", "replace")
        reason = last_line(errors)
        if code == -signal.SIGALRM:
            return ArchiveError(f"takes more than {server.SECONDS} seconds")
        if code < 0 or _NO_MEMORY.search(errors):
            limit = "there is" if self._limit is None else f"{self._limit / 2**30:.0f} GB"
            return ArchiveError(f"needs more memory than {limit}, or crashes its runtime")
        if reason.startswith("UnusableError: "):
            return ArchiveError(reason.removeprefix("UnusableError: "))
        return TuneError(reason)


def rehearse(path: Path) -> None:
    """Load and run a `.keras` file, which `check_keras_file` accepted, in a limited process."""
    with ModelProcess("compiled", path) as model:
        model.load()


def path_request(path: Path) -> np.ndarray:
    """Ask for the image of a path, which `model_server.decode` is to decode."""
    return np.frombuffer(os.fsencode(path), np.uint8)


def memory_limit() -> int:
    """The memory that a foreign model gets, in bytes: half of the machine's, at least 4 GiB."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_MEMORY_BYTES, machine // 2)


def runtime_environment() -> dict[str, str]:
    """Settings of TensorFlow in another process: no log lines; our GPU memory is left to us."""
    return {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def last_line(text: str) -> str:
    """The last line that a process wrote, at most 300 characters, or "no message"."""
    lines = text.strip().splitlines() or ["no message"]
    return lines[-1].strip()[:300]


def _end(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):  # a request that nobody read
                stream.close()
    folder.cleanup()
