"""File locks are exclusive or shared, visible, and end with their process."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.repository import ROOT
from tuner.storage import locks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "one"


@pytest.fixture
def take(file: Path) -> Iterator[Callable[..., int | None]]:
    """Takes locks on the file, which are let go of after the test."""
    held: list[int] = []

    def taken(exclusive: bool) -> int | None:
        lock = locks.take(file, exclusive)
        if lock is not None:
            held.append(lock)
        return lock

    yield taken
    for lock in held:
        try:
            os.close(lock)
        except OSError:
            continue  # the test let go of it


def test_an_exclusive_lock_is_alone(file: Path, take: Callable[..., int | None]) -> None:
    assert take(exclusive=True) is not None
    assert file.is_file()
    assert take(exclusive=True) is None


def test_a_lock_ends_when_it_is_closed(take: Callable[..., int | None]) -> None:
    first = take(exclusive=True)
    assert first is not None
    os.close(first)
    assert take(exclusive=True) is not None


def test_shared_locks_are_shared_and_shut_out_an_exclusive_one(
    take: Callable[..., int | None],
) -> None:
    assert take(exclusive=False) is not None
    assert take(exclusive=False) is not None
    assert take(exclusive=True) is None


def test_an_exclusive_lock_can_be_made_shared(take: Callable[..., int | None]) -> None:
    lock = take(exclusive=True)
    assert lock is not None
    locks.share(lock)
    assert take(exclusive=False) is not None
    assert take(exclusive=True) is None


@pytest.mark.parametrize("exclusive", [False, True])
def test_is_taken_sees_every_lock(
    file: Path, take: Callable[..., int | None], exclusive: bool
) -> None:
    lock = take(exclusive)
    assert lock is not None
    assert locks.is_taken(file)
    assert locks.is_taken(file)  # to ask takes nothing
    os.close(lock)
    assert not locks.is_taken(file)
    assert file.exists()


def test_is_taken_makes_no_file(file: Path) -> None:
    assert not locks.is_taken(file)
    assert not file.parent.exists()
    file.parent.write_text("no folder")
    assert not locks.is_taken(file)


def test_a_discarded_lock_leaves_no_file(file: Path, take: Callable[..., int | None]) -> None:
    lock = take(exclusive=True)
    assert lock is not None
    locks.discard(lock, file)
    assert not file.exists()
    assert take(exclusive=True) is not None


def test_a_lock_on_a_file_that_was_discarded_meanwhile_is_taken_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, calls = fcntl.flock, []

    def discarded_first(descriptor: int, operation: int) -> None:
        calls.append(operation)
        if len(calls) == 1:
            file.unlink()  # by who held it, while we waited
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", discarded_first)
    lock = locks.take(file)
    assert lock is not None
    assert len(calls) == 2
    assert os.path.samestat(os.fstat(lock), file.stat())
    os.close(lock)


def test_a_lock_ends_with_a_process_that_is_killed(
    file: Path, take: Callable[..., int | None]
) -> None:
    script = (
        "import pathlib, time; from tuner.storage import locks\n"
        f"print(locks.take(pathlib.Path({str(file)!r}), True), flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        assert int(holder.stdout.readline()) > 0
        assert locks.is_taken(file)
        assert take(exclusive=True) is None
        holder.kill()
        holder.wait()
    assert not locks.is_taken(file)
    assert take(exclusive=True) is not None
