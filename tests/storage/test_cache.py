import errno
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.repository import ROOT
from tuner.errors import SettingsError, TuneError
from tuner.storage.cache import Cache, CacheError, default_cache_dir
from tuner.storage.digests import bytes_digest, key_of

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as cache:
        yield cache


def write(folder: Path, size_bytes: int = 3) -> None:
    (folder / "data").write_bytes(b"x" * size_bytes)


def files_below(folder: Path) -> list[str]:
    """Files in a folder, without the cache's tag."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files if path.name != "CACHEDIR.TAG")


def age(cache: Cache, key: str, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(cache.folder / "entries" / "kind" / key, (then, then))


def make(cache: Cache, *keys: str, size_bytes: int = 3) -> None:
    """Entries that no process holds."""
    with Cache(cache.folder) as other:
        for key in keys:
            other.get_or_create("kind", key, lambda folder: write(folder, size_bytes))


def keys_of(cache: Cache) -> list[str]:
    return [entry.key for entry in cache.entries()]


def test_default_folder_is_the_users() -> None:
    assert default_cache_dir().name == "tune-resnet50"
    assert default_cache_dir().is_absolute()


def test_nothing_is_made_before_the_first_write(cache: Cache) -> None:
    assert cache.entry("kind", "key") is None
    assert cache.entries() == []
    assert cache.prune() == 0
    assert not cache.folder.exists()


def test_an_entry_appears_when_its_block_ends(cache: Cache) -> None:
    with cache.create("kind", "key") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "data").write_text("abc")
        assert cache.entry("kind", "key") is None
        assert cache.entries() == []
        assert cache.folder in folder.parents
    path = cache.entry("kind", "key")
    assert path is not None
    assert files_below(path) == ["sub/data"]
    assert not folder.exists()


def test_an_error_leaves_nothing(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError), cache.create("kind", "key") as folder:
        write(folder)
        raise ZeroDivisionError
    assert files_below(cache.folder) == []
    assert cache.entry("kind", "key") is None
    cache.get_or_create("kind", "key", write)  # and no lock is left


def test_get_or_create_fills_once(cache: Cache) -> None:
    calls = []

    def fill(folder: Path) -> None:
        calls.append(folder)
        write(folder)

    path = cache.get_or_create("kind", "key", fill)
    assert (path / "data").read_bytes() == b"xxx"
    assert cache.get_or_create("kind", "key", fill) == path
    with Cache(cache.folder) as other:
        assert other.get_or_create("kind", "key", fill) == path
    assert len(calls) == 1


def test_create_keeps_the_entry_that_is_there(cache: Cache) -> None:
    path = cache.get_or_create("kind", "key", write)
    with cache.create("kind", "key") as folder:
        write(folder, 99)
    assert (path / "data").read_bytes() == b"xxx"
    assert len(files_below(cache.folder / "partial")) == 0


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "ä"])
def test_invalid_names_are_refused(cache: Cache, name: str) -> None:
    with pytest.raises(ValueError, match="Expected letters"):
        cache.entry(name, "key")
    with pytest.raises(ValueError, match="Expected letters"):
        cache.get_or_create("kind", name, write)


def test_entries_have_size_use_and_hold(cache: Cache) -> None:
    make(cache, "old", "new", size_bytes=1000)
    age(cache, "old", hours=2)
    cache.entry("kind", "new")
    old, new = cache.entries()
    assert (old.kind, old.key, old.size_bytes, old.held) == ("kind", "old", 1000, False)
    assert (new.key, new.held) == ("new", True)
    assert timedelta(hours=1.9) < datetime.now(UTC) - old.last_used < timedelta(hours=2.1)
    assert datetime.now(UTC) - new.last_used < timedelta(minutes=1)


def test_use_makes_an_entry_recent(cache: Cache) -> None:
    make(cache, "a", "b")
    age(cache, "a", hours=2)
    age(cache, "b", hours=1)
    assert keys_of(cache) == ["a", "b"]
    cache.entry("kind", "a")
    assert keys_of(cache) == ["b", "a"]


def test_prune_keeps_held_and_recent_entries(cache: Cache) -> None:
    make(cache, "held", "old", "recent", size_bytes=1000)
    cache.entry("kind", "held")
    for key in ("held", "old"):
        age(cache, key, hours=48)
    assert cache.prune(timedelta(days=1)) == 1000
    assert set(keys_of(cache)) == {"held", "recent"}
    assert cache.prune() == 1000
    assert keys_of(cache) == ["held"]
    cache.close()
    assert cache.prune() == 1000
    assert files_below(cache.folder) == []


def test_an_entry_that_was_pruned_can_be_made_again(cache: Cache) -> None:
    make(cache, "key")
    assert cache.prune() == 3
    assert cache.entry("kind", "key") is None
    assert cache.get_or_create("kind", "key", write).is_dir()


def test_an_entry_removed_by_hand_can_be_made_again(cache: Cache) -> None:
    path = cache.get_or_create("kind", "key", write)
    (path / "data").unlink()
    path.rmdir()
    assert cache.entry("kind", "key") is None
    assert files_below(cache.get_or_create("kind", "key", write)) == ["data"]


def test_the_limit_removes_the_least_recently_used(tmp_path: Path) -> None:
    with Cache(tmp_path, limit_bytes=2500) as cache:
        make(cache, "a", "b", size_bytes=1000)
        age(cache, "a", hours=1)
        age(cache, "b", hours=2)
        cache.get_or_create("kind", "c", lambda folder: write(folder, 1000))
        assert keys_of(cache) == ["a", "c"]


def test_the_limit_never_removes_held_entries(tmp_path: Path) -> None:
    with Cache(tmp_path, limit_bytes=1500) as cache:
        for key in ("a", "b"):
            cache.get_or_create("kind", key, lambda folder: write(folder, 1000))
        assert keys_of(cache) == ["a", "b"]


def test_foreign_files_are_left_alone(cache: Cache) -> None:
    make(cache, "key")
    photo = cache.folder / "digits" / "0" / "photo.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"mine")
    for name in ("kind/my post/draft", "kind/file"):
        (cache.folder / "entries" / name).parent.mkdir(exist_ok=True)
        (cache.folder / "entries" / name).write_bytes(b"mine")
    assert keys_of(cache) == ["key"]
    cache.prune()
    assert len(files_below(cache.folder)) == 3


@pytest.mark.parametrize(
    "name",
    [
        "entries/2024/first/index.md",
        "partial/a.b.c/draft.md",
        "photo.jpg",
        "CACHEDIR.TAG",
        ".git/HEAD",
    ],
)
def test_a_folder_of_somebody_elses_is_no_cache(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(SettingsError, match=r"is not a cache folder .*--cache-dir"):
        Cache(tmp_path, limit_bytes=1)
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_is_filled_meanwhile_is_not_pruned(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        (tmp_path / "entries" / "2024" / "post").mkdir(parents=True)
        with pytest.raises(SettingsError):
            cache.prune()
        with pytest.raises(SettingsError):
            make(cache, "key")
    assert [path.name for path in tmp_path.rglob("*")] == ["entries", "2024", "post"]


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is too long"):
        Cache(tmp_path.joinpath(*["x" * 50] * 7))


def test_a_cache_is_marked_for_backup_programs(cache: Cache) -> None:
    make(cache, "key")
    tag = (cache.folder / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(cache: Cache, number: int) -> None:
    def fill(folder: Path) -> None:
        write(folder)
        raise OSError(number, os.strerror(number))

    with pytest.raises(CacheError, match="no space left") as caught:
        cache.get_or_create("kind", "key", fill)
    assert str(cache.folder) in str(caught.value) and "--prune" in str(caught.value)
    assert isinstance(caught.value, TuneError)
    assert files_below(cache.folder) == []


def test_a_really_full_device_is_one_sentence(cache: Cache) -> None:
    with pytest.raises(CacheError, match="no space left"), cache.create("kind", "key"):
        Path("/dev/full").write_bytes(b"x" * 100_000)


def test_other_errors_of_fill_pass_through(cache: Cache) -> None:
    with pytest.raises(FileNotFoundError), cache.create("kind", "key"):
        Path("/nowhere/photo.jpg").read_bytes()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"cannot be used \(Not a directory\)"):
        Cache(tmp_path / "file" / "cache").get_or_create("kind", "key", write)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CacheError, match="make it writable"):
        Cache(tmp_path / "cache").get_or_create("kind", "key", write)


def test_threads_share_a_cache(cache: Cache) -> None:
    calls = []

    def fill(folder: Path) -> None:
        calls.append(folder)
        time.sleep(0.2)
        write(folder)

    threads = [
        threading.Thread(target=cache.get_or_create, args=("kind", "key", fill)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert len(calls) == 1


def make_slowly(folder: Path, log: Path, start: Any) -> None:
    def fill(partial: Path) -> None:
        with log.open("a") as stream:
            stream.write("filled\n")
        time.sleep(0.5)
        write(partial)

    with Cache(folder) as cache:
        start.wait()
        path = cache.get_or_create("kind", "key", fill)
        assert (path / "data").read_bytes() == b"xxx"
        start.wait()  # holds it until all have it, so that no process waits for a hold


def test_of_many_processes_one_fills(tmp_path: Path) -> None:
    log = tmp_path / "log"
    start = SPAWN.Barrier(4)
    folder = tmp_path / "cache"
    processes = [SPAWN.Process(target=make_slowly, args=(folder, log, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert log.read_text() == "filled\n"


def hold(folder: Path, held: Event, done: Event) -> None:
    with Cache(folder) as cache:
        assert cache.entry("kind", "key")
        held.set()
        done.wait(60)


def test_prune_keeps_entries_of_other_processes(cache: Cache) -> None:
    make(cache, "key")
    held, done = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(cache.folder, held, done))
    process.start()
    assert held.wait(60)
    assert [entry.held for entry in cache.entries()] == [True]
    assert cache.prune() == 0
    done.set()
    process.join(60)
    assert cache.prune() == 3


DIE = """
import sys
from pathlib import Path
from tuner.storage.cache import Cache
with Cache(Path(sys.argv[1])).create("kind", sys.argv[2]) as folder:
    (folder / "data").write_bytes(b"x" * 1000)
    print("writing", flush=True)
    sys.stdin.read()
"""


def killed_while_writing(folder: Path, key: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DIE, str(folder), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert Cache(folder).prune() == 0  # not a leftover yet
        process.send_signal(signal.SIGKILL)


def test_leftovers_of_a_dead_process_are_removed(cache: Cache) -> None:
    killed_while_writing(cache.folder, "key")
    assert files_below(cache.folder / "partial")
    assert cache.entry("kind", "key") is None
    path = cache.get_or_create("kind", "other", write)
    assert files_below(cache.folder / "partial") == []
    assert files_below(path) == ["data"]
    killed_while_writing(cache.folder, "key")
    assert cache.prune() == 1000


def test_the_cache_imports_neither_numpy_nor_tensorflow() -> None:
    heavy = {"numpy", "tensorflow", "keras"}
    check = f"import sys, tuner.storage.cache; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


def test_different_values_have_different_keys() -> None:
    made_from = [("a", 1), (1, "a"), ("a", "1"), ("a1",), (["a"], 1), ("a", 1, None), ()]
    assert len({key_of(*parts) for parts in made_from}) == len(made_from)
    assert key_of("a", 1) == key_of("a", 1)


def test_a_digest_is_that_of_the_bytes_in_their_order() -> None:
    rows = np.arange(12, dtype=np.int32).reshape(3, 4)
    expected = hashlib.sha256(rows.T.tobytes() + b"\x07").hexdigest()
    assert bytes_digest(rows.T, np.array([7], np.uint8)) == expected
