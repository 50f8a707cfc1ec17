import shutil
from pathlib import Path

import pytest

from tuner.storage.disk import folder_bytes, free_bytes, nearest_existing


def test_nearest_existing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert nearest_existing(Path("a/b")) == tmp_path
    assert nearest_existing(Path("file/b")) == tmp_path / "file"
    assert nearest_existing(tmp_path) == tmp_path


def test_a_missing_folder_has_the_free_space_of_its_parent(tmp_path: Path) -> None:
    free = free_bytes(tmp_path / "a" / "b")
    assert 0 < free <= shutil.disk_usage(tmp_path).total


def test_the_size_of_a_folder_is_that_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one").write_bytes(bytes(10))
    (tmp_path / "a" / "b" / "two").write_bytes(bytes(7))
    gone = tmp_path / "a" / "gone"
    rglob = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: [*rglob(self, pattern), gone])
    assert folder_bytes(tmp_path) == 17
    assert folder_bytes(gone) == 0
