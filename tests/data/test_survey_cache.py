"""What is known of images by their content, kept between scans."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.data.survey_cache import _ROWS, Facts, FactStore
from tuner.storage.cache import Cache, CacheError

GOOD = Facts("JPEG", 640, 480, b"\x00\x01")
OTHER = Facts("PNG", 1, 1, b"")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as cache:
        yield cache


def test_what_was_put_is_found_by_later_stores_of_the_same_version(cache: Cache) -> None:
    with FactStore(cache, 1) as store:
        assert store.get("a") is None
        store.put("a", GOOD)
        store.put("b", OTHER)
        store.put("a", GOOD)
        assert (store.get("a"), store.get("b")) == (GOOD, OTHER)
    with FactStore(cache, 1) as store:
        assert (store.get("a"), store.get("b"), store.get("c")) == (GOOD, OTHER, None)
    with FactStore(cache, 2) as store:
        assert store.get("a") is None


def test_the_likeness_of_a_pair_is_kept_in_either_order(cache: Cache) -> None:
    with FactStore(cache, 1, 1) as store:
        store.put_likeness("b", "a", 2)
        assert store.likeness("a", "b") == 2
    with FactStore(cache, 1, 1) as store:
        assert store.likeness("b", "a") == store.likeness("a", "b") == 2
        assert store.likeness("a", "c") is None
    with FactStore(cache, 1, 2) as store:
        assert store.likeness("a", "b") is None


def test_without_a_cache_it_is_known_until_the_end() -> None:
    with FactStore(None, 1) as store:
        store.put("a", GOOD)
        assert store.get("a") == GOOD
    with FactStore(None, 1) as store:
        assert store.get("a") is None


def test_an_interruption_loses_nothing(cache: Cache) -> None:
    with pytest.raises(KeyboardInterrupt), FactStore(cache, 1) as store:
        store.put("a", GOOD)
        raise KeyboardInterrupt
    with FactStore(cache, 1) as store:
        assert store.get("a") == GOOD


def test_a_kill_loses_a_part_at_most(cache: Cache) -> None:
    store = FactStore(cache, 1)
    for number in range(_ROWS + 5):
        store.put(str(number), GOOD)
    with FactStore(cache, 1) as other:  # while the first is still at work
        assert sum(other.get(str(number)) == GOOD for number in range(_ROWS + 5)) == _ROWS
        other.put("mine", OTHER)
    with store:
        assert store.get("mine") == OTHER


def test_threads_share_it(cache: Cache) -> None:
    def put(first: int) -> None:
        for number in range(first, first + 300):
            store.put(str(number), GOOD)
            assert store.get(str(number)) == GOOD

    with FactStore(cache, 1) as store:
        threads = [threading.Thread(target=put, args=(300 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with FactStore(cache, 1) as store:
        assert all(store.get(str(number)) == GOOD for number in range(1200))


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, None])
def test_a_damaged_file_is_made_anew(cache: Cache, damage: bytes | None) -> None:
    with FactStore(cache, 1) as store:
        for number in range(400):
            store.put(str(number), GOOD)
    (file,) = (cache.folder / "entries" / "facts").glob("*/facts.db")
    data = bytearray(file.read_bytes())
    data[4096:8192] = bytes(4096)
    file.write_bytes(data if damage is None else damage)
    with FactStore(cache, 1) as store:
        assert store.get("1") in (None, GOOD)
        store.put("new", OTHER)
    with FactStore(cache, 1) as store:
        assert store.get("new") == OTHER


def test_a_disk_that_fails_is_a_sentence(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FactStore(cache, 1)
    store.put("a", GOOD)
    (file,) = (cache.folder / "entries" / "facts").glob("*/facts.db")
    with sqlite3.connect(file) as other:
        other.execute("DROP TABLE facts")
    with pytest.raises(CacheError, match=r"cache folder .* cannot be used .*: free some space"):
        store.__exit__(None, None, None)
