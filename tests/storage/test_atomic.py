"""Atomic files are complete or absent, and arrays round-trip."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.repository import ROOT
from tuner.storage.atomic import (
    open_file,
    read_arrays,
    read_text,
    replacing,
    write_arrays,
    write_text,
)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    with pytest.raises(error), replacing(path) as file:
        file.write(b"half of the new")
        file.flush()
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["state"]


def test_an_error_where_nothing_was_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), replacing(tmp_path / "state"):
        raise ValueError("no")
    assert names(tmp_path) == []


def test_a_process_that_dies_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    program = (
        "import os, pathlib, sys\n"
        "from tuner.storage.atomic import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    os._exit(9)\n"
    )
    process = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert process.returncode == 9
    assert path.read_bytes() == b"old"


def test_the_old_file_is_seen_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["state"]


def test_bytes_are_flushed_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls, fsync = tmp_path / "state", [], os.fsync

    def noting(descriptor: int) -> None:
        calls.append(path.exists())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    write_text(path, "x")
    assert calls == [False, True]  # the file before the new name, the folder after it


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "labels", "Käfer 蝶\n")
    assert (tmp_path / "labels").read_bytes() == "Käfer 蝶\n".encode()
    assert read_text(tmp_path / "labels") == "Käfer 蝶\n"


@pytest.mark.parametrize("read", [open_file, read_text, read_arrays])
def test_pipes_and_devices_do_not_block(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")  # no process writes to it
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OSError, match="it is no file but a pipe or a device"):
            read(path)
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def test_arrays_round_trip(tmp_path: Path) -> None:
    arrays = {
        "epoch": np.int64(3),
        "dense/kernel": np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32),
        "dropout/seed_generator_state": np.array([1, 2**32 - 1], np.uint32),
        "half": np.array([1.5, np.nan, np.inf], np.float16),
        "empty": np.zeros((0, 3)),
    }
    write_arrays(tmp_path / "state.npz", arrays)
    again = read_arrays(tmp_path / "state.npz")
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_objects_are_not_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(tmp_path / "state.npz", {"bad": np.array([{}], object)})
    assert names(tmp_path) == []


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", bad=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(tmp_path / "state.npz")
