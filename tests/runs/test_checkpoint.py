"""Checkpoints are complete or absent, and every flipped byte is detected."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.small_search import contents
from tuner.errors import InputError, RunError, TuneError
from tuner.runs import checkpoint
from tuner.runs.checkpoint import (
    Checkpoint,
    read_checkpoint,
    remove_leftovers,
    state_file,
    write_checkpoint,
)
from tuner.storage import atomic

STATE = {
    "epoch": np.asarray(3),
    "head_logits/kernel/0": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "head_dropout/seed_generator_state/0": np.asarray([7, 9], np.uint32),
    "optimizer/000": np.asarray(40, np.int64),
}
EPOCHS = ({"loss": 1 / 3, "val_loss": 0.1 + 0.2}, {"loss": 1e-300, "val_loss": 5.0})
WHOLE = Checkpoint(STATE, 3, 1, EPOCHS, 2.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint that was written."""
    path = state_file(tmp_path, 7)
    write_checkpoint(path, WHOLE)
    return path


def same(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two checkpoints are the same bit for bit."""
    if one.state.keys() != other.state.keys():
        return False
    pairs = [(one.state[name], other.state[name]) for name in one.state]
    arrays = all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) for a, b in pairs
    )
    facts = [(c.epoch, c.start_epoch, c.epochs, c.seconds) for c in (one, other)]
    return arrays and facts[0] == facts[1]


def test_round_trip(path: Path, tmp_path: Path) -> None:
    assert same(read_checkpoint(path), WHOLE)
    assert path == tmp_path / "trials" / "0007" / "state.npz"
    assert [file.name for file in path.parent.iterdir()] == ["state.npz"]


@settings(deadline=None)  # a busy disk may be slow to flush
@given(
    epochs=st.lists(st.dictionaries(st.text(), st.floats(allow_nan=False)), max_size=3),
    seconds=st.floats(0, 1e9),
    start=st.integers(0, 2**40),
)
def test_metrics_and_seconds_round_trip_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    epochs: list[dict[str, float]],
    seconds: float,
    start: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "any" / "state.npz"
    written = Checkpoint({"epoch": np.asarray(start + 1)}, start + 1, start, tuple(epochs), seconds)
    write_checkpoint(path, written)
    assert same(read_checkpoint(path), written)


def test_a_checkpoint_replaces_the_one_before(path: Path) -> None:
    last = Checkpoint({"epoch": np.asarray(4)}, 4, 3, (), 0.5)
    write_checkpoint(path, last)
    assert same(read_checkpoint(path), last)


def test_every_flipped_byte_is_detected(path: Path) -> None:
    data = path.read_bytes()
    wrong, detected = [], 0
    for offset in range(len(data)):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
        try:
            if not same(read_checkpoint(path), WHOLE):
                wrong.append(offset)
        except RunError as error:
            detected += "is damaged" in str(error)
    assert wrong == []
    assert detected > len(data) / 2  # the others, such as times in the archive, do not matter


def test_a_truncated_file_is_damaged(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(RunError, match=r"0007/state\.npz is damaged"):
            read_checkpoint(path)


@pytest.mark.parametrize("lost", ["epoch", "checkpoint"])
def test_a_missing_array_is_damage(path: Path, lost: str) -> None:
    arrays = atomic.read_arrays(path)
    del arrays[lost]
    atomic.write_arrays(path, arrays)
    with pytest.raises(RunError, match="is damaged"):
        read_checkpoint(path)


def test_a_missing_file(path: Path) -> None:
    path.unlink()
    with pytest.raises(RunError, match="the weights of trial 0007 are gone from"):
        read_checkpoint(path)


class FullDisk:
    """Lets the writing of arrays fail, after some of their bytes."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, file: Any, **_: Any) -> None:
        file.write(b"PK")
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_keeps_the_old_checkpoint(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(np, "savez", FullDisk(number))
    before = contents(path.parent)
    large = Checkpoint({"epoch": np.asarray(4), "x": np.zeros(10**6, np.float32)}, 4, 3, (), 1.0)
    with pytest.raises(TuneError, match=r"there is no space left .*: 4\.0 MB are needed and") as e:
        write_checkpoint(path, large)
    assert not isinstance(e.value, InputError)
    assert contents(path.parent) == before


def test_a_disk_too_full_for_the_folder_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "mkdir", full)
    path = state_file(tmp_path / "run", 0)
    with pytest.raises(TuneError, match=rf"there is no space left in {path.parent.parent}: "):
        write_checkpoint(path, WHOLE)


def test_another_disk_error_is_not_called_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "savez", FullDisk(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        write_checkpoint(path, WHOLE)


def test_bytes_are_flushed_before_the_rename(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append("sync")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_checkpoint(path, WHOLE)
    assert done == ["sync", "rename to state.npz", "sync"]


def test_temporary_files_of_dead_processes_are_removed(path: Path, tmp_path: Path) -> None:
    kept = {path: path.read_bytes(), path.with_name("notes.txt"): b"mine"}
    path.with_name("notes.txt").write_bytes(b"mine")
    for number in (1, 99999):
        path.with_name(f".state.npz.{number}").write_bytes(b"begun")
    shutil.copytree(path.parent, tmp_path / "trials" / "0008")
    remove_leftovers(tmp_path)
    left = {file for file in tmp_path.rglob("*") if file.is_file()}
    assert left == {tmp_path / "trials" / n / f.name for n in ("0007", "0008") for f in kept}
    assert all(file.read_bytes() == data for file, data in kept.items())


def test_leftovers_without_trials(tmp_path: Path) -> None:
    checkpoint.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []
