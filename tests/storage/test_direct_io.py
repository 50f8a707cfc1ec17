"""Files written past the page cache hold what was written, whatever the file system."""

import errno
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tuner.storage import direct_io
from tuner.storage.direct_io import UncachedFile

BLOCK, BUFFER = 4096, 256 * 4096


def written(path: Path, parts: list[bytes]) -> bytes:
    with UncachedFile(path) as file:
        for part in parts:
            assert file.write(part) == len(part)
    return path.read_bytes()


@pytest.mark.parametrize(
    "sizes",
    [
        [], [0], [1], [BLOCK - 1], [BLOCK], [BLOCK + 1], [BUFFER - 1], [BUFFER], [BUFFER + 1],
        [3 * BUFFER + 17], [1, BUFFER, BLOCK, 5], [BUFFER - 1, 1, 1],
    ],
)  # fmt: skip
def test_a_file_holds_what_was_written(tmp_path: Path, sizes: list[int]) -> None:
    random = np.random.default_rng(0)
    parts = [random.bytes(size) for size in sizes]
    assert written(tmp_path / "file", parts) == b"".join(parts)


def test_arrays_are_written_as_their_bytes(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    with UncachedFile(tmp_path / "file") as file:
        assert file.write(array.data) == array.nbytes
    assert (tmp_path / "file").read_bytes() == array.tobytes()


def test_what_is_written_after_a_flush_follows_it(tmp_path: Path) -> None:
    with UncachedFile(tmp_path / "file") as file:
        file.write(b"one")
        file.flush()
        assert (tmp_path / "file").read_bytes() == b"one"
        file.write(b" two")
    assert (tmp_path / "file").read_bytes() == b"one two"


def test_an_old_file_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(3 * BUFFER))
    assert written(tmp_path / "file", [b"new"]) == b"new"


def test_archives_are_whole(tmp_path: Path) -> None:
    with UncachedFile(tmp_path / "file") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"a" * 5000)
        archive.writestr("b", b"b" * (BUFFER + 1))
    with zipfile.ZipFile(tmp_path / "file") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a", "b"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_knows_only_its_cache_gets_it_through_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    tried, open_ = [], os.open

    def refusing(path: str, flags: int, mode: int = 0o777) -> int:
        tried.append(bool(flags & os.O_DIRECT))
        if tried[-1]:
            raise OSError(code, os.strerror(code))
        return open_(path, flags, mode)

    monkeypatch.setattr(direct_io.os, "open", refusing)
    assert written(tmp_path / "file", [b"x" * (BLOCK + 1)]) == b"x" * (BLOCK + 1)
    assert tried == [True, False]


def test_writes_cut_short_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite

    def short(descriptor: int, data: memoryview, offset: int) -> int:
        return pwrite(descriptor, data[:BLOCK], offset)

    monkeypatch.setattr(direct_io.os, "pwrite", short)
    content = np.random.default_rng(1).bytes(BUFFER + BLOCK + 3)
    assert written(tmp_path / "file", [content]) == content


def test_a_closed_file_refuses_more_and_closes_once(tmp_path: Path) -> None:
    file = UncachedFile(tmp_path / "file")
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"late")
    assert isinstance(file, io.RawIOBase)


def test_a_full_disk_is_an_error_at_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(direct_io.os, "pwrite", full)
    with pytest.raises(OSError, match="space") as caught, UncachedFile(tmp_path / "file") as file:
        file.write(bytes(BUFFER))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(file._descriptor)
    with pytest.raises(ValueError, match="closed"):
        file.fileno()
